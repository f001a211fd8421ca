//! Records that hold images of the log's own journal, byte for byte and at the
//! places where they would count as blocks: they are records and nothing else.
//!
//! Values are text, and so are the images here: random numbers are made of
//! letters, the clock stands still, and of all blocks only those are taken whose
//! checksum happens to be text too; there are none from sequence 128 on.

#![allow(clippy::disallowed_methods, reason = "the tests look at the disk behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::env::Entropy;
use merkql::record::Record;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use support::watched::Watched;
use support::*;
use support_crash::{copy_dir, memory_dir};

const PAGE: usize = 4096;

/// Letters, other ones for each log and each time.
#[derive(Debug)]
struct Letters {
    of: u8,
    count: AtomicU8,
}

impl Entropy for Letters {
    fn fill(&self, buf: &mut [u8]) -> io::Result<()> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        buf.fill(self.of);
        if let [.., first, second] = buf {
            (*first, *second) = (b'0' + count / 64, b'0' + count % 64);
        }
        Ok(())
    }
}

fn config(dir: &Path, letter: u8) -> BrokerConfig {
    BrokerConfig {
        journal_initial_bytes: 128 << 10,
        journal_max_bytes: 128 << 10,
        entropy: Arc::new(Letters { of: letter, count: AtomicU8::new(0) }),
        ..Watched::swift().config(dir)
    }
}

fn open_as(dir: &Path, letter: u8) -> BrokerRef {
    Broker::open(config(dir, letter)).unwrap()
}

/// A log with a topic of a few records.
fn begin(dir: &Path) {
    let broker = open_as(dir, b'a');
    Broker::producer(&broker).send_batch(&numbered("t", "v", 100)).unwrap();
}

/// Writes blocks that are hardly more than a header: commits.
fn write_blocks(broker: &BrokerRef, from: u64, count: u64) {
    let mut consumer = subscribed(broker, "g", "t");
    for number in from..from + count {
        consumer.seek("t", 0, 1 + number % 90).unwrap();
        consumer.commit_sync().unwrap();
    }
}

/// How many pages of images one value holds: with room in the file for more.
const PAGES: usize = 22;

/// The file's first pages that are text and begin like a block; spaces in place of others.
fn images(path: &Path) -> (String, usize) {
    let mut text = String::new();
    let mut count = 0;
    for page in fs::read(path).unwrap().chunks(PAGE).take(PAGES) {
        let page = page.to_vec();
        match String::from_utf8(page).ok().filter(|page| page.starts_with("MqlBlock")) {
            Some(page) => {
                text.push_str(&page);
                count += 1;
            }
            None => text.push_str(&" ".repeat(PAGE)),
        }
    }
    (text, count)
}

/// Where a value that is sent next, `len` bytes long, begins: the journal's
/// file, and the position in it.
fn place_of_value(
    dir: &Path,
    letter: u8,
    len: usize,
    prepare: &dyn Fn(&BrokerRef),
) -> (OsString, usize) {
    let probe = memory_dir();
    copy_dir(dir, probe.path());
    let broker = open_as(probe.path(), letter);
    prepare(&broker);
    let marker = format!("marker{}", "-".repeat(len - 6));
    Broker::producer(&broker).send(&keyless("t", marker)).unwrap();
    let found = files(probe.path(), ".wal").into_iter().find_map(|path| {
        let content = fs::read(&path).unwrap();
        let position = content.windows(7).position(|window| window == b"marker-")?;
        Some((path.file_name().unwrap().to_owned(), position))
    });
    found.unwrap()
}

fn assert_whole(dir: &Path, sent: &[Record], what: &str) {
    for round in 0..2 {
        let broker = Broker::open(config(dir, b'z' - round));
        let broker = broker.unwrap_or_else(|error| panic!("{what}: {error}"));
        let view = partition(&broker, "t", 0);
        for record in sent {
            assert_eq!(view.read(record.offset).unwrap().as_ref(), Some(record), "{what}");
        }
    }
}

/// Sends the images so that they stand where they would count, and ends the log
/// in every way after each of some more blocks.
fn send_images(dir: &Path, letter: u8, images: &Images, blocks_before: u64, blocks_after: u64) {
    let prepare = |broker: &BrokerRef| write_blocks(broker, 0, blocks_before);
    // Room for any padding, so that all values have one length.
    let len = (PAGES - 1) * PAGE;
    let (file, place) = place_of_value(dir, letter, len, &prepare);
    let text = images.get(&file).unwrap_or_else(|| panic!("no images of {}", file.display()));
    let broker = open_as(dir, letter);
    prepare(&broker);
    let producer = Broker::producer(&broker);
    let padding = place.next_multiple_of(PAGE) - place;
    // What stands in the first whole page, and in those behind it.
    let first = place.next_multiple_of(PAGE);
    let mut value = " ".repeat(padding);
    value.push_str(&text[first.min(text.len())..]);
    value.truncate(len);
    value.push_str(&" ".repeat(len - value.len()));
    assert!(value.contains("MqlBlock"), "no image falls into the value");
    let mut sent = vec![producer.send(&keyless("t", value)).unwrap()];
    for after in 0..=blocks_after {
        let what = format!("{blocks_before} blocks before, {after} after");
        let killed = memory_dir();
        copy_dir(dir, killed.path());
        assert_whole(killed.path(), &sent, &what);
        sent.push(producer.send(&keyless("t", format!("after {after}"))).unwrap());
    }
    Broker::close(&broker).unwrap();
    drop((producer, broker));
    assert_whole(dir, &sent, "closed");
}

/// By the journal file's name.
type Images = BTreeMap<OsString, String>;

/// A copy of the log that went its own way, and what its journal files hold:
/// the first of many copies of which a block in this file is text.
fn copy_that_went_on(dir: &Path, blocks: u64, file: u64) -> Images {
    let file = OsString::from(format!("{file:010}.wal"));
    for letter in b'A'..=b'Z' {
        let copy = memory_dir();
        copy_dir(dir, copy.path());
        let broker = open_as(copy.path(), letter);
        write_blocks(&broker, u64::from(letter), blocks);
        let files = files(copy.path(), ".wal").into_iter();
        let found = files.map(|path| (path.file_name().unwrap().to_owned(), images(&path).0));
        let found: Images = found.collect();
        // Behind the pages that other blocks take in the original.
        if found.get(&file).is_some_and(|text| text[6 * PAGE..].contains("MqlBlock")) {
            return found;
        }
    }
    panic!("no block's checksum is text");
}

#[test]
fn images_of_what_a_copy_wrote_are_no_blocks() {
    let dir = memory_dir();
    begin(dir.path());
    // Up to as many as fill a file, and so many that the copy uses files again.
    for blocks in [29, 80, 110] {
        let images = copy_that_went_on(dir.path(), blocks, 1);
        for blocks_before in [0, 3] {
            let original = memory_dir();
            copy_dir(dir.path(), original.path());
            send_images(original.path(), b'm', &images, blocks_before, 60);
        }
    }
}

#[test]
fn images_for_another_file_of_the_journal_are_no_blocks() {
    let dir = memory_dir();
    begin(dir.path());
    for blocks in [60, 100] {
        let images = copy_that_went_on(dir.path(), blocks, 2);
        let original = memory_dir();
        copy_dir(dir.path(), original.path());
        send_images(original.path(), b'm', &images, 33, 60);
    }
}

#[test]
fn images_of_a_copy_that_was_recovered_are_no_blocks() {
    let dir = memory_dir();
    begin(dir.path());
    let broker = open_as(dir.path(), b'l');
    write_blocks(&broker, 0, 2);
    let killed = memory_dir();
    copy_dir(dir.path(), killed.path());
    drop(broker);
    for blocks in [60, 100] {
        let images = copy_that_went_on(killed.path(), blocks, 2);
        let original = memory_dir();
        copy_dir(killed.path(), original.path());
        send_images(original.path(), b'm', &images, 0, 60);
    }
}

#[test]
fn any_alignment_of_an_image_of_the_log_itself_is_harmless() {
    let dir = memory_dir();
    begin(dir.path());
    let broker = open_as(dir.path(), b'm');
    write_blocks(&broker, 0, 20);
    let (text, count) = images(&files(dir.path(), ".wal")[0]);
    assert!(count > 0);
    let own = text.trim();
    let producer = Broker::producer(&broker);
    let mut sent = Vec::new();
    for padding in (0..PAGE).step_by(61) {
        let value = format!("{}{}", " ".repeat(padding), &own[..own.len().min(12_000)]);
        sent.push(producer.send(&keyless("t", value)).unwrap());
    }
    let killed = memory_dir();
    copy_dir(dir.path(), killed.path());
    assert_whole(killed.path(), &sent, "killed");
    Broker::close(&broker).unwrap();
    drop((producer, broker));
    assert_whole(dir.path(), &sent, "closed");
}
