//! Durations in buckets that grow by a quarter of a power of two: at most 19 % too large.

use std::time::Duration;

/// Buckets for each power of two.
const STEPS: u32 = 4;
/// 2^10 ns (about 1 µs) is the first boundary, 2^40 ns (18 minutes) the last.
const FIRST_POWER: u32 = 10;
const LAST_POWER: u32 = 40;
const BUCKETS: usize = ((LAST_POWER - FIRST_POWER) * STEPS) as usize + 1;

/// Counts of durations. 1 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    sum: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), count: 0, sum: Duration::ZERO }
    }
}

impl Histogram {
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// Adds all of another one: exact, because all have the same buckets.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The upper boundary of the bucket that holds the `quantile` (0 to 1) of all; `None` when empty.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "a rank among 2^53 requests is exact enough")]
        let rank = (self.count as f64 * quantile.clamp(0.0, 1.0)).ceil().max(1.0);
        let mut below = 0_u64;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            if 0 < self.count && rank <= below as f64 {
                return Some(Duration::from_nanos(upper_bound(index)));
            }
        }
        None
    }

    /// From the first bucket that holds something to the last one: upper boundary and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let first = self.counts.iter().position(|count| *count != 0).unwrap_or(BUCKETS);
        let end = self.counts.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
        let counts = self.counts.iter().enumerate().take(end).skip(first);
        counts.map(|(index, count)| (Duration::from_nanos(upper_bound(index)), *count))
    }

    /// How many are at most each of the ascending `bounds`, and after them how many are longer.
    #[must_use]
    pub fn rebucket(&self, bounds: &[Duration]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len() + 1];
        for (index, count) in self.counts.iter().enumerate() {
            let upper = Duration::from_nanos(upper_bound(index));
            let slot = bounds.partition_point(|bound| *bound < upper);
            counts[slot] += count;
        }
        counts
    }
}

/// Bucket `n` holds what is at most `upper_bound(n)` and more than the one before.
fn bucket(nanos: u64) -> usize {
    let power = nanos.max(1).ilog2().clamp(FIRST_POWER, LAST_POWER);
    let first = (power - FIRST_POWER) * STEPS;
    (first as usize..BUCKETS - 1).find(|&index| nanos <= upper_bound(index)).unwrap_or(BUCKETS - 1)
}

fn upper_bound(index: usize) -> u64 {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let power = FIRST_POWER + index / STEPS;
    let step = u64::from(index % STEPS);
    (1_u64 << power) + ((1_u64 << power) / u64::from(STEPS)) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_quarter_too_large() {
        for micros in [2, 50, 333, 1000, 45_000, 10_000_000] {
            let mut histogram = Histogram::default();
            histogram.record(Duration::from_micros(micros));
            let got = histogram.quantile(0.5).unwrap().as_secs_f64();
            let want = micros as f64 / 1e6;
            assert!((want..=want * 1.25).contains(&got), "{micros} us: {got}");
        }
    }

    #[test]
    fn quantiles_of_many() {
        let mut histogram = Histogram::default();
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        let p99 = histogram.quantile(0.99).unwrap().as_millis();
        assert!((99..=124).contains(&p99), "{p99}");
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.sum(), Duration::from_millis(5050));
    }

    /// Not the mean of two quantiles: one quantile of both.
    #[test]
    fn merged_ones_are_as_if_recorded_in_one() {
        let (mut quick, mut slow, mut both) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for n in 0..1000 {
            let (histogram, millis) = if n % 50 == 0 { (&mut slow, 400 + n) } else { (&mut quick, n % 7) };
            histogram.record(Duration::from_millis(millis));
            both.record(Duration::from_millis(millis));
        }
        assert!(quick.quantile(0.99) < both.quantile(0.99));
        quick.merge(&slow);
        assert_eq!(quick, both);
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn buckets_are_those_between_the_shortest_and_the_longest() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.buckets().count(), 0);
        for micros in [100, 100, 180] {
            histogram.record(Duration::from_micros(micros));
        }
        let buckets: Vec<_> = histogram.buckets().map(|(upper, n)| (upper.as_nanos(), n)).collect();
        assert_eq!(buckets, [(114_688, 2), (131_072, 0), (163_840, 0), (196_608, 1)]);
    }

    #[test]
    fn extremes_are_kept() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.rebucket(&[Duration::from_secs(1)]), [1, 1]);
    }
}
