//! What each operation sent and polled, with keys and records as small numbers.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::timeline::Timeline;
use crate::history::{Action, Datum, History, Key, Kind, MicroOp, Operation, Polled};

/// A key, numbered in the order in which keys first appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct KeyId(u32);

/// A record of a key, known by its value, numbered in the order in which records first appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RecordId(u32);

impl KeyId {
    /// The key of a number.
    pub(crate) fn new(number: usize) -> Self {
        Self(narrow(number))
    }

    /// Its number.
    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }
}

impl RecordId {
    fn new(number: usize) -> Self {
        Self(narrow(number))
    }

    /// Its number.
    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }
}

/// Numbers are kept in 32 bits: there are as many as records, and four milliards of those fit into no memory.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("fewer than 2^32 keys and records")
}

/// A record that an operation sent or polled. There are many, so that each takes 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touch {
    pub(crate) key: KeyId,
    pub(crate) record: RecordId,
    /// The offset, or [`Self::NO_OFFSET`], which no log reaches.
    offset: u64,
}

impl Touch {
    const NO_OFFSET: u64 = u64::MAX;

    fn new(key: KeyId, record: RecordId, offset: Option<u64>) -> Self {
        Self { key, record, offset: offset.unwrap_or(Self::NO_OFFSET) }
    }

    /// Where the record was put or found, if that is known.
    pub(crate) fn offset(self) -> Option<u64> {
        (self.offset != Self::NO_OFFSET).then_some(self.offset)
    }
}

/// What is known of a record from all operations together.
#[derive(Debug)]
pub(crate) struct Record<'h> {
    pub(crate) key: KeyId,
    pub(crate) value: &'h Datum,
    /// The last completed operation that tried to send it.
    pub(crate) writer: Option<usize>,
    /// An operation that sent it and was acknowledged.
    pub(crate) ok_writer: Option<usize>,
    /// An operation that sent it and failed.
    pub(crate) failed_writer: Option<usize>,
    /// Whether any operation tried to send it, answered or not.
    pub(crate) attempted: bool,
    /// Where the first call that tried to send it began.
    pub(crate) sent_from: Option<usize>,
    /// The first operation that polled it and ended well.
    pub(crate) ok_reader: Option<usize>,
}

impl Record<'_> {
    fn note_call(&mut self, began: usize) {
        self.sent_from = Some(self.sent_from.map_or(began, |known| known.min(began)));
    }
}

/// Keys, records, and which operation touched which.
#[derive(Debug)]
pub(crate) struct Effects<'h> {
    keys: Vec<&'h Key>,
    key_ids: FxHashMap<&'h Key, KeyId>,
    records: Vec<Record<'h>>,
    record_ids: FxHashMap<(KeyId, &'h Datum), RecordId>,
    /// For each record the one that followed it in a poll last, or itself.
    followers: Vec<RecordId>,
    writes: Vec<Touch>,
    reads: Vec<Touch>,
    /// Behind each operation, how many writes and reads there were up to and with it.
    ends: Vec<(usize, usize)>,
}

impl<'h> Effects<'h> {
    pub(crate) fn new(history: &'h History, timeline: &Timeline) -> Self {
        let mut effects = Self {
            keys: Vec::new(),
            key_ids: FxHashMap::default(),
            records: Vec::new(),
            record_ids: FxHashMap::default(),
            followers: Vec::new(),
            writes: Vec::new(),
            reads: Vec::new(),
            ends: Vec::with_capacity(history.len()),
        };
        for (position, operation) in history.operations().iter().enumerate() {
            if operation.process.is_client() {
                if operation.kind == Kind::Invoke {
                    if timeline.completion(position).is_none() {
                        effects.note_attempts(position, operation);
                    }
                } else {
                    effects.note_completion(position, timeline.start(position), operation);
                }
            }
            effects.ends.push((effects.writes.len(), effects.reads.len()));
        }
        effects
    }

    /// A call that was never answered may have happened all the same.
    fn note_attempts(&mut self, position: usize, invocation: &'h Operation) {
        for step in invocation.action.micro_ops() {
            if let MicroOp::Send { key, value, .. } = step {
                let key = self.intern_key(key);
                let record = self.intern_record(key, value);
                let record = &mut self.records[record.number()];
                record.attempted = true;
                record.note_call(position);
            }
        }
    }

    fn note_completion(&mut self, position: usize, start: usize, operation: &'h Operation) {
        let (sends, polls) = match operation.action {
            Action::Send(_) => (true, false),
            Action::Poll(_) => (false, true),
            Action::Txn(_) => (true, true),
            _ => return,
        };
        let (writes_from, reads_from) = (self.writes.len(), self.reads.len());
        for step in operation.action.micro_ops() {
            match step {
                MicroOp::Send { key, offset, value } if sends => {
                    let key = self.intern_key(key);
                    let record = self.intern_record(key, value);
                    self.note_write(position, operation.kind, record);
                    self.records[record.number()].note_call(start);
                    self.writes.push(Touch::new(key, record, *offset));
                }
                MicroOp::Poll(Some(keys)) if polls => {
                    for (key, polled) in keys {
                        self.note_polled(position, operation.kind, key, polled);
                    }
                }
                MicroOp::Send { .. } | MicroOp::Poll(_) => {}
            }
        }
        // Within a key the order of the steps stays, so that each key's records can be looked at in one run.
        self.writes[writes_from..].sort_by_key(|touch| touch.key);
        self.reads[reads_from..].sort_by_key(|touch| touch.key);
    }

    fn note_polled(&mut self, position: usize, kind: Kind, key: &'h Key, polled: &'h [Polled]) {
        let key = self.intern_key(key);
        let mut previous = None;
        for one in polled {
            let record = self.intern_next(previous, key, &one.value);
            if kind == Kind::Ok {
                self.records[record.number()].ok_reader.get_or_insert(position);
            }
            self.reads.push(Touch::new(key, record, one.offset));
            previous = Some(record);
        }
    }

    fn note_write(&mut self, position: usize, kind: Kind, record: RecordId) {
        let record = &mut self.records[record.number()];
        record.attempted = true;
        record.writer = Some(position);
        match kind {
            Kind::Ok => record.ok_writer = Some(position),
            Kind::Fail => record.failed_writer = Some(position),
            Kind::Info | Kind::Invoke => {}
        }
    }

    fn intern_key(&mut self, key: &'h Key) -> KeyId {
        let next = KeyId::new(self.keys.len());
        let id = *self.key_ids.entry(key).or_insert(next);
        if id == next {
            self.keys.push(key);
        }
        id
    }

    /// The record, which follows another one in a poll. Most readers read the same records one after another, so that the record
    /// that followed last time is nearly always the one; looking there first spares the search.
    fn intern_next(
        &mut self,
        previous: Option<RecordId>,
        key: KeyId,
        value: &'h Datum,
    ) -> RecordId {
        let Some(previous) = previous else {
            return self.intern_record(key, value);
        };
        let follower = self.followers[previous.number()];
        let known = &self.records[follower.number()];
        if known.key == key && known.value == value {
            return follower;
        }
        let record = self.intern_record(key, value);
        self.followers[previous.number()] = record;
        record
    }

    fn intern_record(&mut self, key: KeyId, value: &'h Datum) -> RecordId {
        let next = RecordId::new(self.records.len());
        let id = *self.record_ids.entry((key, value)).or_insert(next);
        if id == next {
            self.followers.push(next);
            self.records.push(Record {
                key,
                value,
                writer: None,
                ok_writer: None,
                failed_writer: None,
                attempted: false,
                sent_from: None,
                ok_reader: None,
            });
        }
        id
    }

    /// How many keys records were sent to or polled from.
    pub(crate) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The key itself.
    pub(crate) fn key(&self, key: KeyId) -> &'h Key {
        self.keys[key.number()]
    }

    /// The number of a key, if any record of it was sent or polled.
    pub(crate) fn key_id(&self, key: &Key) -> Option<KeyId> {
        self.key_ids.get(key).copied()
    }

    /// The number of a record, if it was sent or polled.
    pub(crate) fn record_id(&self, key: KeyId, value: &'h Datum) -> Option<RecordId> {
        self.record_ids.get(&(key, value)).copied()
    }

    pub(crate) fn record(&self, record: RecordId) -> &Record<'h> {
        &self.records[record.number()]
    }

    /// All records with their numbers.
    pub(crate) fn records(&self) -> impl Iterator<Item = (RecordId, &Record<'h>)> {
        self.records.iter().enumerate().map(|(id, record)| (RecordId::new(id), record))
    }

    /// What the operation sent, key by key, each key in the order of its steps.
    pub(crate) fn writes(&self, position: usize) -> &[Touch] {
        &self.writes[self.range(position, |end| end.0)]
    }

    /// What the operation polled, key by key, each key in the order of its steps.
    pub(crate) fn reads(&self, position: usize) -> &[Touch] {
        &self.reads[self.range(position, |end| end.1)]
    }

    fn range(&self, position: usize, side: impl Fn((usize, usize)) -> usize) -> Range<usize> {
        let start = position.checked_sub(1).map_or(0, |before| side(self.ends[before]));
        start..side(self.ends[position])
    }
}

/// The touches of one key after another.
pub(crate) fn by_key(touches: &[Touch]) -> impl Iterator<Item = &[Touch]> {
    touches.chunk_by(|left, right| left.key == right.key)
}
