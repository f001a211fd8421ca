//! An embedded event log: Kafka's programming model in a directory on disk, with
//! no server, in which every record can be proved.
//!
//! ```
//! use merkql::broker::{Broker, BrokerConfig};
//! use merkql::consumer::{ConsumerConfig, OffsetReset};
//! use merkql::record::ProducerRecord;
//! use merkql::tree::MerkleTree;
//! use std::time::Duration;
//!
//! # fn main() -> merkql::error::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path();
//! let broker = Broker::open(BrokerConfig::new(path))?;
//! let producer = Broker::producer(&broker);
//! producer.send(&ProducerRecord::new("events", Some("user-1".into()), r#"{"action":"login"}"#))?;
//!
//! let mut consumer = Broker::consumer(&broker, ConsumerConfig {
//!     group_id: "my-service".into(),
//!     auto_commit: false,
//!     offset_reset: OffsetReset::Earliest,
//! });
//! consumer.subscribe(&["events"])?;
//! let records = consumer.poll(Duration::from_millis(100))?;
//! assert_eq!(records[0].value, r#"{"action":"login"}"#);
//! consumer.commit_sync()?;
//!
//! let topic = broker.topic("events").unwrap();
//! let partition = topic.partition(0).unwrap().read()?;
//! let proof = partition.proof(0)?.unwrap();
//! assert!(MerkleTree::verify_proof(&proof, partition.store())?);
//! # Ok(())
//! # }
//! ```
//!
//! # What is acknowledged is durable
//!
//! When [`producer::Producer::send`] returns, its record survives a power cut.
//! Consumers see a record only from then on. The crash model that this rests on
//! is in the docs of [`mod@env`]; whoever wants to run the log on something other
//! than the operating system's files implements its traits.

#![deny(missing_docs)]

pub mod admin;
pub mod broker;
pub mod compression;
pub mod consumer;
pub mod env;
pub mod error;
mod group;
pub mod hash;
mod idempotent;
mod merkle;
mod outgoing;
pub mod partition;
mod partitioner;
mod pending;
pub mod producer;
pub mod record;
mod record_bytes;
mod staging;
mod storage;
mod sync;
pub mod topic;
mod transaction;
pub mod tree;
pub mod verify;

pub use error::{Error, Result};
pub use verify::verify;
