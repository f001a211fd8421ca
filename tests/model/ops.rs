//! What a program does, drawn at random.

use crate::{MEMBERS_MAX, PRODUCERS, TOPICS};
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A batch; each number chooses a topic.
    Send(Vec<usize>),
    /// Two sends that are pending at once.
    Enqueue(Vec<usize>, Vec<usize>),
    /// Batches with the producer's next sequences.
    Numbered {
        producer: u64,
        batches: Vec<Vec<usize>>,
    },
    /// One of a producer's batches again, by how many sequences it lies back,
    /// counted round those that it has sent.
    Repeat {
        producer: u64,
        back: u64,
    },
    TooEarly {
        producer: u64,
    },
    Read {
        partition: usize,
        offset: u64,
    },
    ReadRange {
        partition: usize,
        from: u64,
        to: u64,
    },
    Join,
    Leave {
        member: usize,
    },
    Poll {
        member: usize,
    },
    Seek {
        member: usize,
        partition: usize,
        offset: u64,
    },
    Commit {
        member: usize,
    },
    Maintain,
    Reopen {
        lz4: bool,
    },
    Crash {
        lz4: bool,
    },
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let topics = || prop::collection::vec(0..TOPICS.len(), 1..7);
    let (member, partition) = (0..MEMBERS_MAX, 0..4_usize);
    let op = prop_oneof![
        8 => topics().prop_map(Op::Send),
        1 => prop::collection::vec(0..TOPICS.len(), 20..60).prop_map(Op::Send),
        // More than a journal file holds.
        1 => prop::collection::vec(0..TOPICS.len(), 180..220).prop_map(Op::Send),
        2 => (topics(), topics()).prop_map(|(first, second)| Op::Enqueue(first, second)),
        4 => (0..PRODUCERS, prop::collection::vec(topics(), 1..16))
            .prop_map(|(producer, batches)| Op::Numbered { producer, batches }),
        6 => (0..PRODUCERS, 0..1_000_u64).prop_map(|(producer, back)| Op::Repeat { producer, back }),
        1 => (0..PRODUCERS).prop_map(|producer| Op::TooEarly { producer }),
        2 => (partition.clone(), 0..60_u64)
            .prop_map(|(partition, offset)| Op::Read { partition, offset }),
        2 => (partition.clone(), 0..60_u64, 0..60_u64)
            .prop_map(|(partition, from, to)| Op::ReadRange { partition, from, to }),
        2 => Just(Op::Join),
        1 => member.clone().prop_map(|member| Op::Leave { member }),
        5 => member.clone().prop_map(|member| Op::Poll { member }),
        1 => (member.clone(), partition, 0..60_u64)
            .prop_map(|(member, partition, offset)| Op::Seek { member, partition, offset }),
        3 => member.prop_map(|member| Op::Commit { member }),
        1 => Just(Op::Maintain),
        1 => any::<bool>().prop_map(|lz4| Op::Reopen { lz4 }),
        2 => any::<bool>().prop_map(|lz4| Op::Crash { lz4 }),
    ];
    prop::collection::vec(op, 1..60)
}
