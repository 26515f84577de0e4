//! How long to wait before the next try.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Doubles from `first` to `max`; half of each wait is random, so that agents do not march in step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max }
    }

    /// Our own wait, or what the collector `asked` for if that is longer, up to `max`: a `Retry-After: 0`
    /// must not make us ask without a pause.
    pub(super) fn next(&mut self, asked: Option<Duration>, random: u32) -> Duration {
        let wait = self.next.min(self.max);
        self.next = wait.saturating_mul(2);
        let own = wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX));
        asked.unwrap_or_default().min(self.max).max(own)
    }
}

/// Good enough for spreading: std seeds each `RandomState` differently.
pub(super) fn random() -> u32 {
    let hash = RandomState::new().hash_one(0_u8);
    u32::try_from(hash >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_limit_and_stays() {
        assert_eq!(waits(u32::MAX, &[None; 4]), [500, 1000, 2000, 2000]);
    }

    #[test]
    fn at_least_half_is_waited() {
        assert_eq!(waits(0, &[None; 4]), [250, 500, 1000, 1000]);
    }

    #[test]
    fn the_collector_may_ask_but_not_for_ever() {
        let asked = [Some(Duration::from_millis(700)), Some(Duration::from_secs(86_400)), None];
        assert_eq!(waits(u32::MAX, &asked), [700, 2000, 2000]);
    }

    #[test]
    fn at_once_is_not_taken_literally() {
        assert_eq!(waits(0, &[Some(Duration::ZERO); 4]), [250, 500, 1000, 1000]);
    }

    fn waits(random: u32, asked: &[Option<Duration>]) -> Vec<u128> {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));
        asked.iter().map(|it| backoff.next(*it, random).as_millis()).collect()
    }
}
