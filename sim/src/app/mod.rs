//! Run your own application on a machine that dies.
//!
//! A [`Check`] takes two closures. The first is the *application*: one life of
//! it, from its start to the moment when there is nothing left to do. It opens
//! the log with [`Machine::config`], and does what reaches beyond the log
//! (an e-mail, a row in another database, a parcel) through [`Machine::act`], to
//! whatever stands for the outside world in the test. The second is the
//! *invariant*: it is given that outside world and the log when all is done, and
//! says what is wrong with them.
//!
//! The check lets the machine die at some write, sync or act, kills the process
//! or cuts the power, which loses some legal part of what was not synced, and
//! starts the application again, which may die again, in its recovery too. The
//! last life is left in peace, and then the invariant has to hold. A failure is
//! shrunk to few, early and simple crashes, told as a story, and comes with a
//! [`Plan`] that repeats it without any random generator. While it is shrunk it
//! stays the same failure: of one kind, and in the same words but for numbers.
//!
//! ```
//! use merkql::broker::{Broker, BrokerConfig};
//! use merkql::consumer::{ConsumerConfig, OffsetReset};
//! use merkql::record::ProducerRecord;
//! use merkql_sim::app::{Check, CheckError, Machine};
//! use std::collections::BTreeSet;
//! use std::time::Duration;
//!
//! /// The application: takes orders from the log and ships them. It commits
//! /// before it ships, which is a bug.
//! fn work(config: BrokerConfig, ship: impl Fn(&str) -> Outcome) -> Outcome {
//!     let broker = Broker::open(config)?;
//!     let group_id = "shipping".into();
//!     let offset_reset = OffsetReset::Earliest;
//!     let config = ConsumerConfig { group_id, auto_commit: false, offset_reset };
//!     let mut consumer = Broker::consumer(&broker, config);
//!     consumer.subscribe(&["orders"])?;
//!     let orders = consumer.poll(Duration::ZERO)?;
//!     consumer.commit_sync()?;
//!     orders.iter().try_for_each(|order| ship(&order.value))
//! }
//! # type Outcome = Result<(), Box<dyn std::error::Error>>;
//! # fn take_order(config: BrokerConfig) -> Outcome {
//! #     let broker = Broker::open(config)?;
//! #     Broker::producer(&broker).send(&ProducerRecord::new("orders", None, "a book"))?;
//! #     Ok(())
//! # }
//!
//! let check = Check::new(
//!     |machine: &Machine<BTreeSet<String>>| {
//!         work(machine.config(), |order| {
//!             Ok(machine.act("ship", |shipped| drop(shipped.insert(order.to_owned())))?)
//!         })
//!     },
//!     |shipped, _log| if shipped.contains("a book") { Ok(()) } else { Err("never shipped") },
//! )
//! .prepare(|machine| take_order(machine.config()));
//!
//! let Err(CheckError::Failed(failure)) = check.run() else { panic!("no bug?") };
//! println!("{failure}");
//! # assert_eq!(failure.message, "never shipped");
//! # assert_eq!(failure.plan.crashes.len(), 1);
//! let again = check.replay(&failure.plan.to_string().parse().unwrap());
//! assert!(matches!(again, Err(CheckError::Failed(again)) if again.story == failure.story));
//! ```
//!
//! In a test, `check.run().unwrap()` is enough: the error's `Debug` is the story.
//!
//! # What the application has to keep to
//!
//! * One thread, no clock but [`Machine::clock`], no randomness but
//!   [`Machine::entropy`], nothing that differs from run to run (the order of a
//!   `HashMap`). A check that sees two runs differ says so
//!   ([`CheckError::NotRepeatable`]).
//! * It returns when there is nothing left to do. On a dead machine every call
//!   fails, and it returns, with an error or without, or panics. One that goes on
//!   for ever is a failure ([`FailureKind::Endless`]).
//! * On a live machine an error or a panic is a failure. On a dead one it is not,
//!   though a panic still prints its message.
//! * What a life keeps in memory for the next one did not survive, so the next
//!   one must not look at it: keep it in the log, or outside.
//!
//! # From the environment
//!
//! | variable | what [`Check::run`] does |
//! |----------|--------------------------|
//! | `MERKQL_SIM_PLAN` | carries out this plan alone; each story ends with a line that sets it |
//! | `MERKQL_SIM_SEEDS` | explores so many seeds, from the check's first on |

mod check;
mod draw;
mod execute;
mod failure;
mod life;
mod machine;
mod patience;
mod plan;
mod shrink;
mod summary;

pub use check::Check;
pub use failure::{CheckError, Failure, FailureKind};
pub use machine::{Dead, Machine};
pub use plan::{ActPhase, Crash, Loss, Moment, Plan};
pub use summary::Summary;
