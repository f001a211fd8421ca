//! The directories that are changed: every kind of file, and every way to end.

use super::template::{Maker, Template};
use crate::disk::{CrashArm, CrashPhase, Survivors};
use crate::fault::OpKind;
use merkql::broker::{Broker, BrokerRef};
use merkql::compression::Compression;
use merkql::error::Result;
use merkql::record::{BytesProducerRecord, BytesRecord, Header};
use merkql::topic::{Compaction, TopicConfig};

/// Carries out what makes a directory; leaves nobody who has it open.
type Recipe = fn(&mut Maker) -> Result<()>;

const RECIPES: [(&str, Compression, Recipe); 15] = [
    ("plain", Compression::None, plain),
    ("lz4", Compression::Lz4, lz4),
    ("many", Compression::None, many),
    ("sealed", Compression::None, sealed),
    ("compacted", Compression::None, compacted),
    ("compacted lz4", Compression::Lz4, compacted),
    ("retained", Compression::None, retained),
    ("emptied", Compression::None, emptied),
    ("deleted", Compression::None, deleted),
    ("producers", Compression::None, producers),
    ("killed", Compression::None, killed),
    ("killed lz4", Compression::Lz4, killed),
    ("torn", Compression::None, torn),
    ("power cut", Compression::None, power_cut),
    ("half a checkpoint", Compression::None, half_a_checkpoint),
];

/// Makes them all. Fails with a message if one does not serve what was sent to it.
pub(crate) fn templates() -> std::result::Result<Vec<Template>, String> {
    let made = RECIPES.into_iter().map(|(name, compression, recipe)| {
        let mut maker = Maker::new(compression);
        recipe(&mut maker).map_err(|error| format!("{name}: {error}"))?;
        maker.finish(name)
    });
    made.collect()
}

/// A record that is told from every other by its number.
fn record(topic: &str, partition: u32, number: u64) -> BytesProducerRecord {
    let filling = "abcdefgh".repeat(usize::try_from(3 + number % 9).unwrap_or_default());
    let value = format!("value {number} of {topic} {filling}");
    let record = match number % 7 {
        0 => BytesProducerRecord::without_key(topic, value),
        1 => BytesProducerRecord::new(topic, format!("key {number}"), Vec::new()),
        2 => BytesProducerRecord::new(topic, [0xff, 0, 0x80], value)
            .with_header(Header::new("trace", number.to_le_bytes()))
            .with_header(Header { name: "trace".to_owned(), value: None }),
        _ => BytesProducerRecord::new(topic, format!("key {}", number % 5), value),
    };
    record.with_partition(partition)
}

/// Sends records in batches of `batch`.
fn fill(
    maker: &mut Maker,
    broker: &BrokerRef,
    places: &[(&str, u32)],
    numbers: std::ops::Range<u64>,
    batch: usize,
) -> Result<()> {
    let numbers: Vec<u64> = numbers.collect();
    for numbers in numbers.chunks(batch) {
        let records: Vec<_> = numbers
            .iter()
            .flat_map(|number| places.iter().map(|(topic, at)| record(topic, *at, *number)))
            .collect();
        maker.send(broker, &records)?;
    }
    Ok(())
}

fn plain(maker: &mut Maker) -> Result<()> {
    let broker = maker.open()?;
    fill(maker, &broker, &[("plain", 0)], 0..12, 1)?;
    maker.commit(&broker, "readers", ("plain", 0), 7)?;
    Broker::close(&broker)
}

fn lz4(maker: &mut Maker) -> Result<()> {
    let broker = maker.open()?;
    broker.create_topic("packed", 2)?;
    maker.create("packed", 2);
    fill(maker, &broker, &[("packed", 0), ("packed", 1)], 0..48, 8)?;
    maker.commit(&broker, "readers", ("packed", 1), 20)?;
    Broker::close(&broker)
}

fn many(maker: &mut Maker) -> Result<()> {
    let broker = maker.open()?;
    for (topic, partitions) in [("a", 1), ("b.b", 3), ("empty", 2)] {
        broker.create_topic(topic, partitions)?;
        maker.create(topic, partitions);
    }
    fill(maker, &broker, &[("a", 0), ("b.b", 0), ("b.b", 2)], 0..14, 2)?;
    for (group, place, offset) in [
        ("one", ("a", 0), 3),
        ("one", ("b.b", 2), 9),
        ("two", ("b.b", 0), 14),
        ("two", ("a", 0), 1),
    ] {
        maker.commit(&broker, group, place, offset)?;
    }
    Broker::close(&broker)
}

fn sealed(maker: &mut Maker) -> Result<()> {
    let broker = maker.open()?;
    fill(maker, &broker, &[("sealed", 0)], 0..60, 4)?;
    Broker::close(&broker)
}

fn compacted(maker: &mut Maker) -> Result<()> {
    maker.removes = true;
    let broker = maker.open()?;
    let config = TopicConfig { compaction: Some(Compaction::default()), ..TopicConfig::default() };
    broker.create_topic_with("latest", &config)?;
    maker.create("latest", 1);
    for round in 0..12_u64 {
        let records: Vec<_> = (0..5_u64)
            .map(|key| {
                if (round + key) % 6 == 5 {
                    return BytesProducerRecord::tombstone("latest", format!("key {key}"));
                }
                let value = format!("value {round} of {key}, {}", "xyz".repeat(20));
                BytesProducerRecord::new("latest", format!("key {key}"), value)
            })
            .collect();
        maker.send(&broker, &records)?;
        if round == 8 {
            broker.maintain()?;
        }
    }
    Broker::close(&broker)
}

fn retained(maker: &mut Maker) -> Result<()> {
    maker.removes = true;
    let broker = maker.open()?;
    let config = TopicConfig { retention_records: Some(20), ..TopicConfig::default() };
    broker.create_topic_with("short", &config)?;
    maker.create("short", 1);
    fill(maker, &broker, &[("short", 0), ("cut", 0)], 0..50, 5)?;
    broker.delete_records("cut", 0, 33)?;
    fill(maker, &broker, &[("cut", 0)], 50..56, 2)?;
    Broker::close(&broker)
}

/// Of one partition nothing is left but its tree.
fn emptied(maker: &mut Maker) -> Result<()> {
    maker.removes = true;
    let broker = maker.open()?;
    fill(maker, &broker, &[("emptied", 0), ("stays", 0)], 0..16, 4)?;
    broker.delete_records("emptied", 0, 16)?;
    Broker::close(&broker)
}

fn deleted(maker: &mut Maker) -> Result<()> {
    let broker = maker.open()?;
    fill(maker, &broker, &[("again", 0), ("stays", 0)], 0..12, 3)?;
    maker.commit(&broker, "readers", ("again", 0), 5)?;
    maker.commit(&broker, "readers", ("stays", 0), 6)?;
    maker.delete(&broker, "again")?;
    fill(maker, &broker, &[("again", 0)], 100..108, 4)?;
    fill(maker, &broker, &[("gone", 0)], 0..4, 2)?;
    maker.delete(&broker, "gone")?;
    maker.disk.kill();
    drop(broker);
    Ok(())
}

fn producers(maker: &mut Maker) -> Result<()> {
    let broker = maker.open()?;
    let numbered = Broker::idempotent_producer(&broker, 7);
    for sequence in 0..10 {
        let records = [record("counted", 0, 2 * sequence), record("counted", 0, 2 * sequence + 1)];
        let sent = numbered.send_bytes_batch(sequence, &records)?;
        maker.acknowledge(sent);
    }
    for round in 0..4 {
        let mut transaction = broker.transaction();
        transaction.send_bytes(&record("moved", 0, round))?;
        transaction.send_bytes(&record("counted", 0, 100 + round))?;
        transaction.commit()?;
        for topic in ["moved", "counted"] {
            acknowledge_last(maker, &broker, topic)?;
        }
    }
    maker.commit(&broker, "movers", ("counted", 0), 11)?;
    Broker::close(&broker)
}

/// What a transaction has appended to a topic, which its commit does not return.
fn acknowledge_last(maker: &mut Maker, broker: &BrokerRef, topic: &str) -> Result<()> {
    let Some(topic) = broker.topic(topic) else { return Ok(()) };
    let Some(partition) = topic.partition(0) else { return Ok(()) };
    let partition = partition.read()?;
    let last: Option<BytesRecord> = partition.read_bytes(partition.next_offset() - 1)?;
    maker.acknowledge(last.into_iter().collect());
    Ok(())
}

/// A log with segments, commits and a journal that is ahead of the slots.
fn busy(maker: &mut Maker) -> Result<BrokerRef> {
    let broker = maker.open()?;
    broker.create_topic("busy", 2)?;
    maker.create("busy", 2);
    fill(maker, &broker, &[("busy", 0), ("busy", 1)], 0..40, 4)?;
    maker.commit(&broker, "readers", ("busy", 0), 12)?;
    fill(maker, &broker, &[("busy", 0)], 40..46, 2)?;
    maker.commit(&broker, "readers", ("busy", 0), 40)?;
    fill(maker, &broker, &[("busy", 1), ("late", 0)], 50..54, 2)?;
    Ok(broker)
}

fn killed(maker: &mut Maker) -> Result<()> {
    let broker = busy(maker)?;
    maker.disk.kill();
    drop(broker);
    Ok(())
}

fn torn(maker: &mut Maker) -> Result<()> {
    let broker = busy(maker)?;
    die_at(maker, OpKind::WriteAt, "*.wal", 0, CrashPhase::Partly(300));
    let records: Vec<_> = (200..260).map(|number| record("busy", 1, number)).collect();
    let torn = Broker::producer(&broker).send_bytes_batch(&records);
    debug_assert!(torn.is_err(), "the process has died meanwhile");
    maker.disk.kill();
    drop(broker);
    Ok(())
}

fn power_cut(maker: &mut Maker) -> Result<()> {
    let broker = busy(maker)?;
    maker.disk.power_cut(&Survivors::default());
    drop(broker);
    Ok(())
}

/// Slot a is the new one, slot b the old.
fn half_a_checkpoint(maker: &mut Maker) -> Result<()> {
    let broker = busy(maker)?;
    die_at(maker, OpKind::WriteAt, "*/manifest.*", 1, CrashPhase::Before);
    for number in 300..340 {
        let sent = Broker::producer(&broker).send_bytes(&record("busy", 0, number));
        match sent {
            Ok(sent) => maker.acknowledge(vec![sent]),
            Err(_) => break,
        }
    }
    maker.disk.kill();
    drop(broker);
    Ok(())
}

fn die_at(maker: &Maker, on: OpKind, path: &str, skip: u64, phase: CrashPhase) {
    let arm = CrashArm { id: 1, on: Some(on), path: path.to_owned(), skip, phase };
    maker.disk.crash_when(arm);
}
