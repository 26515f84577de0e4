//! A warning that repeats: once per ten seconds, with the number of those that were left out.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Ktime;

const PERIOD: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// 0: never.
    last: AtomicU64,
    left_out: AtomicU64,
}

impl Throttle {
    /// `Some`: say it, and how many were left out since the last time.
    pub(crate) fn pass(&self, now: Ktime) -> Option<u64> {
        let last = self.last.load(Ordering::Relaxed);
        if last != 0 && now.since(Ktime(last)) < PERIOD {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.last.store(now.0.max(1), Ordering::Relaxed);
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_seconds_and_the_rest_counted() {
        let throttle = Throttle::default();
        let got = [0, 1, 9, 10, 11, 40].map(|secs| throttle.pass(Ktime(secs * 1_000_000_000 + 1)));
        assert_eq!(got, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
