//! A journal that somebody made up, with checksums that hold: a block that does not fit what
//! stands before it is told as damage, before anything is changed.

#![allow(clippy::disallowed_methods, reason = "the tests forge files behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerRef};
use merkql::verify::FindingKind;
use merkql::{Error, verify};
use std::path::Path;
use support::forge::{forge_block, seal_frame};
use support::watched::Watched;
use support::*;
use support_crash::{copy_dir, memory_dir};

/// The kind of the entry that gives a topic partitions.
const KIND_GROW: u8 = 6;
/// From a frame's begin to the value of a record without a key.
const BEFORE_VALUE: usize = 27;

/// A log as a killed process leaves it, whose journal holds what `work` did.
fn killed_log(work: impl FnOnce(&BrokerRef)) -> tempfile::TempDir {
    let dir = memory_dir();
    let broker = Watched::swift().open(dir.path());
    broker.create_topic("t", 1).unwrap();
    work(&broker);
    let image = memory_dir();
    copy_dir(dir.path(), image.path());
    image
}

/// Opening refuses the log, verifying finds what is wrong, and neither changes a byte.
fn assert_refused(dir: &Path, reason: &str) {
    let config = Watched::swift().config(dir);
    let refused = changes_nothing(dir, || Broker::open(config.clone()).map(drop).unwrap_err());
    assert!(matches!(refused, Error::Corrupt(_)), "{refused}");
    assert!(refused.to_string().contains(reason), "{refused}");
    let findings = changes_nothing(dir, || verify(&config)).unwrap().findings;
    let told = findings
        .iter()
        .any(|finding| finding.kind == FindingKind::Journal && finding.reason.contains(reason));
    assert!(told, "{findings:#?}");
}

#[test]
fn a_block_that_gives_a_topic_no_more_partitions_than_it_has_is_refused() {
    for partitions in [1, 2, 3] {
        let image = killed_log(|broker| {
            broker.add_partitions("t", 3).unwrap();
            broker.add_partitions("t", 4).unwrap();
        });
        let is_last = |body: &[u8]| body == [KIND_GROW, 1, 4];
        forge_block(image.path(), is_last, |body| body[2] = partitions);
        assert_refused(image.path(), "partitions that do not follow their topic");
    }
}

#[test]
fn a_block_whose_records_do_not_follow_each_other_is_refused() {
    let values = ["first ", "second", "third "];
    for (number, offset) in [(0, 7), (0, 1), (1, 0), (2, 1)] {
        let image = killed_log(|broker| {
            let batch: Vec<_> = values.iter().map(|value| keyless("t", *value)).collect();
            Broker::producer(broker).send_batch(&batch).unwrap();
        });
        let find = |body: &[u8], value: &str| {
            body.windows(value.len()).position(|window| window == value.as_bytes())
        };
        let holds = |body: &[u8]| find(body, values[0]).is_some();
        forge_block(image.path(), holds, |body| {
            let at = find(body, values[number]).unwrap();
            let frame = &mut body[at - BEFORE_VALUE..at + values[number].len()];
            frame[8..16].copy_from_slice(&u64::to_le_bytes(offset));
            seal_frame(image.path(), frame);
        });
        assert_refused(image.path(), "records that do not follow their partition");
    }
}
