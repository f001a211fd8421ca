//! Partitions: reading records by offset, roots, and proofs.

use crate::error::{Error, Result};
use crate::hash::{Hash, leaf_hash};
use crate::merkle::{
    ConsistencyProof, NodeReader, Proof, ReadTreeError, Siblings, consistency_path, inclusion_path,
    root_at, verify_consistency,
};
use crate::record::{BytesRecord, Header, Record};
use crate::storage::canonical::RecordHasher;
use crate::storage::frame::Body;
use crate::storage::hashes::HashReader;
use crate::storage::partition::{PartitionLog, View};
use chrono::{DateTime, Utc};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A partition of a topic.
#[derive(Debug)]
pub struct PartitionHandle {
    log: Arc<PartitionLog>,
}

impl PartitionHandle {
    pub(crate) fn new(log: Arc<PartitionLog>) -> Self {
        Self { log }
    }

    /// The partition as it is now. What is returned does not change while it is
    /// held, and holds up nobody. Never fails; the `Result` is there because
    /// programs expect the guard of a lock.
    pub fn read(&self) -> Result<Partition> {
        let (log, view) = (Arc::clone(&self.log), self.log.view());
        Ok(Partition { store: ProofStore { log, view } })
    }
}

/// A partition as it was at one moment: offsets, root and proofs agree. Only the
/// log's start moves on, because what retention removes is gone for everybody.
#[derive(Debug, Clone)]
pub struct Partition {
    store: ProofStore,
}

/// What a proof is verified against: the stored tree and records of a partition.
#[derive(Debug, Clone)]
pub struct ProofStore {
    log: Arc<PartitionLog>,
    view: Arc<View>,
}

impl Partition {
    /// The record at `offset`; `None` below the log's start, past its end, and where
    /// compaction has removed it, be it after this view was taken.
    /// One that is no text is [`Error::NotText`], and `read_bytes` returns it.
    pub fn read(&self, offset: u64) -> Result<Option<Record>> {
        let mut found = None;
        self.store.visit_one(offset, |at, body| {
            found = Some(text_record(&self.store.log, at, body)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The records from offset `from` up to, but not including, `to`; what lies
    /// below the log's start or past its end is left out.
    pub fn read_range(&self, from: u64, to: u64) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        self.store.visit(from, to, usize::MAX, |at, body| {
            records.push(text_record(&self.store.log, at, body)?);
            Ok(())
        })?;
        Ok(records)
    }

    /// As [`Partition::read`], in bytes: whatever was sent can be read.
    pub fn read_bytes(&self, offset: u64) -> Result<Option<BytesRecord>> {
        let mut found = None;
        self.store.visit_one(offset, |at, body| {
            found = Some(bytes_record(&self.store.log, at, body)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// As [`Partition::read_range`], in bytes.
    pub fn read_range_bytes(&self, from: u64, to: u64) -> Result<Vec<BytesRecord>> {
        let mut records = Vec::new();
        self.store.visit(from, to, usize::MAX, |at, body| {
            records.push(bytes_record(&self.store.log, at, body)?);
            Ok(())
        })?;
        Ok(records)
    }

    /// The offset that the next record gets; also how many were ever appended.
    /// (Kafka: the high watermark.)
    pub fn next_offset(&self) -> u64 {
        self.store.view.next_offset()
    }

    /// The first offset whose record has at least this timestamp; `None` if there is
    /// none. Senders may choose timestamps, so they need not ascend: records behind
    /// it may be older. (Kafka: `offsetsForTimes`.)
    pub fn offset_for_timestamp(&self, timestamp: DateTime<Utc>) -> Result<Option<u64>> {
        let ProofStore { log, view } = &self.store;
        // What no record can have is before all of them or behind.
        let timestamp_ns = match timestamp.timestamp_nanos_opt() {
            None if timestamp > DateTime::UNIX_EPOCH => return Ok(None),
            timestamp_ns => timestamp_ns.unwrap_or(i64::MIN),
        };
        Ok(log.offset_for_time(view, timestamp_ns)?.map(|(offset, _)| offset))
    }

    /// The first offset that can be read. (Kafka: the log start offset.)
    pub fn min_valid_offset(&self) -> u64 {
        self.store.log.log_start()
    }

    /// The root of the tree over all records ever appended; `None` if there are
    /// none. Reads nothing from disk.
    pub fn merkle_root(&self) -> Result<Option<Hash>> {
        let range = &self.store.view.range;
        Ok((range.size() > 0).then(|| range.root()))
    }

    /// The root that the tree had at `size` records; `None` if it has fewer.
    pub fn root_at(&self, size: u64) -> Result<Option<Hash>> {
        self.store.root_at(size)
    }

    /// Proves that the record at `offset` is in the tree; `None` past its end.
    /// Records that retention has removed can still be proved.
    pub fn proof(&self, offset: u64) -> Result<Option<Proof>> {
        self.store.prove(offset)
    }

    /// Proves that the tree of the first `old_size` records is a prefix of the
    /// present one; `None` if `old_size` is 0 or larger than the tree.
    pub fn consistency_proof(&self, old_size: u64) -> Result<Option<ConsistencyProof>> {
        self.store.prove_consistency(old_size)
    }

    /// Whether `proof` holds for this partition; see
    /// [`crate::tree::MerkleTree::verify_proof`].
    pub fn verify_proof(&self, proof: &Proof) -> Result<bool> {
        self.store.verify(proof)
    }

    /// What [`crate::tree::MerkleTree::verify_proof`] takes.
    pub fn store(&self) -> &ProofStore {
        &self.store
    }
}

impl ProofStore {
    fn visit(
        &self,
        from: u64,
        to: u64,
        chunk_bytes: usize,
        mut visit: impl FnMut(u64, Body<'_>) -> Result<()>,
    ) -> Result<()> {
        let from = from.max(self.log.log_start());
        self.log.read(&self.view, from, to, chunk_bytes, &mut |offset, body| {
            visit(offset, body).map(ControlFlow::Continue)
        })
    }

    fn visit_one(&self, offset: u64, visit: impl FnMut(u64, Body<'_>) -> Result<()>) -> Result<()> {
        self.visit(offset, offset.saturating_add(1), self.log.single_read_bytes(), visit)
    }

    /// Runs `with` on the stored hashes. If its result is damaged, the hashes
    /// are rebuilt from the records, once, and it runs again.
    fn with_hashes<T>(&self, with: impl Fn(&HashReader<'_>) -> Result<Option<T>>) -> Result<T> {
        let attempt = || {
            let made = with(&self.log.hashes.reader(self.view.next_offset()));
            // A deleted topic is told as such, whatever is left of its files.
            self.log.check_living().and(made)
        };
        match attempt() {
            Ok(Some(made)) => return Ok(made),
            Err(error) if !is_damage(&error) => return Err(error),
            Ok(None) | Err(_) => {}
        }
        self.log.rebuild_hashes()?;
        attempt()?.ok_or_else(|| {
            let reason = "the stored hashes do not belong to the tree, nor do those rebuilt";
            Error::corrupt(self.log.hashes.file.path(), 0, reason)
        })
    }

    /// A past root; `None` from the inner function if it is no prefix of the
    /// present tree, which nothing but damage explains.
    fn root_at(&self, size: u64) -> Result<Option<Hash>> {
        let range = &self.view.range;
        if size > range.size() {
            return Ok(None);
        }
        if size == range.size() {
            return Ok(Some(range.root()));
        }
        self.with_hashes(|hashes| self.checked_root(hashes, size)).map(Some)
    }

    fn checked_root(&self, hashes: &HashReader<'_>, size: u64) -> Result<Option<Hash>> {
        let root = root_at(hashes, size).map_err(unwrap_node)?;
        Ok((size == 0 || self.prefix_path(hashes, size, &root)?.is_some()).then_some(root))
    }

    /// The path that proves the tree of `old_size` leaves to be a prefix of the
    /// present one, if it does.
    fn prefix_path(
        &self,
        hashes: &HashReader<'_>,
        old_size: u64,
        old_root: &Hash,
    ) -> Result<Option<Vec<Hash>>> {
        let range = &self.view.range;
        let path = consistency_path(hashes, old_size, range.size()).map_err(unwrap_node)?;
        let holds = verify_consistency(old_size, range.size(), old_root, &range.root(), &path);
        Ok(holds.then_some(path))
    }

    fn prove(&self, offset: u64) -> Result<Option<Proof>> {
        let range = &self.view.range;
        if offset >= range.size() {
            return Ok(None);
        }
        let root = range.root();
        self.with_hashes(|hashes| {
            let proof = Proof {
                leaf_hash: hashes.node(0, offset)?,
                siblings: Siblings {
                    leaf_index: offset,
                    tree_size: range.size(),
                    path: inclusion_path(hashes, offset, range.size()).map_err(unwrap_node)?,
                },
                root,
            };
            Ok(proof.is_valid().then_some(proof))
        })
        .map(Some)
    }

    fn prove_consistency(&self, old_size: u64) -> Result<Option<ConsistencyProof>> {
        let range = &self.view.range;
        if old_size == 0 || old_size > range.size() {
            return Ok(None);
        }
        self.with_hashes(|hashes| {
            let old_root = root_at(hashes, old_size).map_err(unwrap_node)?;
            let path = self.prefix_path(hashes, old_size, &old_root)?;
            Ok(path.map(|path| ConsistencyProof {
                old_size,
                new_size: range.size(),
                old_root,
                new_root: range.root(),
                path,
            }))
        })
        .map(Some)
    }

    pub(crate) fn verify(&self, proof: &Proof) -> Result<bool> {
        let Siblings { leaf_index, tree_size, .. } = proof.siblings;
        if leaf_index >= tree_size || tree_size > self.view.next_offset() || !proof.is_valid() {
            return Ok(false);
        }
        if self.root_at(tree_size)? != Some(proof.root) {
            return Ok(false);
        }
        let stored = self.prove(leaf_index)?.map(|stored| stored.leaf_hash);
        if stored != Some(proof.leaf_hash) {
            return Ok(false);
        }
        self.record_hashes_to(leaf_index, &proof.leaf_hash)
    }

    /// Whether the record, where it is retained, hashes to `leaf`.
    fn record_hashes_to(&self, offset: u64, leaf: &Hash) -> Result<bool> {
        let mut holds = true;
        let name = &self.log.name;
        self.visit_one(offset, |at, body| {
            let hash = RecordHasher::default().hash(&name.topic, name.partition, at, &body);
            let hash = hash.map_err(|malformed| Error::InvalidRecord {
                reason: malformed.expected,
                position: malformed.position,
            })?;
            holds = leaf_hash(&hash) == *leaf;
            Ok(())
        })?;
        Ok(holds)
    }
}

/// Whether rebuilding the stored hashes may help.
fn is_damage(error: &Error) -> bool {
    error.is_corruption() || error.is_not_found() || error.is_failed_read()
}

/// The error of a look-up. The others speak of sizes, which are checked before.
fn unwrap_node(error: ReadTreeError<Error>) -> Error {
    match error {
        ReadTreeError::Node(error) => error,
        other => Error::InvalidOption { option: "size", reason: other.to_string() },
    }
}

/// A stored record as text.
pub(crate) fn text_record(log: &PartitionLog, offset: u64, body: Body<'_>) -> Result<Record> {
    let name = &log.name;
    let not_text = |part| Error::NotText {
        topic: name.topic.to_string(),
        partition: name.partition,
        offset,
        part,
    };
    let text = |bytes: &[u8], part| {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| not_text(part))
    };
    Ok(Record {
        key: body.key.map(|key| text(key, "key")).transpose()?,
        value: text(body.value.ok_or_else(|| not_text("value"))?, "value")?,
        topic: name.topic.to_string(),
        partition: name.partition,
        offset,
        timestamp: DateTime::from_timestamp_nanos(body.timestamp_ns),
    })
}

/// A stored record in bytes.
pub(crate) fn bytes_record(log: &PartitionLog, offset: u64, body: Body<'_>) -> Result<BytesRecord> {
    let name = &log.name;
    let headers = if body.headers.is_empty() { Vec::new() } else { decode_headers(body)? };
    Ok(BytesRecord {
        key: body.key.map(<[u8]>::to_vec),
        value: body.value.map(<[u8]>::to_vec),
        headers,
        topic: Arc::clone(&name.topic),
        partition: name.partition,
        offset,
        timestamp: DateTime::from_timestamp_nanos(body.timestamp_ns),
    })
}

fn decode_headers(body: Body<'_>) -> Result<Vec<Header>> {
    let malformed = |expected, position| Error::InvalidRecord { reason: expected, position };
    let headers = body.headers.decode().map_err(|m| malformed(m.expected, m.position))?;
    let header = |(name, value): (&[u8], Option<&[u8]>)| {
        let name = std::str::from_utf8(name);
        let name = name.map_err(|_| malformed("a header's name in UTF-8", 0))?;
        Ok(Header { name: name.to_owned(), value: value.map(<[u8]>::to_vec) })
    };
    headers.into_iter().map(header).collect()
}
