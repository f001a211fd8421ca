//! The end of a run: nothing is broken any more, everything must go on, and what
//! was seen is put together.

use super::host::Host;
use super::nemesis::Nemesis;
use super::run::Run;
use crate::client::recorder::digest_of;
use crate::disk::{Digest, Limits};
use crate::fault::FaultKind;
use crate::scenario::{During, RecordSpec, Restart, Stop};
use merkql::Result;
use merkql_jepsen::history::{Action as Told, FaultsEnd, Kind, Operation};
use std::time::Duration;

/// Within how much virtual time everything must go on once nothing is broken.
const BOUND: Duration = Duration::from_secs(60);
/// The numbers of the records that are sent at the end begin here.
const END_STEPS: u32 = 1_000_000;

impl Nemesis<'_> {
    pub(super) fn nothing_is_broken(&mut self) {
        self.stage.disk.disarm_all();
        self.limits = Limits::default();
        self.stage.disk.set_limits(self.limits);
        self.stage.clock.set_skew(1_000_000);
    }

    pub(super) fn note_faults_end(&self) {
        let bound_ns = u64::try_from(BOUND.as_nanos()).unwrap_or(u64::MAX);
        let end = FaultsEnd { bound_ns, rest: Vec::new() };
        self.stage.recorder.note("nemesis", Told::FaultsEnd(Box::new(end)));
    }

    /// Nothing is broken any more: everything must go on.
    pub(super) async fn finish(&mut self) {
        self.stage.next().await;
        self.enter(During::End);
        self.nothing_is_broken();
        self.note_faults_end();
        for round in 0..2 {
            self.reopen_if_latched().await;
            if self.ended {
                return;
            }
            self.act(|host| end_round(host, round));
            self.stage.next().await;
        }
        // A clean close keeps everything, too.
        self.restart(
            u32::MAX,
            &Restart { how: Stop::Close, harm: Vec::new(), retention_records: None },
        )
        .await;
        self.act(|host| host.bench.audit(&host.bench.recorder.new_process(), 0));
    }

    pub(super) fn into_run(mut self) -> Run {
        let mut run = std::mem::take(&mut self.run);
        run.struck = self.stage.struck();
        run.armed = self.stage.armed.iter().copied().collect();
        run.history = self.stage.recorder.take();
        run.errors = self.stage.recorder.errors();
        let client = |op: &&Operation| op.kind == Kind::Invoke && op.process.is_client();
        run.client_ops = run.history.operations().iter().filter(client).count() as u64;
        run.detected =
            run.history.operations().iter().any(|op| matches!(op.action, Told::Detected(_)));
        run.io_ops = self.stage.disk.io_ops();
        run.faults = self.stage.disk.fault_counts();
        let retries = self.stage.memory.state().retries;
        if retries.armed > 0 {
            run.faults.insert(FaultKind::AmbiguousAcknowledgement, retries);
        }
        run.marks = self.stage.probe.marks();
        run.canaries_asked = self.stage.probe.canaries_asked();
        let mut digest = Digest::new();
        digest.number(digest_of(&run.history));
        digest.number(self.stage.disk.trace_digest());
        run.trace_hash = digest.value();
        run.events = self.stage.take_events();
        run.stretches = std::mem::take(&mut self.stage.stretches);
        run.stretch_lines = std::mem::take(&mut self.stage.stretch_lines);
        run
    }
}

/// What everybody does once nothing is broken.
fn end_round(host: &mut Host, round: u32) -> Result<()> {
    host.drain();
    let bench = host.bench.clone();
    let producers: Vec<u64> = bench.memory.state().producers.keys().copied().collect();
    for id in producers {
        bench.retry_unanswered(id).unwrap_or_default();
    }
    bench.leave_open();
    let process = bench.recorder.new_process();
    let topics = bench.memory.topics();
    // To each partition: where records were lost, their offsets are given out again.
    for (number, (topic, partitions)) in (0..).zip(topics) {
        let spec = |partition| RecordSpec {
            topic: topic.clone(),
            partition,
            bytes: 20,
            ..RecordSpec::default()
        };
        let specs: Vec<_> = (0..partitions).map(spec).collect();
        let step = END_STEPS + round * 1000 + number;
        bench.send(&process, step, &specs).unwrap_or_default();
    }
    host.drain();
    bench.audit(&process, u64::from(round));
    bench.read_all()
}
