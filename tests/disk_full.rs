//! A disk that is full: nothing that was acknowledged is lost, and once there is
//! room again the same process goes on, without opening the log anew.

#![allow(clippy::disallowed_methods, reason = "mounts, ballast and processes are the test's own")]

mod support_crash;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use std::path::{Path, PathBuf};
use std::process::Command;
use support_crash::fault_fs::{FaultFs, Manner};
use support_crash::ledger::{Ledger, records_of};
use support_crash::workload::{Outcome, World, prepare, steps};
use support_crash::{memory_dir, small_config};

const DISK_BYTES: u64 = 2 << 20;
/// What the journal and the tables of an ext4 take of it.
const EXT4_OWN_BYTES: u64 = 1400 << 10;
const BALLAST_BYTES: usize = 256 << 10;
const CYCLES: u64 = 3;

/// A mounted file system, unmounted when dropped.
struct Mounted {
    mount_point: PathBuf,
    /// Holds the mount point, and the image where there is one.
    _dir: tempfile::TempDir,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount_point).output();
    }
}

/// Runs a command; what it says if it fails, or isn't there.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", said.trim())) }
}

fn mount_tmpfs() -> Result<Mounted, String> {
    let dir = tempfile::tempdir().unwrap();
    let mount_point = dir.path().join("mounted");
    std::fs::create_dir(&mount_point).unwrap();
    let size = format!("size={DISK_BYTES}");
    run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", mount_point.to_str().unwrap()])?;
    Ok(Mounted { mount_point, _dir: dir })
}

fn mount_ext4() -> Result<Mounted, String> {
    let dir = tempfile::tempdir().unwrap();
    let (mount_point, image) = (dir.path().join("mounted"), dir.path().join("image"));
    std::fs::create_dir(&mount_point).unwrap();
    std::fs::File::create(&image).unwrap().set_len(DISK_BYTES + EXT4_OWN_BYTES).unwrap();
    let image = image.to_str().unwrap();
    run(
        "mkfs.ext4",
        &["-q", "-F", "-m", "0", "-b", "1024", "-N", "256", "-O", "^resize_inode", image],
    )?;
    run("mount", &["-o", "loop", image, mount_point.to_str().unwrap()])?;
    Ok(Mounted { mount_point, _dir: dir })
}

#[test]
fn a_full_tmpfs_loses_nothing_and_goes_on() {
    match mount_tmpfs() {
        Ok(mounted) => fill_free_and_go_on(&mounted.mount_point),
        Err(reason) => skipped(&reason),
    }
}

#[test]
fn a_full_ext4_loses_nothing_and_goes_on() {
    match mount_ext4() {
        Ok(mounted) => fill_free_and_go_on(&mounted.mount_point),
        Err(reason) => skipped(&reason),
    }
}

/// Standard error, which the harness shows of tests that pass too.
fn skipped(reason: &str) {
    use std::io::Write;
    let message = format!("SKIPPED: no file system can be mounted here: {reason}\n");
    std::io::stderr().write_all(message.as_bytes()).unwrap();
}

fn ballast(disk: &Path, cycle: u64) -> PathBuf {
    disk.join(format!("ballast-{cycle}"))
}

struct Filling {
    ledger: Ledger,
    unit: u64,
    refused: u64,
}

fn fill_free_and_go_on(disk: &Path) {
    let dir = disk.join("log");
    let mut filling = Filling { ledger: Ledger::default(), unit: 0, refused: 0 };
    // One for each time the disk is to be full, and one for the end.
    for cycle in 0..=CYCLES {
        std::fs::write(ballast(disk, cycle), vec![1; BALLAST_BYTES]).unwrap();
    }
    let broker = Broker::open(small_config(&dir)).unwrap();
    broker.create_topic("one", 1).unwrap();
    broker.create_topic("many", 4).unwrap();
    for cycle in 0..CYCLES {
        filling.fill(&broker);
        let acknowledged = filling.ledger.counts.acks;
        // Full as it is, everything acknowledged can be read and proved.
        filling.ledger.check(&broker);
        // What else needs room says so, and harms nothing.
        if let Err(error) = broker.create_topic("more", 3) {
            assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        }
        if let Err(error) = broker.maintain() {
            assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        }
        std::fs::remove_file(ballast(disk, cycle)).unwrap();
        filling.retry(&broker);
        broker.create_topic("more", 3).unwrap();
        filling.ledger.check(&broker);
        assert!(filling.ledger.counts.acks > acknowledged);
    }
    filling.fill(&broker);
    match Broker::close(&broker) {
        Ok(()) | Err(Error::DiskFull { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    drop(broker);
    filling.open_on_a_full_disk(&dir);
    println!("{}: {} refused, {:?}", disk.display(), filling.refused, filling.ledger.counts);
    assert!(filling.refused > CYCLES && filling.ledger.counts.acks > 500);
}

impl Filling {
    fn send(&mut self, broker: &BrokerRef) -> merkql::Result<()> {
        let topics: &[&str] = match self.unit % 4 {
            0 => &["one"],
            1 => &["many", "one", "many", "many"],
            2 => &["many"; 9],
            _ => &["many"],
        };
        let sent = Broker::producer(broker).send_batch(&records_of(self.unit, topics))?;
        self.ledger.ack_records(self.unit, &sent);
        self.unit += 1;
        Ok(())
    }

    /// Sends until the disk is full, and then still wants to.
    fn fill(&mut self, broker: &BrokerRef) {
        let mut refusals = 0;
        for _ in 0..100_000 {
            match self.send(broker) {
                Ok(()) => {}
                Err(Error::DiskFull { .. }) => {
                    refusals += 1;
                    self.refused += 1;
                    self.ledger.fail(self.unit);
                    // A smaller send may still find room; its number is another's.
                    self.unit += 1;
                    if refusals == 20 {
                        return;
                    }
                }
                Err(error) => panic!("a full disk is answered with {error:?}"),
            }
        }
        panic!("the disk does not fill");
    }

    /// The send that was refused last, and more, in the same process.
    fn retry(&mut self, broker: &BrokerRef) {
        self.unit -= 1;
        for _ in 0..100 {
            self.send(broker).unwrap_or_else(|error| panic!("there is room again, but {error}"));
        }
    }

    /// Opening may want room; if so it says that, and loses nothing by it.
    fn open_on_a_full_disk(&mut self, dir: &Path) {
        let disk = dir.parent().unwrap();
        let config = || BrokerConfig { max_poll_bytes: 1 << 20, ..small_config(dir) };
        let broker = Broker::open(config()).or_else(|error| {
            assert!(matches!(error, Error::DiskFull { .. }), "{error}");
            self.refused += 1;
            std::fs::remove_file(ballast(disk, CYCLES)).unwrap();
            Broker::open(config())
        });
        let broker = broker.unwrap();
        self.ledger.check(&broker);
        drop(broker);
        let broker = Broker::open(config()).unwrap();
        self.ledger.check(&broker);
    }
}

#[test]
fn a_disk_that_is_full_at_any_moment_loses_nothing() {
    let steps = steps(9);
    let room_needed = {
        let (outcome, taken) = run_in(u64::MAX, &steps);
        assert_eq!(outcome.failures, 0, "there was room enough");
        taken
    };
    let mut sum = Outcome::default();
    let mut runs = 0_u64;
    let mut room = 0;
    while room < room_needed {
        let run = std::panic::AssertUnwindSafe(|| run_in(room, &steps));
        let (outcome, _) = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
            println!("the room was {room} bytes");
            std::panic::resume_unwind(panic)
        });
        sum.failures += outcome.failures;
        sum.disk_full += outcome.disk_full;
        sum.retried += outcome.retried;
        sum.latched += outcome.latched;
        runs += 1;
        // An odd step, so that the end of the room falls everywhere in a page.
        room += 509;
    }
    println!("{runs} rooms up to {room_needed} bytes: {sum:#?}");
    assert!(runs > 100);
    // What failed for want of room said so, changed nothing, and was made good
    // in the same process.
    assert!(sum.failures >= runs * 9 / 10, "{sum:?}");
    assert_eq!(sum.failures, sum.disk_full, "a full disk was called something else");
    assert_eq!(sum.latched, 0, "a full disk latched the log");
    assert!(sum.retried > runs / 2);
}

/// Runs the workload with so much room, and returns what it took.
fn run_in(room: u64, steps: &[support_crash::workload::Step]) -> (Outcome, u64) {
    let dir = memory_dir();
    prepare(dir.path());
    let fs = FaultFs::new();
    fs.set_room(Some(room));
    let mut world = World::open(dir.path(), &fs, Manner::Clean);
    world.run(steps);
    let taken = fs.taken();
    world.finish(1 << 40);
    (world.outcome, taken)
}
