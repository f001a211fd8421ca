//! What a log serves, against what was acknowledged.
//!
//! Whatever is missing or different must have been told: by the read that met it, or
//! by `merkql::verify`. There are two exceptions. What is *undecidable*
//! ([`super::tails`]) may be gone; and where a checksum was *forged*, what it covers
//! can be made up: a slot or a block any state, a frame its own records. Such a record
//! is served by a read like any other. It is caught by proofs, which are about the
//! tree that the slots know, and by `verify`, which hashes the records.

use super::mutate::Forged;
use super::observe::{Answer, Seen, Sight};
use super::tails::Tails;
use super::template::Template;
use super::truth::{PartitionTruth, Place};

/// What a case is judged by, beside the truth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Excuses<'a> {
    pub(crate) tails: &'a Tails,
    pub(crate) forged: &'a [Forged],
}

impl Excuses<'_> {
    /// Whether an index or a frame of a partition was forged that stands in the way to
    /// what follows it.
    pub(crate) fn forges_way_in(&self, truth: Option<&PartitionTruth>, number: u32) -> bool {
        let incarnation = truth.map(|truth| truth.incarnation);
        self.forged.iter().any(|forged| match forged {
            Forged::Frame { key, .. } => Some(key.0) == incarnation && key.1 == number,
            Forged::Index => true,
            Forged::State => false,
        })
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// What must never be, told or not.
    pub(crate) wrong: Vec<String>,
    /// What is missing and was told by nothing that was called.
    pub(crate) silent: Vec<String>,
    /// Errors in the place of what was asked for.
    pub(crate) told: u64,
    /// Differences that no log can know of.
    pub(crate) undecidable: u64,
    /// Differences under a forged checksum.
    pub(crate) forged: u64,
    /// Records that were served and never written: a forger's.
    pub(crate) made_up: u64,
}

/// What is excused in one partition.
struct Court<'a> {
    place: &'a Place,
    truth: &'a PartitionTruth,
    excuses: Excuses<'a>,
    tail: Option<u64>,
    is_state_forged: bool,
    out: &'a mut Judged,
}

/// Judges everything that was served.
pub(crate) fn judge(template: &Template, excuses: Excuses<'_>, sight: &Sight) -> Judged {
    let mut out = Judged { told: sight.errors.len() as u64, ..Judged::default() };
    let is_state_forged = excuses.forged.contains(&Forged::State);
    let truth = &template.truth;
    for (place, truth) in &truth.partitions {
        let tail = excuses.tails.starts.get(&(truth.incarnation, place.1)).copied();
        let mut court = Court { place, truth, excuses, tail, is_state_forged, out: &mut out };
        match sight.partitions.get(place) {
            Some(seen) => court.try_partition(seen),
            None => court.try_absent(),
        }
    }
    let strangers = sight.partitions.keys().filter(|place| !truth.partitions.contains_key(*place));
    for (topic, number) in strangers {
        let what = format!("{topic}/{number} was never made");
        out.unless(excuses.tails.is_state_open, is_state_forged, what);
    }
    for (key, offset) in &truth.commits {
        let seen = sight.commits.get(key);
        if seen != Some(offset) {
            let what = format!("{key:?} had committed {offset}, now {seen:?}");
            if excuses.tails.is_state_open {
                out.undecidable += 1;
            } else if is_state_forged {
                out.forged += 1;
            } else {
                out.silent.push(what);
            }
        }
    }
    for (key, offset) in &sight.commits {
        if !truth.commits.contains_key(key) {
            let what = format!("{key:?} has committed {offset}, which it never did");
            out.unless(excuses.tails.is_state_open, is_state_forged, what);
        }
    }
    out
}

impl Judged {
    /// Something is wrong, unless one of these excuses it.
    fn unless(&mut self, is_undecidable: bool, is_forged: bool, what: String) {
        if is_undecidable {
            self.undecidable += 1;
        } else if is_forged {
            self.forged += 1;
        } else {
            self.wrong.push(what);
        }
    }
}

impl Court<'_> {
    fn name(&self, offset: u64) -> String {
        format!("{}/{}/{offset}", self.place.0, self.place.1)
    }

    fn is_undecidable(&self, offset: u64) -> bool {
        self.tail.is_some_and(|tail| offset >= tail)
    }

    /// Whether a forged frame may hold something else at an offset.
    fn is_forged_at(&self, offset: u64) -> bool {
        self.forged_frames()
            .any(|(held, claims)| held.contains(&offset) || claims.contains(&offset))
    }

    /// Whether a forged frame may hide a record: one that claims more than it has.
    fn is_hidden(&self, offset: u64) -> bool {
        self.forged_frames().any(|(held, claims)| offset >= held.start.min(claims.start))
    }

    fn forged_frames(
        &self,
    ) -> impl Iterator<Item = (&std::ops::Range<u64>, &std::ops::Range<u64>)> {
        let mine = (self.truth.incarnation, self.place.1);
        self.excuses.forged.iter().filter_map(move |forged| match forged {
            Forged::Frame { key, held, claims } if *key == mine => Some((held, claims)),
            _ => None,
        })
    }

    /// Something is gone, and no read has told it.
    fn miss(&mut self, offset: u64, what: &str) {
        if self.is_undecidable(offset) {
            self.out.undecidable += 1;
        } else if self.is_state_forged || self.is_hidden(offset) {
            self.out.forged += 1;
        } else {
            let name = self.name(offset);
            self.out.silent.push(format!("{name}: {what}"));
        }
    }

    fn try_absent(&mut self) {
        if self.excuses.tails.is_state_open && self.truth.records.is_empty() {
            self.out.undecidable += 1;
        } else {
            self.miss(0, "the partition is gone");
        }
    }

    fn try_partition(&mut self, seen: &Seen) {
        let (next, true_next) = (seen.next_offset, self.truth.next_offset());
        if next > true_next {
            let what = format!("{} ends at {next}, and never came past {true_next}", self.name(0));
            self.out.unless(false, self.is_state_forged, what);
        }
        if next < true_next {
            self.miss(next, "this and what follows is gone");
        }
        if seen.log_start > self.truth.log_start {
            self.miss(self.truth.log_start, &format!("the log starts at {}", seen.log_start));
        } else if seen.log_start < self.truth.log_start {
            let what = format!("{}: the log's start went back", self.name(seen.log_start));
            let is_open = self.excuses.tails.is_state_open;
            self.out.unless(is_open, self.is_state_forged, what);
        }
        for offset in
            self.truth.readable.range(seen.log_start..next.min(true_next).max(seen.log_start))
        {
            if matches!(seen.records.get(offset), None | Some(Answer::Nothing)) {
                self.miss(*offset, "the record is gone");
            }
        }
        for (offset, answer) in seen.records.iter().chain(&seen.polled) {
            self.try_answer(*offset, answer);
        }
        self.compare_ways(seen);
        self.try_tree(seen);
    }

    fn try_answer(&mut self, offset: u64, answer: &Answer) {
        match answer {
            Answer::Record(record) if self.truth.record(offset) == Some(&**record) => {}
            Answer::Record(record) => {
                let what =
                    format!("{}: served {record:?}, which was not written", self.name(offset));
                self.out.made_up += u64::from(self.is_forged_at(offset));
                self.out.unless(false, self.is_forged_at(offset), what);
            }
            Answer::Failed(_) => self.out.told += 1,
            Answer::Nothing => {}
        }
    }

    /// What is served one by one must be served by polling, too. Not so the other way
    /// round: a read by offset begins where the index says, and whole frames that were
    /// moved away from there are found by those alone who come from the front.
    fn compare_ways(&mut self, seen: &Seen) {
        let polled_all = seen.poll_gave_up.is_none();
        for (offset, answer) in &seen.records {
            let polled = seen.polled.get(offset);
            let agrees = match (answer, polled) {
                (Answer::Record(_), None) => !polled_all,
                (answer @ Answer::Record(_), Some(polled)) => answer == polled,
                (Answer::Nothing, Some(Answer::Record(_))) => false,
                (Answer::Failed(_) | Answer::Nothing, _) => true,
            };
            if !agrees && !self.is_hidden(*offset) {
                let name = self.name(*offset);
                self.out.wrong.push(format!("{name}: read as {answer:?}, polled as {polled:?}"));
            }
        }
        self.out.told += u64::from(!polled_all);
    }

    fn try_tree(&mut self, seen: &Seen) {
        let size = seen.next_offset;
        let present = seen.root.map(|root| (size, Ok(root)));
        let past = seen.roots.iter().map(|(size, root)| (*size, root.clone()));
        for (size, root) in past.chain(present) {
            match (root, self.truth.root(size)) {
                (Ok(root), Some(truth)) if root == truth => {}
                (Ok(root), _) => {
                    let what = format!("{}: the root at {size} is {root}", self.name(0));
                    self.out.unless(false, self.is_state_forged, what);
                }
                (Err(_), _) => self.out.told += 1,
            }
        }
        for (offset, proof) in &seen.proofs {
            match proof {
                Ok(true) => {}
                Ok(false) => {
                    let what = format!("{}: the proof proves something else", self.name(*offset));
                    self.out.unless(false, self.is_state_forged, what);
                }
                Err(_) => self.out.told += 1,
            }
        }
    }
}

/// What has changed between two openings for which nobody has asked. A forged index may
/// lead elsewhere once it has grown, and reads say so.
pub(crate) fn compare(before: &Sight, after: &Sight, forged: &[Forged]) -> Vec<String> {
    let is_misled = |answer: Option<&Answer>| {
        forged.contains(&Forged::Index) && matches!(answer, Some(Answer::Failed(_)))
    };
    let mut wrong = Vec::new();
    for ((topic, number), seen) in &before.partitions {
        let name = format!("{topic}/{number}");
        let Some(now) = after.partitions.get(&(topic.clone(), *number)) else {
            wrong.push(format!("{name} is gone after reopening"));
            continue;
        };
        if now.next_offset < seen.next_offset {
            wrong.push(format!("{name} ends at {} after reopening", now.next_offset));
        }
        let served = seen.records.range(now.log_start..);
        for (offset, answer) in served.filter(|(_, answer)| matches!(answer, Answer::Record(_))) {
            let answer_now = now.records.get(offset);
            if answer_now != Some(answer) && !is_misled(answer_now) {
                let now = answer_now;
                wrong.push(format!("{name}/{offset} was {answer:?}, after reopening {now:?}"));
            }
        }
        // The root at the end needs no stored hashes until something is appended.
        let had_damage = seen.proofs.values().any(Result::is_err)
            || seen.records.values().any(|answer| matches!(answer, Answer::Failed(_)));
        for (size, root) in seen.roots.iter().filter(|(_, root)| root.is_ok()) {
            let root_now = now.roots.get(size);
            let is_told = had_damage && matches!(root_now, Some(Err(_)));
            if root_now != Some(root) && !is_told {
                wrong.push(format!("{name}: the root at {size} is {root_now:?} after reopening"));
            }
        }
    }
    if before.commits != after.commits && !forged.contains(&Forged::State) {
        let (before, after) = (&before.commits, &after.commits);
        wrong.push(format!("committed offsets were {before:?}, after reopening {after:?}"));
    }
    wrong
}
