//! How many tests passed, failed, were skipped.
//!
//! libtest knows no skipping at run time: such a test returns early, is counted as passed, and has
//! written a line that begins with `skipped: `, past libtest's capture (that is, by `writeln!` to
//! the standard output or error).

use std::{
    fmt,
    ops::{Add, AddAssign},
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(super) fn of(text: &str) -> Self {
        let mut tally = Self::default();
        for line in text.lines() {
            // With one thread, `test NAME ... ` comes first on the same line.
            if line.starts_with("skipped: ") || line.contains(" ... skipped: ") {
                tally.skipped += 1;
            } else if let Some(result) = line.strip_prefix("test result: ") {
                tally.passed += number_before(result, " passed");
                tally.failed += number_before(result, " failed");
                tally.skipped += number_before(result, " ignored");
                tally.passed += number_before(result, " ignored");
            }
        }
        tally
    }
}

fn number_before(text: &str, word: &str) -> u64 {
    let Some((before, _)) = text.split_once(word) else {
        return 0;
    };
    before.rsplit(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0)
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.passed.saturating_sub(self.skipped);
        write!(f, "{passed} passed, {} failed, {} skipped", self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_test_programs() {
        check(
            "running 2 tests\n\
             test a ... ok\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.1s\n\
             test result: FAILED. 10 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out\n",
            "12 passed, 3 failed, 1 skipped",
        );
    }

    #[test]
    fn a_skipped_test_is_not_a_passed_one() {
        check(
            "test a ... skipped: needs CAP_BPF\nok\nskipped: no nft\ntest b ... ok\ntest result: ok. 3 passed; 0 failed",
            "1 passed, 0 failed, 2 skipped",
        );
    }

    #[test]
    fn words_about_skipping_do_not_count() {
        check(
            "test skipped_tests ... ok\nwe skipped: that\ntest result: ok. 1 passed; 0 failed",
            "1 passed, 0 failed, 0 skipped",
        );
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(Tally::of(text).to_string(), want);
    }
}
