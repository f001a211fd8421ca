//! Scenarios from seeds.
//!
//! Each seed draws its own subset and weights of operations, faults, profile and
//! sizes ("swarm testing", Groce et al., ISSTA 2012): a rare thing is common in
//! some seeds, and what would hide it is absent in some. Every concern has a
//! random stream of its own, so that one fault less does not move the others.

mod episodes;
mod faults;
mod steps;
mod topics;

use crate::profile::Profile;
use crate::random::{Stream, stream};
use crate::scenario::{Scenario, Settings};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// What the clients of a seed mostly do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Everything, in shares that each seed draws.
    #[default]
    Mixed,
    /// Consume, transform, produce: half of the steps take records over to another
    /// topic in transactions. The disk does what it may (class R), under the
    /// profiles that keep its promises.
    ExactlyOnce,
}

impl Workload {
    /// Its name, as options have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

/// From what a seed may draw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// About how many operations the clients do.
    pub ops: u32,
    /// The profile; each seed draws one if it is not said.
    pub profile: Option<Profile>,
    /// Whether the disk does what it must not, and the log has to notice; each
    /// seed decides if it is not said. A hostile one always does.
    pub damage: Option<bool>,
    /// What clients mostly do.
    #[serde(default)]
    pub workload: Workload,
}

impl Default for Options {
    fn default() -> Self {
        Self { ops: 100, profile: None, damage: None, workload: Workload::Mixed }
    }
}

/// What a seed has decided before it draws anything in particular.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) ops: u32,
    pub(crate) profile: Profile,
    /// Faults that a disk must not have, and that the log has to notice.
    pub(crate) has_class_d: bool,
    pub(crate) workload: Workload,
    /// The next free number.
    next_id: u32,
}

impl Plan {
    pub(crate) fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn stream(&self, concern: &str) -> Stream {
        stream(self.seed, concern)
    }
}

/// The scenario of a seed.
pub fn scenario(seed: u64, options: &Options) -> Scenario {
    let mut random = stream(seed, "plan");
    let workload = options.workload;
    let honest = workload == Workload::ExactlyOnce;
    let profiles = if honest { &Profile::HONEST[..] } else { &Profile::ALL[..] };
    let drawn = profiles[random.random_range(0..profiles.len())];
    let profile = options.profile.unwrap_or(drawn);
    let is_damaged = random.random_bool(0.3) && !honest;
    let has_class_d = profile == Profile::Hostile || options.damage.unwrap_or(is_damaged);
    let mut plan = Plan { seed, ops: options.ops, profile, has_class_d, workload, next_id: 0 };
    let settings = settings(&plan);
    let mut steps = steps::draw(&mut plan);
    let strikes = faults::draw(&mut plan, &mut steps);
    let about = format!("Seed {seed}, {profile} profile.");
    Scenario { about, settings, steps, strikes, ..Scenario::default() }
}

fn settings(plan: &Plan) -> Settings {
    let mut random = plan.stream("settings");
    // What was taken over is counted in the end, so all of it is kept.
    let counts_in_the_end = plan.workload == Workload::ExactlyOnce;
    let mut pick = |choices: &[u64]| choices[random.random_range(0..choices.len())];
    let journal_initial_bytes = pick(&[8192, 8192, 16384]);
    Settings {
        segment_bytes: pick(&[512, 2048, 2048, 8192, 65536]),
        index_interval_bytes: pick(&[32, 64, 64, 1024]),
        journal_initial_bytes,
        journal_max_bytes: journal_initial_bytes * pick(&[1, 2, 4]),
        max_open_files: usize::try_from(pick(&[4, 8, 64, 64])).unwrap_or(8),
        max_poll_bytes: pick(&[200, 1 << 20, 1 << 20, 1 << 20]),
        reader_every: pick(&[0, 3, 7, 30]),
        retention_records: pick(&[0, 0, 0, 5, 20]) * u64::from(!counts_in_the_end),
        // What was lost of the journal can be told only where values stand as they are.
        lz4: pick(&[0, 1]) == 1 && !plan.has_class_d,
        entropy_seed: plan.seed,
        profile: plan.profile,
    }
}
