//! Putting one anomaly into a clean history.

mod draft;
mod episodes;
mod offsets;
mod proofs;
mod records;
mod survey;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::anomaly::Name;
use crate::history::{History, Key};
use draft::{Draft, Placed};

/// What was done to a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// The anomaly that it has now.
    pub name: Name,
    /// The key that is concerned, if it is one.
    pub key: Option<Key>,
    /// The operations that were changed or added, by position.
    pub operations: Vec<usize>,
}

/// Puts one anomaly of a kind into a clean history, at a place drawn at random from `seed`.
///
/// The history has this anomaly then, those that it [comes with](Name::comes_with), and no other. `None`, with the history as it
/// was, if it has no place for it: a history that [`clean`](super::clean) made with at least some hundred operations and all
/// options on has a place for each.
pub fn inject(history: &mut History, name: Name, seed: u64) -> Option<Injection> {
    let mut draft = Draft::new(history, ChaCha8Rng::seed_from_u64(seed));
    let Placed { key } = method(name)(&mut draft)?;
    let operations = draft.into_changes().apply(history);
    Some(Injection { name, key, operations })
}

/// Changes the draft, or finds no place for the anomaly.
type Method = fn(&mut Draft<'_>) -> Option<Placed>;

fn method(name: Name) -> Method {
    match name {
        Name::InconsistentOffsets => records::inconsistent_offsets,
        Name::Duplicate => offsets::duplicate,
        Name::LostWrite => offsets::lost_write,
        Name::Unseen => episodes::unseen,
        Name::AbortedRead => records::aborted_read,
        Name::PrecommittedRead => records::precommitted_read,
        Name::IntPollSkip => records::int_poll_skip,
        Name::IntNonmonotonicPoll => records::int_nonmonotonic_poll,
        Name::PollSkip => records::poll_skip,
        Name::NonmonotonicPoll => records::nonmonotonic_poll,
        Name::IntSendSkip => episodes::int_send_skip,
        Name::IntNonmonotonicSend => records::int_nonmonotonic_send,
        Name::NonmonotonicSend => episodes::nonmonotonic_send,
        Name::OffsetGap => offsets::offset_gap,
        Name::RealtimeOrder => records::realtime_order,
        Name::OffsetReuse => episodes::offset_reuse,
        Name::VanishedRead => episodes::vanished_read,
        Name::LostCommit => records::lost_commit,
        Name::CommitRegression => records::commit_regression,
        Name::DoubleDelivery => episodes::double_delivery,
        Name::TornTransaction => episodes::torn_transaction,
        Name::DoubleOwner => episodes::double_owner,
        Name::ProofInvalid => proofs::proof_invalid,
        Name::RootRegression => proofs::root_regression,
        Name::InconsistentRoots => proofs::inconsistent_roots,
        Name::SilentCorruption => proofs::silent_corruption,
        Name::UndetectedDamage => episodes::undetected_damage,
        Name::Undeleted => episodes::undeleted,
        Name::Unavailable => episodes::unavailable,
        Name::Stuck => episodes::stuck,
        Name::Panic => records::panic,
    }
}
