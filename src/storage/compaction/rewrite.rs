//! Writing segments anew, as one, without the records that go.

use super::output::Output;
use super::plan::{Rule, Verdict};
use crate::error::{Error, Result};
use crate::merkle::{Hash, leaf_hash};
use crate::storage::canonical::RecordHasher;
use crate::storage::codec::{Decoded, Malformed};
use crate::storage::frame::Frame;
use crate::storage::manifest::NO_HORIZON_NS;
use crate::storage::partition::PartitionLog;
use crate::storage::segment::Segment;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// How many bytes are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Writes the segments `group` of `sealed` as one, and syncs it: the checkpoint,
/// which would do it otherwise, keeps commits waiting. Its name is durable only
/// after a sync of the folder. A file that it made is noted in `made`, and left to
/// the caller, be it whole or not.
pub(super) fn rewrite(
    log: &PartitionLog,
    sealed: &[Arc<Segment>],
    group: &Range<usize>,
    rule: &Rule,
    made: &mut Vec<PathBuf>,
) -> Result<Arc<Segment>> {
    let inputs = sealed.get(group.clone()).unwrap_or_default();
    let (Some(first), Some(next)) = (inputs.first(), sealed.get(group.end)) else {
        return Err(Error::corrupt(log.dir(), 0, "no segment"));
    };
    let output = Output::begin(log, &first.base_range, made)?;
    let mut rewriter =
        Rewriter { log, rule, hasher: RecordHasher::default(), output, horizon_ns: None };
    rewriter.write_all(inputs, next)?;
    let horizon_ns = rewriter.horizon_ns.unwrap_or(NO_HORIZON_NS);
    rewriter.output.finish(first.created_ns, horizon_ns)
}

/// Decides of each record of some segments, and writes those that stay.
struct Rewriter<'a> {
    log: &'a PartitionLog,
    rule: &'a Rule,
    hasher: RecordHasher,
    output: Output<'a>,
    /// That of the tombstones that stay.
    horizon_ns: Option<i64>,
}

/// A record of a frame, and what becomes of it.
struct Judged {
    offset: u64,
    leaf: Hash,
    timestamp_ns: i64,
    verdict: Verdict,
}

impl Rewriter<'_> {
    /// Writes what stays of `inputs`, behind which `next` begins, and checks it
    /// against the tree.
    fn write_all(&mut self, inputs: &[Arc<Segment>], next: &Segment) -> Result<()> {
        let ends = inputs.iter().skip(1).map(|input| input.base_offset).chain([next.base_offset]);
        for (input, end) in inputs.iter().zip(ends) {
            let mut outcome = Ok(());
            input.walk_frames(input.base_offset, end, usize::MAX, &mut |frame| {
                self.frame(input, frame).map_err(|malformed| (frame.offset, malformed))?;
                outcome = self.output.drain(WRITE_BYTES);
                Ok(outcome.is_ok().then_some(self.output.range().size()))
            })?;
            outcome?;
        }
        self.output.end()?;
        if *self.output.range() != next.base_range {
            let reason = "the records do not hash to the tree of the manifest";
            return Err(next.corrupt(self.output.range().size(), 0, reason));
        }
        Ok(())
    }

    fn frame(&mut self, input: &Segment, frame: &Frame<'_>) -> Decoded<()> {
        if let Some(gap) = frame.gap()? {
            gap.subtrees().for_each(|(level, root)| self.output.remove(level, root));
            return Ok(());
        }
        let judged = self.judge(input, frame)?;
        for record in judged.iter().filter(|record| record.verdict.stays()) {
            if let Verdict::StaysUntil(horizon_ns) = record.verdict {
                self.horizon_ns = self.horizon_ns.max(Some(horizon_ns));
            }
        }
        if judged.iter().all(|record| record.verdict.stays()) {
            self.output.begin_frame(frame);
            for record in &judged {
                self.output.keep(record.leaf, record.timestamp_ns);
            }
            return Ok(());
        }
        let mut judged = judged.into_iter();
        frame.records(|_, body, _| {
            let Some(record) = judged.next() else { return false };
            if record.verdict.stays() {
                self.output.pack(record.offset, record.leaf, record.timestamp_ns, body);
            } else {
                self.output.remove(0, record.leaf);
            }
            true
        })?;
        self.output.end_run();
        Ok(())
    }

    fn judge(&mut self, input: &Segment, frame: &Frame<'_>) -> Decoded<Vec<Judged>> {
        let name = &self.log.name;
        let mut judged = Vec::new();
        let mut failed = None;
        frame.records(|offset, _, body| {
            match self.hasher.hash(&name.topic, name.partition, offset, &body) {
                Ok(hash) => judged.push(Judged {
                    offset,
                    leaf: leaf_hash(&hash),
                    timestamp_ns: body.timestamp_ns,
                    verdict: self.rule.judge(input, offset, &body),
                }),
                Err(malformed) => failed = Some(malformed),
            }
            failed.is_none()
        })?;
        failed.map_or(Ok(judged), |malformed: Malformed| Err(malformed))
    }
}
