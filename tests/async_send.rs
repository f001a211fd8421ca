//! Sends that are awaited: without a runtime, without lost wakeups.

#![allow(clippy::disallowed_methods, reason = "the tests use threads of their own")]

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use merkql::producer::{PendingSend, SendFuture};
use merkql::record::{BytesProducerRecord, BytesRecord, Record};
use std::future::{Future, IntoFuture};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;
use support::watched::Watched;
use support::*;

/// Nobody has to wait for a wakeup so long, unless it was lost.
const LOST: Duration = Duration::from_secs(60);

/// Wakes a thread.
struct Unpark {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The smallest runtime.
fn block_on<T>(future: impl IntoFuture<Output = T>) -> T {
    let mut future = std::pin::pin!(future.into_future());
    let unpark = Arc::new(Unpark { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    loop {
        if let Poll::Ready(ready) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return ready;
        }
        let since = std::time::Instant::now();
        while !unpark.is_woken.swap(false, Ordering::AcqRel) {
            assert!(since.elapsed() < LOST, "a wakeup was lost");
            thread::park_timeout(LOST);
        }
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Polls once.
fn poll<F: Future + Unpin>(future: &mut F, waker: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(waker));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// A log whose next sync of the journal goes on only when it is told to.
struct Stopped {
    broker: BrokerRef,
    reached: mpsc::Receiver<()>,
    go_on: mpsc::Sender<Fate>,
}

/// What becomes of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    Panics,
}

impl Stopped {
    fn new(dir: &Path) -> Self {
        let window = Watched::default();
        let broker = window.open(dir);
        broker.create_topic("t", 1).unwrap();
        send_numbered(&Broker::producer(&broker), "t", "warm", 1);
        let ((reach, reached), (go_on, told)) = (mpsc::channel(), mpsc::channel());
        let mut is_first = true;
        window.refuse(move |call| {
            let stops = is_first && call.op.is_sync() && call.is_on_journal_file();
            if !stops {
                return None;
            }
            is_first = false;
            reach.send(()).unwrap();
            match told.recv().unwrap() {
                Fate::Succeeds => None,
                Fate::Fails => Some(std::io::Error::other("the disk said no")),
                Fate::Panics => panic!("as the test wants it"),
            }
        });
        Self { broker, reached, go_on }
    }

    fn enqueue(&self, value: &str) -> SendFuture {
        let records = [keyless("t", value)];
        Broker::producer(&self.broker).enqueue(&records).unwrap().into_future()
    }

    /// Has another thread write, up to its sync, and lets `meanwhile` run.
    fn while_another_leads<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let producer = Broker::producer(&self.broker);
            let leader = scope.spawn(move || producer.send(&keyless("t", "leader's")));
            self.reached.recv().unwrap();
            let done = meanwhile();
            // The leader's own answer is not what is looked at.
            drop(leader.join());
            done
        })
    }

    fn values(&self) -> Vec<String> {
        let records = partition(&self.broker, "t", 0).read_range(1, u64::MAX).unwrap();
        records.into_iter().map(|record| record.value).collect()
    }
}

#[test]
fn awaiting_gives_what_waiting_gives() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 3).unwrap();
    let producer = Broker::producer(&broker);
    let text: Vec<Record> = block_on(producer.enqueue(&numbered("t", "v", 5)).unwrap()).unwrap();
    assert_eq!(values(&text), ["v0", "v1", "v2", "v3", "v4"]);
    let batch = [BytesProducerRecord::tombstone("t", b"k")];
    let bytes: Vec<BytesRecord> = block_on(producer.enqueue_bytes(&batch).unwrap()).unwrap();
    let guard = partition(&broker, "t", bytes[0].partition);
    assert_eq!(guard.read_bytes(bytes[0].offset).unwrap().as_ref(), Some(&bytes[0]));
    assert_eq!(block_on(producer.enqueue(&[]).unwrap()).unwrap(), []);
    let idempotent = Broker::idempotent_producer(&broker, 1);
    let send = || block_on(idempotent.enqueue_bytes(0, &batch).unwrap()).unwrap();
    assert_eq!(send(), send());
    // In an async block, too.
    let in_block = async { producer.enqueue(&[keyless("t", "w")])?.await };
    assert_eq!(values(&block_on(in_block).unwrap()), ["w"]);
}

#[test]
fn whoever_is_polled_while_nobody_writes_writes_for_all() {
    let dir = scratch();
    let window = Watched::default();
    let broker = window.open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "warm")).unwrap();
    let mut futures: Vec<SendFuture> =
        (0..50).map(|_| producer.enqueue(&[keyless("t", "v")]).unwrap().into_future()).collect();
    window.take();
    let waker = Arc::new(Count::default());
    for (index, future) in futures.iter_mut().enumerate().rev() {
        let Poll::Ready(Ok(sent)) = poll(future, &waker) else { panic!("not ready") };
        assert_eq!(sent[0].offset, index as u64 + 1);
    }
    assert_eq!(window.take_syncs(), 1);
    assert_eq!(waker.get(), 0);
    let again = poll(&mut futures[0], &waker);
    assert!(matches!(again, Poll::Ready(Err(Error::Closed))), "{again:?}");
}

#[test]
fn a_future_is_woken_when_another_threads_write_is_done() {
    let dir = scratch();
    let stopped = Stopped::new(dir.path());
    // In the block that the other thread writes, and behind it.
    let mut within = stopped.enqueue("within");
    let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let (of_within, of_behind) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let mut behind = stopped.while_another_leads(|| {
        let mut behind = stopped.enqueue("behind");
        assert!(poll(&mut within, &first).is_pending());
        assert!(poll(&mut within, &last).is_pending());
        assert!(poll(&mut within, &of_within).is_pending());
        assert!(poll(&mut behind, &of_behind).is_pending());
        assert_eq!(of_within.get() + of_behind.get(), 0);
        stopped.go_on.send(Fate::Succeeds).unwrap();
        behind
    });
    assert_eq!((first.get(), last.get()), (0, 0), "the last waker counts");
    assert_eq!((of_within.get(), of_behind.get()), (1, 1));
    // The one behind leads now.
    for future in [&mut within, &mut behind] {
        assert!(matches!(poll(future, &first), Poll::Ready(Ok(_))));
    }
    assert_eq!(stopped.values(), ["within", "leader's", "behind"]);
}

#[test]
fn a_future_that_is_dropped_is_sent_all_the_same_and_leaves_nobody_asleep() {
    let dir = scratch();
    let stopped = Stopped::new(dir.path());
    let waker = Arc::new(Count::default());
    let mut left = stopped.while_another_leads(|| {
        let mut futures: Vec<_> = (0..4).map(|n| stopped.enqueue(&format!("v{n}"))).collect();
        for future in &mut futures {
            assert!(poll(future, &waker).is_pending());
        }
        let left = futures.pop().unwrap();
        drop(futures);
        stopped.go_on.send(Fate::Succeeds).unwrap();
        left
    });
    assert!(waker.get() >= 1);
    assert!(poll(&mut left, &waker).is_ready());
    assert_eq!(stopped.values(), ["leader's", "v0", "v1", "v2", "v3"]);
}

#[test]
fn a_failed_write_and_a_panic_wake_whoever_awaits_it() {
    for fate in [Fate::Fails, Fate::Panics] {
        let dir = scratch();
        let stopped = Stopped::new(dir.path());
        let mut within = stopped.enqueue("within");
        let (of_within, of_behind) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut behind = stopped.while_another_leads(|| {
            let mut behind = stopped.enqueue("behind");
            assert!(poll(&mut within, &of_within).is_pending());
            assert!(poll(&mut behind, &of_behind).is_pending());
            stopped.go_on.send(fate).unwrap();
            behind
        });
        assert_eq!((of_within.get(), of_behind.get()), (1, 1), "{fate:?}");
        let Poll::Ready(Err(told)) = poll(&mut within, &of_within) else { panic!("{fate:?}") };
        let is_typed = matches!(told, Error::NeedsReopen { .. } | Error::Io { .. });
        assert!(is_typed, "{fate:?}: {told}");
        let refused = poll(&mut behind, &of_behind);
        assert!(matches!(refused, Poll::Ready(Err(Error::NeedsReopen { .. }))), "{refused:?}");
    }
}

#[test]
fn closing_and_dropping_the_broker_answer_whoever_awaits() {
    type End = fn(BrokerRef);
    let ends: [End; 2] = [|broker| Broker::close(&broker).unwrap(), drop];
    for end in ends {
        let dir = scratch();
        let broker = open(dir.path());
        let pending = Broker::producer(&broker).enqueue(&numbered("t", "v", 2)).unwrap();
        end(broker);
        let sent = block_on(pending).unwrap();
        assert_eq!(values(&sent), ["v0", "v1"]);
        let broker = open(dir.path());
        assert_eq!(partition(&broker, "t", 0).read_range(0, 9).unwrap(), sent);
    }
    // While another thread writes: its end commits the rest, or the close does.
    let dir = scratch();
    let stopped = Stopped::new(dir.path());
    let waker = Arc::new(Count::default());
    let mut pending = stopped.enqueue("v");
    stopped.while_another_leads(|| {
        assert!(poll(&mut pending, &waker).is_pending());
        let mut behind = stopped.enqueue("w");
        assert!(poll(&mut behind, &waker).is_pending());
        let closing = thread::spawn({
            let broker = Arc::clone(&stopped.broker);
            move || Broker::close(&broker)
        });
        stopped.go_on.send(Fate::Succeeds).unwrap();
        closing.join().unwrap().unwrap();
        assert!(waker.get() >= 2);
        assert!(matches!(poll(&mut behind, &waker), Poll::Ready(Ok(_))));
    });
    assert!(matches!(poll(&mut pending, &waker), Poll::Ready(Ok(_))));
}

#[test]
fn threads_that_await_and_threads_that_wait_all_get_their_answers() {
    const SENDS: usize = 150;
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let offsets = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..6 {
            let (producer, offsets) = (Broker::producer(&broker), &offsets);
            scope.spawn(move || {
                for number in 0..SENDS {
                    let send =
                        |of| producer.enqueue(&[keyless("t", format!("{thread}-{number}-{of}"))]);
                    let [one, other]: [PendingSend; 2] = [send(0).unwrap(), send(1).unwrap()];
                    if number % 7 == thread {
                        // Some give up after a look.
                        let mut future = other.into_future();
                        drop(poll(&mut future, &Arc::new(Count::default())));
                    } else {
                        drop(other);
                    }
                    let records = if thread % 2 == 0 { block_on(one) } else { one.wait() };
                    offsets.lock().unwrap().push(records.unwrap()[0].offset);
                }
            });
        }
    });
    Broker::producer(&broker).flush().unwrap();
    let mut offsets = offsets.into_inner().unwrap();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), 6 * SENDS);
    assert_eq!(partition(&broker, "t", 0).next_offset(), 2 * 6 * SENDS as u64);
}

#[test]
fn a_future_can_go_to_another_thread() {
    fn is_send<T: Send + Unpin>(future: T) -> T {
        future
    }
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let future = is_send(producer.enqueue(&numbered("t", "v", 2)).unwrap().into_future());
    let sent = thread::spawn(move || block_on(future)).join().unwrap().unwrap();
    assert_eq!(sent.len(), 2);
}
