//! The only place that reads a clock.
//!
//! The kernel half stamps with CLOCK_MONOTONIC; people and OTLP want wall time. The difference is
//! read at start and again with each [`Clock::resync`], so that a step of the wall clock is followed.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Nanoseconds of CLOCK_MONOTONIC: since boot, without suspend. What the kernel half stamps.
///
/// May run backwards between CPUs, so subtraction saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ktime(pub u64);

impl Ktime {
    /// Zero when `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl fmt::Display for Wall {
    /// RFC 3339 in UTC with nanoseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0);
        match jiff::Timestamp::from_nanosecond(nanos) {
            Ok(timestamp) => write!(f, "{timestamp:.9}"),
            Err(_) => write!(f, "{nanos} ns"),
        }
    }
}

/// Converts between the two.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Wall minus monotonic.
    offset_ns: u64,
    /// Wall minus boot time, which goes on while the machine is suspended.
    boot_offset_ns: u64,
}

impl Clock {
    #[must_use]
    pub fn new() -> Self {
        let mut clock = Self { offset_ns: 0, boot_offset_ns: 0 };
        clock.resync();
        clock
    }

    /// For tests whose output must not depend on when they run.
    #[cfg(test)]
    pub(crate) fn at_offset(offset_ns: u64) -> Self {
        Self { offset_ns, boot_offset_ns: offset_ns }
    }

    /// Follows a wall clock that was set since.
    pub fn resync(&mut self) {
        let wall = wall_now();
        self.offset_ns = wall.0.saturating_sub(now().0);
        self.boot_offset_ns = wall.0.saturating_sub(nanos(rustix::time::ClockId::Boottime));
    }

    #[must_use]
    pub fn wall(&self, ktime: Ktime) -> Wall {
        Wall(ktime.0.saturating_add(self.offset_ns))
    }

    /// Of a time since boot that counts suspend, as that of a process's start does.
    #[must_use]
    pub fn wall_since_boot(&self, since_boot: Duration) -> Wall {
        let since_boot = u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX);
        Wall(since_boot.saturating_add(self.boot_offset_ns))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The monotonic clock now.
#[must_use]
pub fn now() -> Ktime {
    Ktime(nanos(rustix::time::ClockId::Monotonic))
}

/// How long the kernel's tick is, in which it measures time-outs: what its coarse clocks are rounded to.
#[must_use]
pub fn jiffy() -> Duration {
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    Duration::try_from(tick).unwrap_or_default()
}

fn nanos(clock: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// CPU time of this process so far.
#[must_use]
pub fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// CPU time of the calling thread so far.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
fn wall_now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_runs_backwards_is_no_time() {
        assert_eq!(Ktime(5).since(Ktime(7)), Duration::ZERO);
        assert_eq!(Ktime(7).since(Ktime(5)), Duration::from_nanos(2));
        assert_eq!(Ktime(u64::MAX).plus(Duration::from_secs(1)), Ktime(u64::MAX));
        assert_eq!(Ktime(1).minus(Duration::from_secs(1)), Ktime(0));
    }

    #[test]
    fn wall_time_is_rfc_3339_with_nanoseconds() {
        assert_eq!(Wall(1_000_000_007).to_string(), "1970-01-01T00:00:01.000000007Z");
    }

    #[test]
    fn both_clocks_agree() {
        let wall = Clock::new().wall(now());
        assert!(wall_now().0.abs_diff(wall.0) < 1_000_000_000);
    }
}
