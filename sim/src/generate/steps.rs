//! What the clients of a seed do.

use super::topics::TOPICS;
use super::{Plan, Workload};
use crate::random::Stream;
use crate::scenario::{Action, Restart, Step, Stop};
use rand::RngExt;

const GROUPS: [&str; 2] = ["billing", "search"];

/// What a seed's clients do, with its likelihood there.
struct Mix {
    weights: Vec<(u32, Kind)>,
    total: u32,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Send,
    SendLater,
    SendAs,
    Retry,
    Poll,
    PollWaiting,
    Commit,
    SeekBack,
    Subscribe,
    Leave,
    Transfer,
    Audit,
    Maintain,
    CreateTopic,
    ChangeTopics,
    Restart,
    Sleep,
}

/// What stands beside each kind: its weight in an average seed, and whether some
/// seeds go without it.
const KINDS: &[(Kind, u32, bool)] = &[
    (Kind::Send, 16, false),
    (Kind::SendLater, 16, true),
    (Kind::SendAs, 10, true),
    (Kind::Retry, 3, true),
    (Kind::Poll, 14, false),
    (Kind::PollWaiting, 1, true),
    (Kind::Commit, 8, true),
    (Kind::SeekBack, 2, true),
    (Kind::Subscribe, 3, true),
    (Kind::Leave, 2, true),
    (Kind::Transfer, 6, true),
    (Kind::Audit, 5, true),
    (Kind::Maintain, 3, true),
    (Kind::CreateTopic, 4, false),
    (Kind::ChangeTopics, 3, true),
    (Kind::Restart, 2, true),
    (Kind::Sleep, 1, true),
];

/// The shares where records are taken over exactly once.
const EXACTLY_ONCE: &[(Kind, u32, bool)] = &[
    (Kind::Transfer, 50, false),
    (Kind::Send, 20, false),
    (Kind::SendLater, 8, true),
    (Kind::SendAs, 8, true),
    (Kind::Maintain, 3, true),
    (Kind::Restart, 4, true),
    (Kind::Sleep, 4, true),
    (Kind::Audit, 2, true),
];

impl Mix {
    fn draw(random: &mut Stream, workload: Workload) -> Self {
        let kinds = match workload {
            Workload::Mixed => KINDS,
            Workload::ExactlyOnce => EXACTLY_ONCE,
        };
        let weight = |(kind, weight, can_lack): &(Kind, u32, bool)| {
            let factor = match random.random_range(0..5) {
                0 if *can_lack => 0,
                0 | 1 => 2,
                2 | 3 => 4,
                _ => 10,
            };
            (weight * factor, *kind)
        };
        let weights: Vec<_> = kinds.iter().map(weight).collect();
        let total = weights.iter().map(|(weight, _)| weight).sum();
        Self { weights, total }
    }

    fn pick(&self, random: &mut Stream) -> Kind {
        let mut at = random.random_range(0..self.total.max(1));
        for (weight, kind) in &self.weights {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *kind,
            }
        }
        Kind::Send
    }
}

pub(super) struct Maker<'p> {
    pub(super) plan: &'p mut Plan,
    pub(super) random: Stream,
    steps: Vec<Step>,
    /// Which of the topics there are.
    pub(super) topics: Vec<usize>,
    /// Sends that nobody has waited for yet, with the steps left until somebody does.
    waits: Vec<(u32, String, u32)>,
}

impl Maker<'_> {
    pub(super) fn push(&mut self, by: &str, does: Action) -> u32 {
        let id = self.plan.id();
        self.steps.push(Step { id, by: by.to_owned(), does });
        id
    }

    fn client(&mut self, kind: &str, count: u32) -> String {
        format!("{kind}-{}", self.random.random_range(1..=count))
    }

    fn subscribe(&mut self) {
        let by = self.client("consumer", 4);
        let group = GROUPS[self.random.random_range(0..GROUPS.len())].to_owned();
        let count = self.random.random_range(1..=TOPICS.len());
        let topics = TOPICS.iter().take(count).map(|topic| topic.name.to_owned()).collect();
        self.push(&by, Action::Subscribe { group, topics });
    }

    /// Whether what was taken over can be counted in the end.
    fn keeps_all(&self) -> bool {
        self.plan.workload == Workload::ExactlyOnce
    }

    /// Somebody takes orders over to another topic, or thinks better of it.
    fn transfer(&mut self) {
        let by = self.client("transfer", 2);
        let [from, to, ..] = &TOPICS;
        let (from, to) = (vec![from.name.to_owned()], to.name.to_owned());
        let group = "ledger".to_owned();
        let abort = self.random.random_bool(0.1);
        self.push(&by, Action::Transfer { group, from, to, abort });
    }

    /// Waits for what was handed over some steps ago.
    fn due_waits(&mut self) {
        let mut due = Vec::new();
        self.waits.retain_mut(|(id, by, left)| {
            *left = left.saturating_sub(1);
            if *left == 0 {
                due.push((*id, by.clone()));
            }
            *left > 0
        });
        for (on, by) in due {
            self.push(&by, Action::Wait { on });
        }
    }

    fn make(&mut self, kind: Kind) {
        match kind {
            Kind::Send => {
                let (by, records) = (self.client("producer", 3), self.records(false));
                self.push(&by, Action::Send { records, producer: None, later: false });
            }
            Kind::SendLater => {
                let (by, records) = (self.client("producer", 3), self.records(false));
                let id = self.push(&by, Action::Send { records, producer: None, later: true });
                let left = self.random.random_range(1..8);
                self.waits.push((id, by, left));
            }
            Kind::SendAs => {
                let producer = self.random.random_range(1..3);
                let records = self.records(true);
                let by = format!("idempotent-{producer}");
                let producer = Some(producer);
                self.push(&by, Action::Send { records, producer, later: false });
            }
            Kind::Retry => {
                let producer = self.random.random_range(1..3);
                self.push(&format!("idempotent-{producer}"), Action::Retry { producer });
            }
            Kind::CreateTopic => self.create_topic(),
            Kind::ChangeTopics => self.change_topics(),
            Kind::Subscribe => self.subscribe(),
            Kind::Audit => drop(self.push("auditor", Action::Audit)),
            Kind::Maintain => drop(self.push("admin", Action::Maintain)),
            Kind::Restart => {
                let retention = [None, None, Some(0), Some(6), Some(15)];
                let drawn = retention[self.random.random_range(0..retention.len())];
                let retention_records = drawn.filter(|_| !self.keeps_all());
                let restart = Restart { how: Stop::Close, harm: Vec::new(), retention_records };
                self.push("nemesis", Action::Restart(restart));
            }
            Kind::Sleep => {
                let ms = [10, 1000, 400_000][self.random.random_range(0..3)];
                self.push("nemesis", Action::Sleep { ms });
            }
            Kind::Transfer => self.transfer(),
            Kind::Poll | Kind::PollWaiting | Kind::Commit | Kind::SeekBack | Kind::Leave => {
                let by = self.client("consumer", 4);
                let does = match kind {
                    Kind::Poll => Action::Poll,
                    Kind::PollWaiting => Action::PollWaiting { timeout_ms: 20 },
                    Kind::Commit => Action::Commit,
                    Kind::SeekBack => Action::SeekBack { records: self.random.random_range(1..4) },
                    _ => Action::Leave,
                };
                self.push(&by, does);
            }
        }
    }
}

pub(super) fn draw(plan: &mut Plan) -> Vec<Step> {
    let random = plan.stream("steps");
    let ops = plan.ops;
    let mut maker =
        Maker { plan, random, steps: Vec::new(), topics: Vec::new(), waits: Vec::new() };
    let mix = Mix::draw(&mut maker.random, maker.plan.workload);
    maker.create_topic();
    if maker.plan.workload == Workload::ExactlyOnce {
        maker.create_topic_at(1);
    }
    for _ in 0..2 {
        maker.subscribe();
    }
    while maker.steps.len() < usize::try_from(ops).unwrap_or(usize::MAX) {
        maker.due_waits();
        let kind = mix.pick(&mut maker.random);
        maker.make(kind);
    }
    for (on, by, _) in std::mem::take(&mut maker.waits) {
        maker.push(&by, Action::Wait { on });
    }
    maker.steps
}
