//! What was done, as a number and, where it is asked for, as a list.

use crate::fault::{FaultId, OpKind};
use serde::Serialize;
use std::fmt;
use std::hash::Hasher;
use std::io::ErrorKind;

/// A running 64-bit digest, the same on every platform (FNV-1a over words).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    const PRIME: u64 = 0x0000_0100_0000_01B3;

    /// The digest of nothing.
    pub fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        // The shift brings the high bits down, which a multiplication alone never does.
        let mixed = (self.0 ^ number).wrapping_mul(Self::PRIME);
        self.0 = mixed ^ (mixed >> 29);
    }

    /// Adds bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.number(u64::from_le_bytes(word));
        }
    }

    /// The digest.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// Feeds whatever has a hash of its own. (Two platforms agree where their `usize`
/// is equally wide.)
impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.value()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.number(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.number(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.number(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.number(number as u64);
    }
}

/// An operation and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IoEvent {
    /// Its number among all operations.
    pub index: u64,
    /// Its number among those that can change something, if it can.
    pub change: Option<u64>,
    /// What it was.
    pub on: OpKind,
    /// On which path.
    pub path: String,
    /// Where in the file; the length for `set_len` and `allocate`.
    pub position: u64,
    /// How many bytes were asked for.
    pub len: u64,
    /// What came of it: how many bytes, or the error.
    #[serde(serialize_with = "outcome_text")]
    pub outcome: Result<u64, ErrorKind>,
    /// The armed fault that happened to it, if one did.
    pub fault: Option<FaultId>,
}

fn outcome_text<S: serde::Serializer>(
    outcome: &Result<u64, ErrorKind>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match outcome {
        Ok(count) => serializer.serialize_u64(*count),
        Err(kind) => serializer.collect_str(kind),
    }
}

impl fmt::Display for IoEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.change {
            Some(change) => write!(f, "{:>6} #{change:<5}", self.index)?,
            None => write!(f, "{:>6}       ", self.index)?,
        }
        write!(f, "{:?} {}", self.on, self.path)?;
        if matches!(self.on, OpKind::ReadAt | OpKind::WriteAt) {
            write!(f, " {}..{}", self.position, self.position + self.len)?;
        } else if matches!(self.on, OpKind::SetLen | OpKind::Allocate) {
            write!(f, " {}", self.position)?;
        }
        match &self.outcome {
            Ok(count) if *count == self.len => Ok(()),
            Ok(count) => write!(f, " -> {count}"),
            Err(kind) => write!(f, " -> {kind}"),
        }
    }
}

/// The digest of a disk's operations, and the operations if they are recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    digest: Digest,
    events: Option<Vec<IoEvent>>,
}

impl Trace {
    pub(crate) fn digest(&self) -> u64 {
        self.digest.value()
    }

    pub(crate) fn record(&mut self) {
        self.events.get_or_insert_default();
    }

    pub(crate) fn take(&mut self) -> Vec<IoEvent> {
        self.events.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes an operation; `content` is what was written.
    pub(crate) fn note(&mut self, event: &IoEvent, content: &[u8]) {
        let digest = &mut self.digest;
        digest.number(event.on as u64);
        digest.bytes(event.path.as_bytes());
        digest.number(event.position);
        digest.number(event.len);
        match event.outcome {
            Ok(count) => digest.number(count),
            // The kind's name: its number is not for others to rely on.
            Err(kind) => digest.bytes(format!("{kind:?}").as_bytes()),
        }
        digest.bytes(content);
        if let Some(events) = &mut self.events {
            events.push(event.clone());
        }
    }
}
