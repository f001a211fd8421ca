//! The behaviours that the log relies on, as test cases for any implementation
//! of the seams in [`crate::env`].
//!
//! The same bodies run on the operating system, on a simulated disk and on an
//! implementation of your own. A case asks only for what the documentation of
//! the traits promises, and only about what a running process can see: what a
//! power cut leaves behind is up to the implementation's own tests.
//!
//! ```
//! use merkql::env::conformance;
//! use merkql::env::os::{OsClock, OsEntropy, OsFileSystem};
//! use std::sync::Arc;
//!
//! let root = tempfile::tempdir()?;
//! conformance::all(Arc::new(OsFileSystem), root.path());
//! conformance::clock(&OsClock);
//! conformance::entropy(&OsEntropy);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Each of these runs every case, and panics at the end if some failed, with
//! their names and what they expected. To run cases one at a time, walk the
//! lists, for instance [`CASES`]:
//!
//! ```
//! # use merkql::env::{conformance::{Scratch, CASES}, os::OsFileSystem};
//! # use std::sync::Arc;
//! # let root = tempfile::tempdir()?;
//! for case in CASES {
//!     let dir = root.path().join(case.name());
//!     case.run(&Scratch::new(Arc::new(OsFileSystem), dir));
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Cases that start threads stand in lists of their own, for implementations
//! that live in one thread.

mod clocks;
mod content;
mod directories;
mod lengths;
mod locks;
mod removal;
mod scratch;
mod threads;

pub use scratch::Scratch;

use super::{Clock, Entropy, FileSystem};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

/// One behaviour, checked on a subject: a [`Scratch`] directory of a file
/// system, a clock, a random source.
#[derive(Debug)]
pub struct Case<S: ?Sized> {
    name: &'static str,
    body: fn(&S),
}

impl<S: ?Sized> Case<S> {
    const fn new(name: &'static str, body: fn(&S)) -> Self {
        Self { name, body }
    }

    /// The behaviour as a name of lower-case words joined by underscores, which
    /// may serve as the name of a directory.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the behaviour.
    ///
    /// # Panics
    ///
    /// If the subject behaves otherwise; the message has the case's name and
    /// what was expected.
    pub fn run(&self, subject: &S) {
        if let Err(failure) = self.outcome(subject) {
            panic!("{failure}");
        }
    }

    fn outcome(&self, subject: &S) -> Result<(), String> {
        self.guard(|| (self.body)(subject))
    }

    /// Turns a panic into a message that begins with the case's name.
    fn guard(&self, body: impl FnOnce()) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(body))
            .map_err(|panic| format!("case {}: {}", self.name, message(panic.as_ref())))
    }
}

/// Makes a list of cases from the functions of the modules named before them.
/// The compiler points at a case that is in no list: it is dead code.
macro_rules! cases {
    ($($module:ident: $($body:ident),+;)+) => {
        &[$($(Case::new(stringify!($body), $module::$body)),+),+]
    };
}

/// The behaviours of a file system that one thread can check.
pub const CASES: &[Case<Scratch>] = cases! {
    directories:
        a_created_file_is_empty_and_open_for_reading_and_writing,
        creating_a_taken_name_fails_and_changes_nothing,
        creating_in_a_missing_directory_fails,
        opening_a_missing_file_fails_and_creates_nothing,
        opening_a_directory_as_a_file_fails,
        an_opened_file_has_the_content_that_was_written,
        a_listing_is_sorted_and_tells_kinds,
        a_listing_of_an_empty_directory_is_empty,
        listing_a_missing_directory_fails,
        listing_a_file_fails,
        creating_a_taken_directory_fails_and_changes_nothing,
        one_name_in_two_directories_is_two_files,
        syncing_a_directory_changes_nothing_visible,
        syncing_a_missing_directory_fails;
    removal:
        a_removed_file_is_gone_and_its_neighbours_stay,
        removing_a_missing_file_fails,
        removing_a_directory_as_a_file_fails,
        an_open_handle_outlives_its_name,
        a_removed_name_is_free_for_a_new_file,
        an_empty_directory_can_be_removed_and_made_again,
        a_directory_with_names_in_it_is_not_removed,
        removing_a_missing_directory_fails,
        removing_a_file_as_a_directory_fails,
        open_handles_do_not_keep_a_directory_from_removal;
    content:
        reading_at_or_past_the_end_gives_nothing,
        reading_into_an_empty_buffer_gives_nothing,
        reading_over_the_end_gives_what_is_there,
        reads_and_writes_go_where_they_are_told,
        a_count_is_neither_zero_nor_more_than_asked,
        writing_past_the_end_leaves_a_gap_of_zeroes,
        overwriting_leaves_the_neighbours_alone,
        writing_nothing_changes_nothing,
        large_content_comes_back,
        two_handles_see_each_others_writes_and_lengths,
        two_files_do_not_share_content,
        a_handle_for_reading_refuses_changes,
        positions_that_no_file_can_have_are_refused,
        syncing_a_file_changes_nothing_visible;
    lengths:
        cutting_keeps_the_front,
        growing_shows_zeroes,
        growing_after_a_cut_never_shows_old_bytes,
        setting_the_same_length_changes_nothing,
        a_length_that_no_file_can_have_is_refused,
        allocating_lengthens_with_zeroes_and_keeps_the_front,
        allocating_below_the_length_changes_nothing,
        allocated_space_can_be_overwritten,
        a_long_mixture_of_calls_matches_a_model;
    locks:
        a_held_lock_is_refused_to_others,
        dropping_a_lock_releases_it,
        a_refused_attempt_leaves_the_lock_held,
        opening_and_closing_a_locked_file_leaves_the_lock_held,
        locking_creates_an_empty_file_that_is_listed,
        locking_leaves_the_content_alone,
        an_open_handle_is_no_lock,
        locks_of_two_files_are_independent,
        locking_in_a_missing_directory_fails;
};

/// The behaviours of a file system that is used by several threads at once.
pub const THREADED: &[Case<Scratch>] = cases! {
    threads:
        writes_and_reads_of_disjoint_ranges_do_not_disturb_each_other,
        readers_of_old_bytes_are_not_disturbed_by_growth,
        one_of_many_creators_wins,
        names_created_at_once_are_all_listed,
        one_of_many_threads_holds_a_lock,
        a_lock_can_be_released_by_another_thread;
};

/// The behaviours of a clock that one thread can check.
pub const CLOCK: &[Case<dyn Clock>] = cases! {
    clocks:
        monotonic_time_never_goes_back,
        a_signal_that_has_moved_ends_the_wait_at_once,
        a_wait_consumes_no_event,
        a_wait_ends_at_its_deadline,
        an_event_that_was_seen_does_not_end_a_wait,
        a_deadline_in_the_past_ends_the_wait_at_once;
};

/// The behaviours of a clock of real time that several threads wait on.
pub const CLOCK_THREADED: &[Case<dyn Clock>] = cases! {
    clocks:
        an_event_from_another_thread_ends_the_wait,
        one_event_wakes_everybody;
};

/// The behaviours of a random source.
pub const ENTROPY: &[Case<dyn Entropy>] = cases! {
    clocks:
        a_filled_buffer_is_filled_whole,
        two_fills_differ,
        filling_nothing_succeeds;
};

/// Runs all of [`CASES`], each in a new directory in `root`, which must exist
/// and be empty. What the cases leave there is the caller's to remove.
///
/// # Panics
///
/// At the end, if any case failed; the message has each one's name and what was
/// expected.
pub fn all(file_system: Arc<dyn FileSystem>, root: &Path) {
    in_fresh_directories(CASES, file_system, root);
}

/// Runs all of [`THREADED`], as [`all`] does.
///
/// # Panics
///
/// At the end, if any case failed.
pub fn threaded(file_system: Arc<dyn FileSystem>, root: &Path) {
    in_fresh_directories(THREADED, file_system, root);
}

/// Runs all of [`CLOCK`].
///
/// # Panics
///
/// At the end, if any case failed.
pub fn clock(clock: &(dyn Clock + 'static)) {
    judge(CLOCK, |case| case.outcome(clock));
}

/// Runs all of [`CLOCK_THREADED`].
///
/// # Panics
///
/// At the end, if any case failed.
pub fn clock_threaded(clock: &(dyn Clock + 'static)) {
    judge(CLOCK_THREADED, |case| case.outcome(clock));
}

/// Runs all of [`ENTROPY`].
///
/// # Panics
///
/// At the end, if any case failed.
pub fn entropy(entropy: &(dyn Entropy + 'static)) {
    judge(ENTROPY, |case| case.outcome(entropy));
}

fn in_fresh_directories(cases: &[Case<Scratch>], file_system: Arc<dyn FileSystem>, root: &Path) {
    judge(cases, move |case| {
        case.guard(|| {
            let scratch = Scratch::new(Arc::clone(&file_system), root.join(case.name));
            (case.body)(&scratch);
        })
    });
}

/// Runs every case before it complains about any: the list of all that failed
/// says more about an implementation than the first.
fn judge<S: ?Sized>(cases: &[Case<S>], outcome: impl Fn(&Case<S>) -> Result<(), String>) {
    let failures: Vec<String> = cases.iter().filter_map(|case| outcome(case).err()).collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}

/// What one thread of a case does.
type Part<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Does the parts at once, each in a thread, and panics as one of them did: the
/// scope alone would only say that one did.
fn at_once<'a>(parts: impl IntoIterator<Item = Part<'a>>) {
    let parts: Vec<_> = parts.into_iter().collect();
    let start = Barrier::new(parts.len());
    thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| {
                scope.spawn(|| {
                    start.wait();
                    part();
                })
            })
            .collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    });
}
