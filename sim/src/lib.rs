//! A world to break the log in: a disk that lies and dies on command, a clock
//! that obeys, randomness that repeats.
//!
//! To test an application of the log, begin with [`app`]; the rest is what it is
//! made of.
//!
//! Everything here is deterministic. The same calls in the same order give the
//! same results, and whatever is drawn is drawn from a seed; what a crash leaves
//! on the disk is an explicit list ([`disk::Survivors`]) that can be written
//! down and used again without the generator that drew it.
//!
//! ```
//! use merkql::broker::{Broker, BrokerConfig};
//! use merkql::record::ProducerRecord;
//! use merkql_sim::clock::SimClock;
//! use merkql_sim::disk::SimDisk;
//! use merkql_sim::entropy::SimEntropy;
//! use merkql_sim::profile::Profile;
//! use merkql_sim::random::stream;
//! use std::sync::Arc;
//!
//! # fn main() -> merkql::error::Result<()> {
//! let disk = SimDisk::new();
//! let clock = Arc::new(SimClock::new());
//! let config = || BrokerConfig {
//!     file_system: Arc::new(disk.process()),
//!     clock: clock.clone(),
//!     entropy: Arc::new(SimEntropy::new(1)),
//!     ..BrokerConfig::new("/log")
//! };
//! let broker = Broker::open(config())?;
//! Broker::producer(&broker).send(&ProducerRecord::new("events", None, "first"))?;
//!
//! let survivors = Profile::Posix.draw(&disk.unsynced(), &mut stream(7, "survivors"));
//! disk.power_cut(&survivors);
//! drop(broker);
//!
//! let broker = Broker::open(config())?;
//! let partition = broker.topic("events").unwrap().partition(0).unwrap().read()?;
//! assert_eq!(partition.read(0)?.unwrap().value, "first");
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub mod app;
pub mod clock;
pub mod disk;
pub mod entropy;
pub mod fault;
pub mod probe;
pub mod profile;
pub mod random;

#[cfg(all(feature = "world", not(madsim)))]
compile_error!(
    "merkql-sim's world runs on madsim: build with RUSTFLAGS='--cfg madsim' (and RUSTDOCFLAGS), as \
     this workspace's .cargo/config.toml does, or depend on merkql-sim with default-features = false"
);

#[cfg(feature = "world")]
pub mod campaign;
#[cfg(feature = "world")]
pub mod canary;
#[cfg(feature = "world")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "world")]
mod client;
#[cfg(feature = "world")]
pub mod exhaust;
#[cfg(feature = "world")]
pub mod generate;
#[cfg(feature = "world")]
pub mod hostile;
#[cfg(all(feature = "world", unix))]
mod real;
#[cfg(feature = "world")]
pub mod scenario;
#[cfg(feature = "world")]
pub mod shrink;
#[cfg(feature = "world")]
pub mod world;
