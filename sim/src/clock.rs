//! Virtual time.

use merkql::env::{Clock, Signal};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where wall time begins: 2024-01-01, so that timestamps look like timestamps.
const WALL_START: Duration = Duration::from_secs(1_704_067_200);

/// A clock that moves only when it is told to, or when somebody waits on it.
///
/// It never blocks: a wait for something that has not happened advances time to
/// the deadline and returns. So only one thread at a time may live on it.
#[derive(Debug, Default)]
pub struct SimClock(Mutex<Time>);

#[derive(Debug, Default)]
struct Time {
    monotonic: Duration,
    wall: Wall,
}

/// Wall time as a function of monotonic time: a line that jumps and skews bend.
#[derive(Debug)]
struct Wall {
    /// The point from which the line is drawn, in monotonic time and in wall time.
    from: Duration,
    at_from: Duration,
    /// How many wall nanoseconds pass in a million monotonic ones.
    rate_ppm: u32,
}

impl Default for Wall {
    fn default() -> Self {
        Self { from: Duration::ZERO, at_from: WALL_START, rate_ppm: 1_000_000 }
    }
}

impl Wall {
    fn at(&self, monotonic: Duration) -> Duration {
        let passed = monotonic.saturating_sub(self.from).as_nanos();
        let skewed = passed.saturating_mul(u128::from(self.rate_ppm)) / 1_000_000;
        let skewed = Duration::from_nanos(u64::try_from(skewed).unwrap_or(u64::MAX));
        self.at_from.saturating_add(skewed)
    }
}

impl Time {
    /// Makes the present the point from which wall time goes on.
    fn rebase(&mut self, wall: Duration) {
        self.wall = Wall { from: self.monotonic, at_from: wall, rate_ppm: self.wall.rate_ppm };
    }
}

impl SimClock {
    /// A clock at its origin.
    pub fn new() -> Self {
        Self::default()
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut time = self.time();
        time.monotonic = time.monotonic.saturating_add(by);
    }

    /// Sets wall time (R13): a jump in either direction. Monotonic time stays.
    pub fn set_wall(&self, wall: Duration) {
        self.time().rebase(wall);
    }

    /// Moves wall time forward (R13).
    pub fn jump_forward(&self, by: Duration) {
        let mut time = self.time();
        let wall = time.wall.at(time.monotonic).saturating_add(by);
        time.rebase(wall);
    }

    /// Moves wall time back, at most to 1970 (R13).
    pub fn jump_back(&self, by: Duration) {
        let mut time = self.time();
        let wall = time.wall.at(time.monotonic).saturating_sub(by);
        time.rebase(wall);
    }

    /// Makes wall time pass faster or slower from here on (R13): 1,000,000 is
    /// right, 0 stands still.
    pub fn set_skew(&self, rate_ppm: u32) {
        let mut time = self.time();
        let wall = time.wall.at(time.monotonic);
        time.rebase(wall);
        time.wall.rate_ppm = rate_ppm;
    }
}

impl Clock for SimClock {
    fn wall(&self) -> Duration {
        let time = self.time();
        time.wall.at(time.monotonic)
    }

    fn monotonic(&self) -> Duration {
        self.time().monotonic
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Duration) -> bool {
        if signal.count() > seen {
            return true;
        }
        let mut time = self.time();
        time.monotonic = time.monotonic.max(deadline);
        drop(time);
        // Whoever is called from within the advance may have moved it.
        signal.count() > seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_jumps_and_skews_while_monotonic_time_goes_on() {
        let clock = SimClock::new();
        clock.advance(Duration::from_secs(10));
        assert_eq!(clock.wall(), WALL_START + Duration::from_secs(10));
        clock.jump_back(Duration::from_secs(60));
        assert_eq!(clock.wall() + Duration::from_secs(50), WALL_START);
        clock.set_skew(500_000);
        clock.advance(Duration::from_secs(4));
        assert_eq!(clock.wall() + Duration::from_secs(48), WALL_START);
        clock.jump_forward(Duration::from_secs(48));
        assert_eq!(clock.wall(), WALL_START);
        clock.set_wall(Duration::ZERO);
        clock.jump_back(Duration::from_secs(1));
        assert_eq!(clock.wall(), Duration::ZERO);
        assert_eq!(clock.monotonic(), Duration::from_secs(14));
    }
}
