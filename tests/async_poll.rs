//! Polls that wait without blocking a thread.

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::Consumer;
use merkql_sim::clock::SimClock;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use support::*;

const INTERVAL: Duration = Duration::from_secs(10);

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn woken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn counter() -> (Arc<Counter>, Waker) {
    let counter = Arc::new(Counter::default());
    (Arc::clone(&counter), Waker::from(counter))
}

fn with_topic(dir: &Path, clock: &Arc<SimClock>) -> BrokerRef {
    let config = BrokerConfig {
        clock: clock.clone(),
        max_poll_interval: INTERVAL,
        ..BrokerConfig::new(dir)
    };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 2).unwrap();
    broker
}

fn assert_pending<F: Future>(future: std::pin::Pin<&mut F>, waker: &Waker) {
    assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
}

fn ready<F: Future>(future: std::pin::Pin<&mut F>, waker: &Waker) -> F::Output {
    match future.poll(&mut Context::from_waker(waker)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing was there"),
    }
}

#[test]
fn a_future_is_woken_by_a_record_and_returns_it() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = with_topic(dir.path(), &clock);
    let mut consumer = subscribed(&broker, "g", "t");
    let (counter, waker) = counter();
    {
        let mut future = pin!(consumer.poll_async());
        assert_pending(future.as_mut(), &waker);
        assert_eq!(counter.woken(), 0);
        send_numbered(&Broker::producer(&broker), "t", "v", 1);
        assert_eq!(counter.woken(), 1);
        assert_eq!(values(&ready(future, &waker).unwrap()), ["v0"]);
    }
    send_numbered(&Broker::producer(&broker), "t", "w", 1);
    assert_eq!(counter.woken(), 1, "nobody waits any more");
    let bytes = ready(pin!(consumer.poll_bytes_async()), &waker).unwrap();
    assert_eq!(bytes[0].value.as_deref(), Some(&b"w0"[..]));
}

#[test]
fn only_the_waker_of_the_last_poll_is_woken() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = with_topic(dir.path(), &clock);
    let mut consumer = subscribed(&broker, "g", "t");
    let ((first, first_waker), (last, last_waker)) = (counter(), counter());
    let mut future = pin!(consumer.poll_async());
    assert_pending(future.as_mut(), &first_waker);
    assert_pending(future.as_mut(), &last_waker);
    send_numbered(&Broker::producer(&broker), "t", "v", 1);
    assert_eq!((first.woken(), last.woken()), (0, 1));
}

#[test]
fn a_future_that_is_dropped_loses_nothing_and_is_not_woken() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = with_topic(dir.path(), &clock);
    let mut consumer = subscribed(&broker, "g", "t");
    let (counter, waker) = counter();
    {
        let mut future = pin!(consumer.poll_async());
        assert_pending(future.as_mut(), &waker);
    }
    send_numbered(&Broker::producer(&broker), "t", "v", 2);
    assert_eq!(counter.woken(), 0);
    drop(consumer.poll_async());
    assert_eq!(consumer.position("t", 0).unwrap(), 0);
    assert_eq!(poll_values(&mut consumer).len(), 2);
}

#[test]
fn a_wakeup_and_the_logs_end_are_told_to_a_future() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = with_topic(dir.path(), &clock);
    let mut consumer = subscribed(&broker, "g", "t");
    let handle = consumer.wakeup_handle();
    let (counter, waker) = counter();
    {
        let mut future = pin!(consumer.poll_async());
        assert_pending(future.as_mut(), &waker);
        handle.wakeup();
        assert_eq!(counter.woken(), 1);
        assert!(matches!(ready(future, &waker), Err(Error::Wakeup)));
    }
    let mut future = pin!(consumer.poll_async());
    assert_pending(future.as_mut(), &waker);
    Broker::close(&broker).unwrap();
    assert_eq!(counter.woken(), 2);
    assert!(matches!(ready(future.as_mut(), &waker), Err(Error::Closed)));
    assert!(matches!(ready(future, &waker), Err(Error::Closed)), "and still");
}

#[test]
fn a_member_with_a_pending_future_is_alive_however_long_that_takes() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = with_topic(dir.path(), &clock);
    let mut waiting = subscribed(&broker, "g", "t");
    let (counter, waker) = counter();
    {
        let mut future = pin!(waiting.poll_async());
        assert_pending(future.as_mut(), &waker);
        clock.advance(INTERVAL * 5);
        let mut other = subscribed(&broker, "g", "t");
        assert!(other.assignment().is_empty(), "everything is owned");
        // It is woken to give something up, and does.
        assert!(counter.woken() > 0);
        assert_pending(future.as_mut(), &waker);
        other.poll(NOW).unwrap();
        assert_eq!(other.assignment().len(), 1);
        clock.advance(INTERVAL * 5);
        drop(other);
        assert_pending(future.as_mut(), &waker);
    }
    assert_eq!(waiting.assignment().len(), 2);
    // From the drop of the future on, it has to poll.
    clock.advance(INTERVAL * 2);
    assert_eq!(subscribed(&broker, "g", "t").assignment().len(), 2);
    assert!(waiting.assignment().is_empty());
}

#[test]
fn a_pending_future_that_nobody_polls_when_it_is_woken_keeps_no_partition_for_ever() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = with_topic(dir.path(), &clock);
    let mut stuck = subscribed(&broker, "g", "t");
    let (_, waker) = counter();
    let mut future = pin!(stuck.poll_async());
    assert_pending(future.as_mut(), &waker);
    clock.advance(INTERVAL * 5);
    let mut other = subscribed(&broker, "g", "t");
    clock.advance(INTERVAL);
    other.poll(NOW).unwrap();
    assert!(other.assignment().is_empty());
    clock.advance(INTERVAL);
    other.poll(NOW).unwrap();
    assert_eq!(other.assignment().len(), 2);
}

#[test]
fn the_executors_thread_is_free_while_a_future_waits() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    // One thread runs both: were it blocked by the poll, nothing would ever be sent.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let records = runtime.block_on(async {
        let producer = Broker::producer(&broker);
        let sender = async {
            tokio::task::yield_now().await;
            producer.send(&keyless("t", "v")).unwrap();
        };
        let (records, ()) = tokio::join!(consumer.poll_async(), sender);
        records.unwrap()
    });
    assert_eq!(values(&records), ["v"]);
}

#[test]
fn a_timeout_of_the_executor_ends_a_wait() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waited = runtime.block_on(async {
        tokio::time::timeout(Duration::from_millis(1), consumer.poll_async()).await
    });
    assert!(waited.is_err(), "{waited:?}");
    send_numbered(&Broker::producer(&broker), "t", "v", 1);
    assert_eq!(poll_values(&mut consumer), ["v0"]);
}

#[test]
fn nothing_is_missed_between_looking_and_waiting() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    let count = 300;
    let producer = Broker::producer(&broker);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..count {
                producer.send(&keyless("t", format!("v{number}"))).unwrap();
            }
        });
        runtime.block_on(async {
            let mut read = 0;
            while read < count {
                read += consumer.poll_async().await.unwrap().len();
            }
            read
        })
    });
    assert_eq!(read, count);
}

#[test]
fn a_consumer_and_its_futures_can_go_to_other_threads() {
    fn goes<T: Send>(_: &T) {}
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let mut consumer: Consumer = subscribed(&broker, "g", "t");
    goes(&consumer);
    goes(&consumer.wakeup_handle());
    goes(&consumer.poll_async());
    goes(&consumer.poll_bytes_async());
}
