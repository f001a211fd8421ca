//! Consume, transform, produce: each input is reflected exactly once in the output,
//! although the power goes in the middle, twice.
//!
//! A service reads orders and writes a bill and a line in a ledger for each. It
//! commits both together with its own place in the orders, in one transaction. So
//! whatever moment it dies at, the next life finds all three or none of them.
//!
//! The disk is a simulated one, which forgets what was not synced.
//!
//! `cargo run --example exactly_once`

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::record::ProducerRecord;
use merkql_sim::disk::{CrashArm, CrashPhase, SimDisk, Survivors};
use merkql_sim::fault::OpKind;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

const ORDERS: [&str; 5] = ["a book", "a lamp", "a chair", "a table", "a house"];

fn main() -> Result<(), Box<dyn Error>> {
    let disk = SimDisk::new();
    take_orders(&open(&disk)?)?;

    println!("first life: dies right before its third commit reaches the disk");
    live(&disk, Some((3, CrashPhase::Before)));
    println!("second life: dies right after its second did, and is not told of it");
    live(&disk, Some((2, CrashPhase::After)));
    println!("third life");
    live(&disk, None);

    let broker = open(&disk)?;
    for topic in ["bills", "ledger"] {
        let topic = broker.topic(topic).ok_or("the topic is gone")?;
        let partition = topic.partition(0).ok_or("the partition is gone")?.read()?;
        let lines = partition.read_range(0, u64::MAX)?;
        println!("{}", topic.name());
        for (line, order) in lines.iter().zip(ORDERS) {
            println!("  {}", line.value);
            assert!(line.value.contains(order), "in the order of the orders");
        }
        assert_eq!(lines.len(), ORDERS.len(), "each once");
    }
    Ok(())
}

/// One life of the service, up to the sync of this commit, counted from 1.
fn live(disk: &SimDisk, death: Option<(u64, CrashPhase)>) {
    let lived = open(disk).map_err(Box::from).and_then(|broker| {
        if let Some((commit, phase)) = death {
            let (on, path) = (Some(OpKind::SyncData), "*/journal/*".to_owned());
            disk.crash_when(CrashArm { id: 0, on, path, skip: commit - 1, phase });
        }
        bill_orders(&broker)
    });
    if let Err(error) = lived {
        println!("  the power goes: {error}");
        // Nothing is left of what was not synced.
        disk.power_cut(&Survivors::none());
    }
}

fn bill_orders(broker: &BrokerRef) -> Result<(), Box<dyn Error>> {
    let group_id = "billing".into();
    let offset_reset = OffsetReset::Earliest;
    let config = ConsumerConfig { group_id, auto_commit: false, offset_reset };
    let mut consumer = Broker::consumer(broker, config);
    consumer.subscribe(&["orders"])?;
    for order in consumer.poll(Duration::ZERO)? {
        println!("  billing order {}", order.offset);
        let bill = format!("bill for {}", order.value);
        let line = format!("order {}: {}", order.offset, order.value);
        let mut transaction = broker.transaction();
        transaction.send(&ProducerRecord::new("bills", None, bill))?;
        transaction.send(&ProducerRecord::new("ledger", None, line))?;
        // The place behind this order. For all that was polled: `send_offsets`.
        let place = [((&*order.topic, order.partition), order.offset + 1)];
        transaction.send_offsets_of(&mut consumer, &place)?;
        transaction.commit()?;
    }
    Ok(())
}

fn open(disk: &SimDisk) -> merkql::Result<BrokerRef> {
    let file_system = Arc::new(disk.process());
    Broker::open(BrokerConfig { file_system, ..BrokerConfig::new("/log") })
}

fn take_orders(broker: &BrokerRef) -> merkql::Result<()> {
    ["bills", "ledger", "orders"].iter().try_for_each(|topic| broker.create_topic(topic, 1))?;
    let orders = ORDERS.map(|order| ProducerRecord::new("orders", None, order));
    Broker::producer(broker).send_batch(&orders)?;
    Broker::close(broker)
}
