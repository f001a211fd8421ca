//! Journal entries: every change of the log, as one of a handful of kinds.
//!
//! ```text
//! entry     kind u8 | fields; all numbers are varints unless said otherwise
//! 1 append  incarnation | partition | base offset | records | frames blob
//! 2 create  name blob | incarnation | partitions | settings
//! 3 commit  group blob | count, then each: incarnation | partition | offset
//! 4 sent    producer id u64 | sequence | timestamp i64 | count, then each: incarnation | partition | base offset | records
//! 5 delete  incarnation
//! 6 grow    incarnation | partitions, the old ones included
//! 7 start   incarnation | partition | offset of the first record that stays
//! 8 forget  group blob
//! settings  count, then each: id u8 | value
//! blob      length | bytes
//! ```
//!
//! A block is applied whole or not at all, so a transaction is simply its
//! appends, its commit and its `sent` side by side in one block. Kind 0 is
//! invalid, so zeroes are never an entry. A `delete`, a `grow` and a `forget` have
//! a block for themselves, and a `start` stands behind the block's appends, so
//! nothing hangs on an order within one block.

use super::codec::{Decoded, Decoder, Encode};
use super::producers::Sent;
use super::settings::TopicSettings;

const KIND_APPEND: u8 = 1;
const KIND_CREATE: u8 = 2;
const KIND_COMMIT: u8 = 3;
const KIND_SENT: u8 = 4;
const KIND_DELETE: u8 = 5;
const KIND_GROW: u8 = 6;
const KIND_START: u8 = 7;
const KIND_FORGET: u8 = 8;

/// A partition of one life of a topic: what is written on disk for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartitionKey {
    /// The topic's incarnation, which no other topic of the log ever has.
    pub(crate) incarnation: u64,
    /// The partition's number in its topic.
    pub(crate) partition: u32,
}

impl PartitionKey {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_varint(self.incarnation);
        out.put_varint(u64::from(self.partition));
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        let incarnation = input.counter("a topic incarnation")?;
        let partition = input.varint("a partition")?;
        let partition = u32::try_from(partition).map_err(|_| input.malformed("a partition"))?;
        Ok(Self { incarnation, partition })
    }
}

/// The committed offset of one partition: the next one to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) key: PartitionKey,
    pub(crate) offset: u64,
}

impl Commit {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.key.encode(out);
        out.put_varint(self.offset);
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        Ok(Self { key: PartitionKey::decode(input)?, offset: input.varint("an offset")? })
    }
}

/// Where the records of a send with a sequence went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) key: PartitionKey,
    pub(crate) base_offset: u64,
    pub(crate) records: u64,
}

impl Placement {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.key.encode(out);
        out.put_varint(self.base_offset);
        out.put_varint(self.records);
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        Ok(Self {
            key: PartitionKey::decode(input)?,
            base_offset: input.number("an offset")?,
            records: input.number("a count of records")?,
        })
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// Records to a partition.
    Append { key: PartitionKey, base_offset: u64, records: u64, frames: &'a [u8] },
    /// A new topic.
    Create { name: &'a str, incarnation: u64, partitions: u32, settings: TopicSettings },
    /// Offsets that a group has committed.
    Commit { group: &'a str, commits: Vec<Commit> },
    /// A producer's sequence, and where its records went.
    Sent { producer_id: u64, sent: Sent },
    /// A topic is gone.
    Delete { incarnation: u64 },
    /// A topic has more partitions: so many now.
    Grow { incarnation: u64, partitions: u32 },
    /// What lies below the offset is gone.
    Start { key: PartitionKey, offset: u64 },
    /// Everything that a group has committed is forgotten.
    Forget { group: &'a str },
}

impl<'a> Entry<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Append { key, base_offset, records, frames } => {
                out.put_u8(KIND_APPEND);
                key.encode(out);
                out.put_varint(*base_offset);
                out.put_varint(*records);
                out.put_blob(frames);
            }
            Self::Create { name, incarnation, partitions, settings } => {
                out.put_u8(KIND_CREATE);
                out.put_blob(name.as_bytes());
                out.put_varint(*incarnation);
                out.put_varint(u64::from(*partitions));
                settings.encode(out);
            }
            Self::Commit { group, commits } => {
                out.put_u8(KIND_COMMIT);
                out.put_blob(group.as_bytes());
                out.put_varint(commits.len() as u64);
                for commit in commits {
                    commit.encode(out);
                }
            }
            Self::Sent { producer_id, sent } => {
                out.put_u8(KIND_SENT);
                out.put_u64(*producer_id);
                sent.encode(out);
            }
            Self::Delete { incarnation } => {
                out.put_u8(KIND_DELETE);
                out.put_varint(*incarnation);
            }
            Self::Grow { incarnation, partitions } => {
                out.put_u8(KIND_GROW);
                out.put_varint(*incarnation);
                out.put_varint(u64::from(*partitions));
            }
            Self::Start { key, offset } => {
                out.put_u8(KIND_START);
                key.encode(out);
                out.put_varint(*offset);
            }
            Self::Forget { group } => {
                out.put_u8(KIND_FORGET);
                out.put_blob(group.as_bytes());
            }
        }
    }

    fn decode(input: &mut Decoder<'a>) -> Decoded<Self> {
        match input.u8("an entry's kind")? {
            KIND_APPEND => Ok(Self::Append {
                key: PartitionKey::decode(input)?,
                base_offset: input.number("an offset")?,
                records: input.number("a count of records")?,
                frames: input.blob("frames")?,
            }),
            KIND_CREATE => Ok(Self::Create {
                name: input.text("a topic name")?,
                incarnation: input.counter("a topic incarnation")?,
                partitions: partition_count(input)?,
                settings: TopicSettings::decode(input)?,
            }),
            KIND_COMMIT => Ok(Self::Commit {
                group: input.text("a group id")?,
                commits: decode_list(input, 3, Commit::decode)?,
            }),
            KIND_SENT => Ok(Self::Sent {
                producer_id: input.u64("a producer id")?,
                sent: Sent::decode(input)?,
            }),
            KIND_DELETE => Ok(Self::Delete { incarnation: input.counter("a topic incarnation")? }),
            KIND_GROW => Ok(Self::Grow {
                incarnation: input.counter("a topic incarnation")?,
                partitions: partition_count(input)?,
            }),
            KIND_START => Ok(Self::Start {
                key: PartitionKey::decode(input)?,
                offset: input.number("an offset")?,
            }),
            KIND_FORGET => Ok(Self::Forget { group: input.text("a group id")? }),
            _ => Err(input.malformed("a known kind of entry")),
        }
    }

    /// All entries of a block's body.
    pub(crate) fn decode_all(body: &'a [u8], count: u32) -> Decoded<Vec<Self>> {
        let mut input = Decoder::new(body);
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(Self::decode(&mut input)?);
        }
        input.finish()?;
        Ok(entries)
    }
}

/// A number of partitions, within [`super::settings::PARTITIONS_MAX`].
pub(crate) fn partition_count(input: &mut Decoder<'_>) -> Decoded<u32> {
    let count = input.varint("a count of partitions")?;
    u32::try_from(count)
        .ok()
        .filter(|count| (1..=super::settings::PARTITIONS_MAX).contains(count))
        .ok_or(input.malformed("a possible count of partitions"))
}

/// A counted list of items that take at least `item_bytes` each.
pub(crate) fn decode_list<'a, T>(
    input: &mut Decoder<'a>,
    item_bytes: usize,
    mut decode: impl FnMut(&mut Decoder<'a>) -> Decoded<T>,
) -> Decoded<Vec<T>> {
    let count = input.count(item_bytes, "a count")?;
    (0..count).map(|_| decode(input)).collect()
}
