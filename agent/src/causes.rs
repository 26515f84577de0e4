//! An error with its causes, in one line.

use std::error::Error;

/// The cause of a failed connection is some levels down. What a level repeats of the next is said once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Level {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn each_level_is_said_once() {
        let level = |text, source: Option<Level>| Level { text, source: source.map(Box::new) };
        let check = |error: Level, want: &str| assert_eq!(chain(&error), want);
        check(level("a", None), "a");
        check(level("x", Some(level("y", Some(level("z", None))))), "x: y: z");
        check(level("cannot read f: gone", Some(level("gone", None))), "cannot read f: gone");
    }
}
