//! The smallest whole program: send, consume, commit, prove.
//!
//! `cargo run --example hello`

use merkql::broker::{Broker, BrokerConfig};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::record::ProducerRecord;
use merkql::tree::MerkleTree;
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let broker = Broker::open(BrokerConfig::new(dir.path()))?;

    let producer = Broker::producer(&broker);
    let login = ProducerRecord::new("events", Some("user-1".into()), r#"{"action":"login"}"#);
    let sent = producer.send(&login)?;
    println!("sent     {}/{} offset {}", sent.topic, sent.partition, sent.offset);

    let mut consumer = Broker::consumer(
        &broker,
        ConsumerConfig {
            group_id: "my-service".into(),
            auto_commit: false,
            offset_reset: OffsetReset::Earliest,
        },
    );
    consumer.subscribe(&["events"])?;
    for record in consumer.poll(Duration::from_millis(100))? {
        println!("received {} = {}", record.key.as_deref().unwrap_or("-"), record.value);
    }
    consumer.commit_sync()?;

    let topic = broker.topic("events").ok_or("the topic is gone")?;
    let partition = topic.partition(sent.partition).ok_or("the partition is gone")?.read()?;
    let proof = partition.proof(sent.offset)?.ok_or("the record is gone")?;
    println!("proved   against the log: {}", MerkleTree::verify_proof(&proof, partition.store())?);
    // Without the log: from record, proof, and a root that the verifier trusts, because
    // it was written down elsewhere. The one in the proof alone would prove nothing.
    let trusted = partition.merkle_root()?.ok_or("the log is empty")?;
    println!("proved   against root {trusted}: {}", proof.proves(&sent.hash(), &trusted));
    Ok(())
}
