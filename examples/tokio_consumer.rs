//! A producer and a consumer as tasks of an async runtime: waiting for records
//! blocks no thread, and Ctrl-C or the end of the work stops the consumer cleanly.
//!
//! `cargo run --example tokio_consumer`

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::record::ProducerRecord;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{block_in_place, spawn};
use tokio::time::{sleep, timeout};

const ORDERS: u32 = 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let broker = Broker::open(BrokerConfig::new(dir.path()))?;
    broker.create_topic("orders", 2)?;

    let (stop, stopped) = watch::channel(false);
    let consumer = spawn(consume(broker.clone(), stopped));
    produce(&broker).await?;
    // Time for the last ones to arrive; a service would wait for a signal here.
    sleep(Duration::from_millis(200)).await;
    stop.send(true)?;
    let handled = consumer.await??;
    println!("{handled} of {ORDERS} orders were handled");
    Broker::close(&broker)?;
    Ok(())
}

async fn produce(broker: &BrokerRef) -> Result<(), Failure> {
    let producer = Broker::producer(broker);
    for number in 0..ORDERS {
        let order = ProducerRecord::new("orders", None, format!(r#"{{"order":{number}}}"#));
        // A send waits for the disk, so the runtime is told that this thread is busy.
        block_in_place(|| producer.send(&order))?;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn consume(broker: BrokerRef, mut stopped: watch::Receiver<bool>) -> Result<usize, Failure> {
    let mut consumer = Broker::consumer(
        &broker,
        ConsumerConfig {
            group_id: "shipping".into(),
            auto_commit: false,
            offset_reset: OffsetReset::Earliest,
        },
    );
    consumer.subscribe(&["orders"])?;
    let mut handled = 0;
    loop {
        let polled = tokio::select! {
            // Dropping a poll that waits loses nothing.
            _ = stopped.wait_for(|stopped| *stopped) => break,
            polled = timeout(Duration::from_secs(1), consumer.poll_async()) => polled,
        };
        let Ok(records) = polled else {
            println!("nothing for a second");
            continue;
        };
        let records = records?;
        for record in &records {
            let (partition, offset) = (record.partition, record.offset);
            println!("partition {partition} offset {offset}: {}", record.value);
        }
        handled += records.len();
        block_in_place(|| consumer.commit_sync())?;
    }
    // What is closed leaves its partitions to others at once.
    block_in_place(|| consumer.close())?;
    Ok(handled)
}
