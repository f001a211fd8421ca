//! The topics of a seed, what goes into them, and what becomes of them.

use super::steps::Maker;
use crate::scenario::{Action, RecordKind, RecordSpec};
use rand::RngExt;

/// A topic that a seed may have.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: &'static str,
    partitions: u32,
    compacted: bool,
    /// It may be deleted, and come again.
    temporary: bool,
}

const fn lasting(name: &'static str, partitions: u32) -> Topic {
    Topic { name, partitions, compacted: false, temporary: false }
}

/// The topics that a seed may have. Where a disk damages records, what is gone for
/// good and what is damaged could not be told apart: there are only the first four.
pub(super) const TOPICS: [Topic; 6] = [
    lasting("orders", 2),
    lasting("audit", 1),
    lasting("clicks", 3),
    lasting("mail", 1),
    Topic { name: "latest", partitions: 2, compacted: true, temporary: false },
    Topic { name: "temp", partitions: 2, compacted: false, temporary: true },
];
const TOPICS_UNDER_DAMAGE: usize = 4;

impl Maker<'_> {
    /// Creates the first topic, or any that there is not yet.
    pub(super) fn create_topic(&mut self) {
        let possible = if self.plan.has_class_d { TOPICS_UNDER_DAMAGE } else { TOPICS.len() };
        let absent: Vec<usize> = (0..possible).filter(|at| !self.topics.contains(at)).collect();
        let drawn = if self.topics.is_empty() { 0 } else { self.draw_below(absent.len()) };
        if let Some(at) = absent.get(drawn).copied() {
            self.create_topic_at(at);
        }
    }

    /// Creates the topic of this place.
    pub(super) fn create_topic_at(&mut self, at: usize) {
        self.topics.push(at);
        let Topic { name, partitions, compacted, .. } = TOPICS[at];
        let topic = name.to_owned();
        self.push("admin", Action::CreateTopic { topic, partitions, compacted });
        // A topic that is lost shows by its records.
        let topic = name.to_owned();
        let records = vec![RecordSpec { topic, bytes: 10, ..RecordSpec::default() }];
        self.push("admin", Action::Send { records, producer: None, later: false });
    }

    fn draw_below(&mut self, count: usize) -> usize {
        self.random.random_range(0..count.max(1))
    }

    /// Draws a topic that there is. A producer that repeats its sends needs one that stays.
    fn drawn_topic(&mut self, lasting: bool) -> &'static Topic {
        let possible = |at: &&usize| !(lasting && TOPICS[**at].temporary);
        let possible: Vec<usize> = self.topics.iter().filter(possible).copied().collect();
        let drawn = self.draw_below(possible.len());
        &TOPICS[possible.get(drawn).copied().unwrap_or_default()]
    }

    /// Records that are sent together.
    pub(super) fn records(&mut self, lasting: bool) -> Vec<RecordSpec> {
        let count = match self.random.random_range(0..10) {
            0..5 => 1,
            5..9 => self.random.random_range(2..6),
            _ => 8,
        };
        // A block larger than any journal file, now and then.
        if self.random.random_bool(0.01) {
            let topic = TOPICS[0].name.to_owned();
            return vec![RecordSpec { topic, bytes: 3900, ..RecordSpec::default() }; 5];
        }
        (0..count).map(|_| self.record(lasting)).collect()
    }

    fn record(&mut self, lasting: bool) -> RecordSpec {
        let Topic { name, partitions, compacted, .. } = *self.drawn_topic(lasting);
        let bytes = match self.random.random_range(0..20) {
            0 => 1500,
            1 => 2600,
            2..6 => 200,
            _ => self.random.random_range(0..60),
        };
        let partition = self.random.random_range(0..partitions);
        let kind = match self.random.random_range(0..10) {
            // What was lost of the journal can be told only where values are text.
            _ if self.plan.has_class_d => RecordKind::Text,
            0 => RecordKind::Bytes,
            1 => RecordKind::Tombstone,
            2 if compacted => RecordKind::Tombstone,
            _ => RecordKind::Text,
        };
        RecordSpec { topic: name.to_owned(), partition, bytes, kind }
    }

    /// A topic is deleted, or created again, gets a partition, or loses records.
    pub(super) fn change_topics(&mut self) {
        if self.plan.has_class_d {
            return;
        }
        let at = self.topics.iter().position(|at| TOPICS[*at].temporary);
        match (self.random.random_range(0..4), at) {
            (0 | 1, Some(at)) => {
                let topic = TOPICS[self.topics.swap_remove(at)].name.to_owned();
                self.push("admin", Action::DeleteTopic { topic });
                // It comes again in most seeds, and others may still wait for sends to it.
                if self.random.random_bool(0.7) {
                    self.create_topic();
                }
            }
            (2, _) => {
                let topic = self.drawn_topic(false).name.to_owned();
                self.push("admin", Action::AddPartitions { topic, more: 1 });
            }
            _ => {
                let topic = self.drawn_topic(false);
                let partition = self.random.random_range(0..topic.partitions);
                let (topic, keep) = (topic.name.to_owned(), self.random.random_range(0..6));
                self.push("admin", Action::DeleteRecords { topic, partition, keep });
            }
        }
    }
}
