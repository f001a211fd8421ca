//! Work on several threads, taken in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError, mpsc};

/// How far the workers may be ahead of the oldest result that is not there yet,
/// for each of them. What waits to be taken needs no more memory than this.
const AHEAD: u64 = 16;

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    taken: u64,
}

/// Does `work` for 0, 1, 2 and so on below `count`, on `jobs` threads, until
/// `is_over`, and hands the results to `take` in this order. All that was begun
/// is handed over.
pub(crate) fn in_order<T: Send>(
    jobs: usize,
    count: u64,
    is_over: &(dyn Fn() -> bool + Sync),
    work: &(dyn Fn(u64) -> T + Sync),
    mut take: impl FnMut(T),
) {
    let jobs = jobs.max(1);
    let ahead = AHEAD * jobs as u64;
    let (queue, moved) = (Mutex::new(Queue::default()), Condvar::new());
    let next = || {
        let state = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = moved.wait_while(state, |state| state.next >= state.taken + ahead);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.next >= count || is_over() {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    };
    std::thread::scope(|scope| {
        let (results, inbox) = mpsc::channel();
        for _ in 0..jobs {
            let results = results.clone();
            scope.spawn(move || {
                while let Some(index) = next() {
                    // Nobody but this function's end closes the inbox.
                    results.send((index, work(index))).unwrap_or_default();
                }
            });
        }
        drop(results);
        let mut early = BTreeMap::new();
        let mut taken = 0;
        for (index, result) in inbox {
            early.insert(index, result);
            while let Some(result) = early.remove(&taken) {
                take(result);
                taken += 1;
            }
            queue.lock().unwrap_or_else(PoisonError::into_inner).taken = taken;
            moved.notify_all();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn results_are_taken_in_order_whatever_the_number_of_jobs() {
        for jobs in [1, 2, 7] {
            let mut taken = Vec::new();
            let work = |index: u64| {
                if index.is_multiple_of(5) {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                index
            };
            in_order(jobs, 300, &|| false, &work, |index| taken.push(index));
            assert_eq!(taken, (0..300).collect::<Vec<_>>());
        }
    }

    #[test]
    fn workers_do_not_run_ahead_of_what_is_taken() {
        let begun = AtomicU64::new(0);
        let mut taken = 0;
        let work = |index| {
            begun.fetch_add(1, Ordering::Relaxed);
            if index == 0 {
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
        };
        in_order(3, 400, &|| false, &work, |()| {
            if taken == 0 {
                assert!(begun.load(Ordering::Relaxed) <= AHEAD * 3);
            }
            taken += 1;
        });
        assert_eq!(taken, 400);
    }

    #[test]
    fn what_was_begun_before_the_end_is_taken() {
        let begun = AtomicU64::new(0);
        let is_over = || begun.load(Ordering::Relaxed) >= 10;
        let mut taken = 0;
        let work = |_| begun.fetch_add(1, Ordering::Relaxed);
        in_order(4, u64::MAX, &is_over, &work, |_| taken += 1);
        assert_eq!(taken, begun.load(Ordering::Relaxed));
    }
}
