//! Retention by bytes and by age: which segments may go.
//!
//! ```text
//! log start ──┐          ┌── new log start
//!             ▼          ▼
//!      [ 0 ][ 1 ][  2  ][  3  ][ active ]
//!           └─ may go ──┘
//! ```
//!
//! Whole segments go, the oldest first: by bytes while the rest still has as many
//! as are to be kept, by age while the youngest record of a segment is too old.
//! The active one goes by age too. The committing caller decides, at most once a
//! second and when a segment was sealed, and the new starts are journalled with
//! the block that is being written; so a start that anybody saw is never taken
//! back, whatever the clock does.

use super::partition::PartitionLog;
use super::store::{Store, Writer};
use super::write::BlockDraft;
use std::sync::Arc;
use std::time::Duration;

/// How long nothing is looked at, unless a segment was sealed.
const INTERVAL: Duration = Duration::from_secs(1);

impl Store {
    /// Adds to a block that is to be written what retention has to say, if it is
    /// time to ask.
    pub(crate) fn draft_retention(&self, writer: &mut Writer, draft: &mut BlockDraft) {
        if draft.is_empty() || draft.change.is_some() {
            return;
        }
        let now = self.env.clock.monotonic();
        let seals = draft
            .partitions
            .values()
            .any(|drafted| drafted.partition.settings().retains_segments() && drafted.seals());
        if seals || now.saturating_sub(writer.retained_at) >= INTERVAL {
            writer.retained_at = now;
            self.draft_all_starts(draft);
        }
    }

    /// Notes where all logs are to begin by their retention.
    pub(crate) fn draft_all_starts(&self, draft: &mut BlockDraft) {
        let now_ns = self.env.now_ns();
        let tables = self.tables();
        let topics = tables.topics.values().filter(|topic| topic.settings.retains_segments());
        for partition in topics.flat_map(|topic| &topic.partitions) {
            let grows = draft.partitions.contains_key(&partition.key);
            if let Some(start) = partition.retained_from(now_ns, grows) {
                let drafted = draft.starts.entry(partition.key);
                let (_, drafted) = drafted.or_insert((Arc::clone(partition), start));
                // The block may delete records beyond what retention takes.
                *drafted = start.max(*drafted);
            }
        }
    }
}

impl PartitionLog {
    /// The log's start by bytes and age, if it is above the present one. While
    /// it `grows`, its active segment stays.
    fn retained_from(&self, now_ns: i64, grows: bool) -> Option<u64> {
        let view = self.view();
        let log_start = self.log_start();
        let bases = view.segments.iter().skip(1).map(|segment| segment.base_offset);
        let ends = bases.chain([view.next_offset()]);
        let living = view.segments.iter().zip(ends).filter(|(_, end)| *end > log_start);
        let mut bytes: u64 = living.clone().map(|(segment, _)| segment.len()).sum();
        let oldest_ns = self.settings().oldest_ns(now_ns);
        let mut start = log_start;
        for (segment, end) in living {
            let rest = bytes - segment.len();
            let too_many = self.settings().retention_bytes.is_some_and(|kept| rest >= kept);
            let too_old = oldest_ns.is_some_and(|oldest| segment.timestamp_max_ns() < oldest);
            let is_active = end == view.next_offset();
            if !(too_many || too_old) || (grows && is_active) {
                break;
            }
            (start, bytes) = (end, rest);
        }
        (start > log_start).then_some(start)
    }
}
