//! What the log remembers of producers that number their sends.
//!
//! A producer with an id gives each send the next sequence. One that gets no
//! answer sends again under the same sequence, and gets the offsets of the
//! first time: the records are there once. The last few sends of an id are
//! remembered, and a bounded number of ids; the id unused for the most blocks is
//! forgotten first. Nothing here depends on a clock.

use super::codec::{Decoded, Decoder, Encode};
use super::entry::{Placement, decode_list};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// How many sends of an id can be repeated. (Kafka remembers five batches.)
pub(crate) const REMEMBERED_SENDS: usize = 8;

/// A send under a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) sequence: u64,
    /// When its records were sent, so that a repetition returns them as they are
    /// even where retention has removed them.
    pub(crate) timestamp_ns: i64,
    /// Where they stand.
    pub(crate) placements: Vec<Placement>,
}

impl Sent {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.sequence);
        out.put_i64(self.timestamp_ns);
        out.put_varint(self.placements.len() as u64);
        for placement in &self.placements {
            placement.encode(out);
        }
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        Ok(Self {
            sequence: input.counter("a sequence")?,
            timestamp_ns: input.i64("a timestamp")?,
            placements: decode_list(input, 4, Placement::decode)?,
        })
    }
}

/// What is known of one producer id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ProducerState {
    next_sequence: u64,
    /// The journal sequence of the block that used it last.
    last_use: u64,
    /// The last sends, oldest first.
    sent: Vec<Sent>,
}

/// What a send with a sequence is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// To be appended.
    New,
    /// A repetition of this one.
    Repeated(Sent),
}

impl ProducerState {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.next_sequence);
        out.put_varint(self.last_use);
        out.put_varint(self.sent.len() as u64);
        for sent in &self.sent {
            sent.encode(out);
        }
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        Ok(Self {
            next_sequence: input.counter("a sequence")?,
            last_use: input.varint("a block's sequence")?,
            sent: decode_list(input, 10, Sent::decode)?,
        })
    }

    /// Where the records of the remembered sends went.
    pub(crate) fn placements(&self) -> impl Iterator<Item = &Placement> {
        self.sent.iter().flat_map(|sent| &sent.placements)
    }

    fn judge(&self, producer_id: u64, sequence: u64) -> Result<Judgement> {
        if sequence == self.next_sequence {
            return Ok(Judgement::New);
        }
        let repeated = self.sent.iter().find(|sent| sent.sequence == sequence);
        match repeated {
            Some(sent) => Ok(Judgement::Repeated(sent.clone())),
            None => Err(Error::SequenceOutOfOrder {
                producer_id,
                sequence,
                next_sequence: self.next_sequence,
                remembered: self.sent.len(),
            }),
        }
    }
}

/// The producers that the log remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Producers(BTreeMap<u64, ProducerState>);

impl FromIterator<(u64, ProducerState)> for Producers {
    fn from_iter<I: IntoIterator<Item = (u64, ProducerState)>>(states: I) -> Self {
        Self(states.into_iter().collect())
    }
}

impl Producers {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&u64, &ProducerState)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, producer_id: u64) -> Option<&ProducerState> {
        self.0.get(&producer_id)
    }

    pub(crate) fn insert(&mut self, producer_id: u64, state: ProducerState) {
        self.0.insert(producer_id, state);
    }

    /// The sequence that the id's next send has: 0 for an unknown one.
    pub(crate) fn next_sequence(&self, producer_id: u64) -> u64 {
        self.0.get(&producer_id).map_or(0, |state| state.next_sequence)
    }

    /// Whether a send is new or repeated. An id that is unknown, or forgotten,
    /// must not claim to have sent before.
    pub(crate) fn judge(&self, producer_id: u64, sequence: u64) -> Result<Judgement> {
        match self.0.get(&producer_id) {
            Some(state) => state.judge(producer_id, sequence),
            None if sequence == 0 => Ok(Judgement::New),
            None => Err(Error::UnknownProducer { producer_id, sequence }),
        }
    }

    /// Notes a send of block `block_sequence`, and forgets the longest unused
    /// id if there are more than `producers_max`.
    pub(crate) fn record(
        &mut self,
        producer_id: u64,
        sent: Sent,
        block_sequence: u64,
        producers_max: usize,
    ) {
        let state = self.0.entry(producer_id).or_default();
        state.next_sequence = sent.sequence.saturating_add(1);
        state.last_use = block_sequence;
        state.sent.push(sent);
        if state.sent.len() > REMEMBERED_SENDS {
            state.sent.remove(0);
        }
        if self.0.len() > producers_max {
            let others = self.0.iter().filter(|(id, _)| **id != producer_id);
            let oldest = others.min_by_key(|(id, state)| (state.last_use, **id));
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.0.remove(&oldest);
            }
        }
    }
}
