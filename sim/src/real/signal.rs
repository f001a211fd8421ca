//! A child process and the signals that it is sent.

use super::{Outcome, because};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

/// A child that does not outlive this value.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, signal).map_err(because("cannot signal the child"))
    }

    /// Stops it for a while.
    pub(crate) fn pause(&self, time: Duration) -> Outcome<()> {
        self.signal(Signal::STOP)?;
        thread::sleep(time);
        self.signal(Signal::CONT)
    }

    /// Kills it, and waits until it is no more. Returns how it ended.
    pub(crate) fn kill(&mut self) -> Outcome<ExitStatus> {
        // One that has ended and was waited for cannot be killed, and need not be.
        self.0.kill().map_err(because("cannot kill the child"))?;
        self.0.wait().map_err(because("cannot wait for the child"))
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> Outcome<ExitStatus> {
        self.0.wait().map_err(because("cannot wait for the child"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has been waited for is left alone by both.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
