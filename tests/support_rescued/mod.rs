//! What the tests of repairs share in which the journal is damaged: sizes, and a repair that is
//! looked at from all sides.

use super::support::changes_nothing;
use super::support_crash::small_config;
use merkql::broker::{Broker, BrokerConfig};
use merkql::repair::{Mended, RepairOptions, Report};
use merkql::{Error, repair, verify};
use std::path::Path;

/// Sizes with which a journal that is small stays in one file.
pub(crate) fn config(dir: &Path) -> BrokerConfig {
    BrokerConfig {
        journal_initial_bytes: 256 << 10,
        journal_max_bytes: 256 << 10,
        ..small_config(dir)
    }
}

const APPLY: RepairOptions = RepairOptions { apply: true };

/// Repairs the log, whose dry run and second repair are as they should be.
pub(crate) fn repaired(dir: &Path) -> Report {
    assert!(matches!(Broker::open(config(dir)), Err(Error::Corrupt(_))));
    let told = changes_nothing(dir, || repair(&config(dir), &RepairOptions::default()).unwrap());
    let done = repair(&config(dir), &APPLY).unwrap();
    assert_eq!(
        (&done.lost, &done.given_up, &done.mended),
        (&told.lost, &told.given_up, &told.mended)
    );
    assert!(done.mended.contains(&Mended::Journal), "{done}");
    let kept = done.kept.as_ref().unwrap();
    assert!(kept.join("manifest.a").is_file() && kept.join("manifest.b").is_file());
    assert_eq!(verify(&config(dir)).unwrap().findings, [], "{done}");
    assert!(repair(&config(dir), &APPLY).unwrap().nothing_to_do());
    done
}
