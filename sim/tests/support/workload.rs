//! What the client does, drawn from a seed.

use merkql::record::ProducerRecord;
use merkql_sim::random::{Stream, garbage, stream};
use rand::RngExt;

/// One thing that the client does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Create {
        name: String,
        partitions: u32,
    },
    /// A batch, in one call.
    Send(Vec<ProducerRecord>),
    /// Several sends that are handed over first, and then waited for.
    Together(Vec<Vec<ProducerRecord>>),
    /// A batch under the next sequence of an id.
    Idempotent {
        id: u64,
        records: Vec<ProducerRecord>,
    },
    /// The last idempotent batch of an id, once more.
    Repeat {
        id: u64,
    },
    /// The group reads a little, and commits.
    Consume {
        group: &'static str,
    },
    /// The auditor takes the roots and a proof of every partition.
    Audit,
    Maintain,
    /// Closes, and opens with this retention for topics to come.
    Reopen {
        retention: Option<u64>,
    },
    /// Drops the broker, and opens.
    DropAndOpen,
}

/// Which topics there are at a time, with their partitions.
const TOPICS: [(&str, u32); 3] = [("orders", 2), ("audit", 1), ("recent", 2)];
/// How many records of a partition of `recent` are kept.
pub(crate) const RECENT_RECORDS: u64 = 12;

struct Maker {
    random: Stream,
    unit: u32,
    topics: usize,
}

impl Maker {
    fn records(&mut self, count: usize, topic: Option<&str>) -> Vec<ProducerRecord> {
        self.unit += 1;
        let mut records = Vec::new();
        for index in 0..count {
            let (drawn, _) = TOPICS[self.random.random_range(0..self.topics)];
            let topic = topic.unwrap_or(drawn);
            let key = self.random.random_bool(0.5);
            let key = key.then(|| format!("key-{}", self.random.random_range(0..5)));
            let padding = match self.random.random_range(0..20) {
                0 => 1500,
                1 => 2600,
                2..6 => 200,
                _ => self.random.random_range(0..60),
            };
            let value = format!("{}.{index}:{}", self.unit, text(u64::from(self.unit), padding));
            records.push(ProducerRecord::new(topic, key, value));
        }
        records
    }

    fn batch(&mut self) -> Vec<ProducerRecord> {
        let count = self.random.random_range(1..6);
        self.records(count, None)
    }

    fn step(&mut self) -> Step {
        match self.random.random_range(0..100) {
            0..30 => Step::Send(self.batch()),
            30..42 => {
                let count = self.random.random_range(2..4);
                Step::Together((0..count).map(|_| self.batch()).collect())
            }
            42..58 => {
                let id = self.random.random_range(1..3);
                Step::Idempotent { id, records: self.batch() }
            }
            58..62 => Step::Repeat { id: self.random.random_range(1..3) },
            62..78 => {
                let group = ["billing", "search"][self.random.random_range(0..2)];
                Step::Consume { group }
            }
            78..88 => Step::Audit,
            88..92 => Step::Maintain,
            92..95 => Step::Reopen { retention: None },
            95..97 => Step::DropAndOpen,
            // A block larger than any journal file.
            _ => {
                self.unit += 1;
                let unit = self.unit;
                let value = |index| format!("{unit}.{index}:{}", text(index, 3900));
                let record = |index| ProducerRecord::new("audit", None, value(index));
                Step::Send((0..5).map(record).collect())
            }
        }
    }
}

/// Text that no compression makes shorter.
fn text(seed: u64, len: usize) -> String {
    garbage(seed, len).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// The workload of a seed: every kind of step at least once, `len` drawn ones.
pub(crate) fn workload(seed: u64, len: u64) -> Vec<Step> {
    let mut maker = Maker { random: stream(seed, "workload"), unit: 0, topics: 1 };
    let (orders, audit, recent) = (TOPICS[0], TOPICS[1], TOPICS[2]);
    let mut steps = vec![Step::Create { name: orders.0.to_owned(), partitions: orders.1 }];
    steps.push(Step::Send(maker.batch()));
    steps.push(Step::Create { name: audit.0.to_owned(), partitions: audit.1 });
    maker.topics = 2;
    steps.push(Step::Idempotent { id: 1, records: maker.batch() });
    steps.push(Step::Consume { group: "billing" });
    steps.push(Step::Audit);
    steps.push(Step::Reopen { retention: Some(RECENT_RECORDS) });
    steps.push(Step::Create { name: recent.0.to_owned(), partitions: recent.1 });
    maker.topics = 3;
    for _ in 0..3 {
        steps.push(Step::Send(maker.records(5, Some(recent.0))));
    }
    steps.extend((0..len).map(|_| maker.step()));
    // Enough for the journal to go round, whatever was drawn.
    for _ in 0..3 {
        steps.push(Step::Send(maker.records(5, Some(recent.0))));
        steps.push(Step::Together(vec![maker.batch(), maker.batch()]));
    }
    steps.push(Step::Consume { group: "billing" });
    steps.push(Step::Audit);
    steps.push(Step::Repeat { id: 1 });
    steps.push(Step::Maintain);
    steps.push(Step::Send(maker.batch()));
    steps.push(Step::Reopen { retention: None });
    steps.push(Step::Send(maker.batch()));
    steps
}
