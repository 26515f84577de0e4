//! The middle of some numbers, and how far they stray from it.

/// Median and spread: the median distance from the median, which one odd round does not move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) spread: f64,
}

impl Summary {
    /// Of no numbers it is NaN: unknown, not 0.
    pub(super) fn of(numbers: &[f64]) -> Self {
        let middle = median(numbers);
        let distances: Vec<_> = numbers.iter().map(|it| (it - middle).abs()).collect();
        Self { median: middle, spread: median(&distances) }
    }
}

/// Of neighbours: both rounds of a pair had the same weather.
pub(super) fn ratios(on: &[f64], off: &[f64]) -> Vec<f64> {
    on.iter().zip(off).map(|(on, off)| on / off).collect()
}

pub(super) fn differences(on: &[f64], off: &[f64]) -> Vec<f64> {
    on.iter().zip(off).map(|(on, off)| on - off).collect()
}

/// At least `share` (0 to 1) of the numbers are at most this.
pub(super) fn percentile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_even_and_one() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn one_odd_round_moves_neither_median_nor_spread() {
        let calm = Summary::of(&[10.0, 11.0, 9.0, 10.0, 12.0]);
        let odd = Summary::of(&[10.0, 11.0, 9.0, 10.0, 1200.0]);
        assert_eq!(calm, Summary { median: 10.0, spread: 1.0 });
        assert_eq!(calm, odd);
    }

    #[test]
    fn pairs_share_their_weather() {
        // The machine slows down by half, the agent costs a tenth all the time.
        let off = [100.0, 150.0, 200.0];
        let on = [110.0, 165.0, 220.0];
        let ratio = Summary::of(&ratios(&on, &off));
        assert!((ratio.median - 1.1).abs() < 1e-9 && ratio.spread < 1e-9, "{ratio:?}");
        assert_eq!(Summary::of(&differences(&on, &off)), Summary { median: 15.0, spread: 5.0 });
    }

    #[test]
    fn a_percentile_is_one_of_the_numbers() {
        let numbers: Vec<_> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&numbers, 0.99), 198.0);
        assert_eq!(percentile(&numbers, 1.0), 200.0);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
