//! Durations in few buckets, each twice as wide as the one before: enough to see two humps.

use std::time::Duration;

const BUCKETS: usize = 16;

/// The first bucket ends at so many nanoseconds; the last one has no end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubling<const FIRST_NS: u64>([u32; BUCKETS]);

/// From 16 µs to 262 ms.
pub type RoundTrips = Doubling<16_000>;
/// From 250 µs to 4.1 s: a SYN is repeated after one second.
pub type ConnectTimes = Doubling<250_000>;

impl<const FIRST_NS: u64> Doubling<FIRST_NS> {
    pub(super) fn record(&mut self, duration: Duration) {
        let place = (0..BUCKETS - 1).find(|place| duration <= Self::upper(*place)).unwrap_or(BUCKETS - 1);
        self.0[place] = self.0[place].saturating_add(1);
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    fn upper(place: usize) -> Duration {
        Duration::from_nanos(FIRST_NS << place)
    }

    /// How many were at most so long, and longer than the one before; `None`: longer than all of them.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let upper = |place| (place < BUCKETS - 1).then(|| Self::upper(place));
        self.0.iter().enumerate().map(move |(place, count)| (upper(place), u64::from(*count)))
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }

    /// The upper boundary of the bucket in the middle; `None` when it is empty, or the last one.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        let half = self.count().div_ceil(2).max(1);
        let mut below = 0;
        self.buckets().find_map(|(upper, count)| {
            below += count;
            (half <= below).then_some(upper)
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_ends_where_the_next_begins() {
        let mut times = RoundTrips::default();
        for micros in [0, 16, 17, 32, 262_144, 262_145, 10_000_000] {
            times.record(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = times.buckets().map(|(_, count)| count).collect();
        assert_eq!((&counts[..3], &counts[13..]), (&[2, 2, 0][..], &[0, 1, 2][..]));
        let last = times.buckets().filter_map(|(upper, _)| upper).last();
        assert_eq!(last, Some(Duration::from_micros(262_144)));
        assert_eq!((times.count(), times.median()), (7, Some(Duration::from_micros(32))));
    }

    #[test]
    fn merged_ones_are_as_if_recorded_in_one() {
        let [mut one, mut other, mut both] = [RoundTrips::default(); 3];
        one.record(Duration::from_micros(20));
        for micros in [20, 500_000] {
            other.record(Duration::from_micros(micros));
        }
        for micros in [20, 20, 500_000] {
            both.record(Duration::from_micros(micros));
        }
        one.merge(&other);
        assert_eq!(one, both);
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(ConnectTimes::default().median(), None);
        let mut long = ConnectTimes::default();
        long.record(Duration::from_secs(7));
        assert_eq!(long.median(), None);
        assert_eq!(long.buckets().filter_map(|(upper, _)| upper).last().unwrap().as_millis(), 4096);
    }
}
