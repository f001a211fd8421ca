//! Sends with sequence numbers, and their repetition.

use crate::support_crash::ledger::{Unit, records_of};
use crate::{Model, TOPICS};
use merkql::Error;
use merkql::broker::Broker;
use merkql::env::Probe;
use merkql::record::{ProducerRecord, Record};

const NUMBERED: Unit = 1 << 63;
/// How many sends of a producer can be repeated, as its docs say.
const REMEMBERED: u64 = 8;
/// The model's own mark beside the log's: a repetition of what is too old.
pub(crate) const FORGOTTEN: &str = "model.forgotten_send";

impl Model {
    pub(crate) fn numbered(&mut self, producer: u64, topics: &[usize]) {
        let handle = Broker::idempotent_producer(&self.broker, producer);
        let before = self.sent.entry(producer).or_default();
        let sequence = before.len() as u64;
        assert_eq!(handle.next_sequence(), sequence);
        let topics: Vec<&str> = topics.iter().map(|topic| TOPICS[*topic].0).collect();
        let records = records_of(NUMBERED | producer << 32 | sequence, &topics);
        let sent = handle.send_batch(sequence, &records).unwrap();
        before.push(sent.clone());
        self.note_sent(&records, &sent);
    }

    /// What is remembered is answered again, and what is older is refused.
    pub(crate) fn repeat(&mut self, producer: u64, back: u64) {
        let Some(before) = self.sent.get(&producer) else { return };
        let next = before.len() as u64;
        let back = 1 + back % next;
        let known = &before[usize::try_from(next - back).unwrap()];
        let records: Vec<_> = known.iter().map(as_sent).collect();
        let handle = Broker::idempotent_producer(&self.broker, producer);
        let answer = handle.send_batch(next - back, &records);
        if back > REMEMBERED {
            let refused = matches!(answer, Err(Error::SequenceOutOfOrder { .. }));
            assert!(refused, "{answer:?}");
            self.met.mark(FORGOTTEN);
            return;
        }
        let places = |records: &[Record]| -> Vec<_> {
            let place = |record: &Record| {
                (record.topic.clone(), record.partition, record.offset, record.value.clone())
            };
            records.iter().map(place).collect()
        };
        assert_eq!(places(&answer.unwrap()), places(known), "the second time");
    }

    /// A sequence that is not the next one changes nothing.
    pub(crate) fn too_early(&mut self, producer: u64) {
        let handle = Broker::idempotent_producer(&self.broker, producer);
        let next = self.sent.get(&producer).map_or(0, Vec::len) as u64;
        let records = records_of(NUMBERED, &[TOPICS[0].0]);
        match handle.send_batch(next + 1, &records) {
            Err(Error::UnknownProducer { .. }) if next == 0 => {}
            Err(Error::SequenceOutOfOrder { next_sequence, .. }) if next > 0 => {
                assert_eq!(next_sequence, next);
            }
            answer => panic!("{answer:?}"),
        }
    }
}

/// The record as its producer made it.
fn as_sent(record: &Record) -> ProducerRecord {
    ProducerRecord::new(&*record.topic, record.key.clone(), &*record.value)
}
