use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for anything: only one that fails takes so long, and a machine may be slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `done` until it is `Some`, for at most [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, done)
}

/// As [`eventually`], for what takes longer than anything should.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "tests wait in real time")]
pub fn within<T>(patience: Duration, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < patience, "waited {} s for: {what}", patience.as_secs());
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_until_there_is_an_answer() {
        let mut asked = 0;
        let got = eventually("the third time", || {
            asked += 1;
            (asked == 3).then_some("here")
        });
        assert_eq!((got, asked), ("here", 3));
    }
}
