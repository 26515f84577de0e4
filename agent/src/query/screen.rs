//! Where the output of a command goes, and how one frame replaces another there.

use std::{fmt::Write as _, io::Write};

/// Where the output of a command goes.
pub struct Screen<'a> {
    /// For results.
    pub out: &'a mut dyn Write,
    /// For everything else.
    pub notes: &'a mut dyn Write,
    pub kind: ScreenKind,
    /// Of the terminal, which may change at any time; `None` where there is none.
    pub size: fn() -> Option<Size>,
}

/// What is behind [`Screen::out`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenKind {
    Terminal,
    Pipe,
}

/// In characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

const CLEAR: &str = "\x1b[2J";
const HOME: &str = "\x1b[H";
const ERASE_REST_OF_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";
/// Between the two the terminal shows nothing new; one that does not know them ignores them.
const HOLD: &str = "\x1b[?2026h";
const SHOW: &str = "\x1b[?2026l";

/// A terminal on which frames replace each other. Each is drawn over the one before and only what is left
/// of that is erased: what does not change does not flicker.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    has_begun: bool,
}

impl Canvas {
    /// What to write for the terminal to show the frame, or as much of it as fits.
    #[must_use]
    pub(super) fn draw(&mut self, frame: &str, size: Option<Size>) -> String {
        let mut drawn = String::with_capacity(frame.len() + frame.len() / 8);
        drawn.push_str(HOLD);
        if !self.has_begun {
            drawn.push_str(CLEAR);
            self.has_begun = true;
        }
        drawn.push_str(HOME);
        let n_fitting = size.map_or(usize::MAX, |size| fitting(frame, size));
        for line in frame.lines().take(n_fitting) {
            drawn.push_str(line);
            drawn.push_str(ERASE_REST_OF_LINE);
            drawn.push('\n');
        }
        if let n @ 1.. = frame.lines().count().saturating_sub(n_fitting) {
            let _infallible = writeln!(drawn, "… {n} more lines: `--limit`, `--sort`{ERASE_REST_OF_LINE}");
        }
        drawn.push_str(ERASE_BELOW);
        drawn.push_str(SHOW);
        drawn
    }
}

/// How many of the first lines: the last row is the cursor's, and the one above tells of the others.
fn fitting(frame: &str, Size { columns, rows }: Size) -> usize {
    let n_rows = |line: &str| width(line).div_ceil(columns.max(1)).max(1);
    let all: usize = frame.lines().map(n_rows).sum();
    if all < rows {
        return usize::MAX;
    }
    let mut left = rows.saturating_sub(2);
    frame
        .lines()
        .take_while(|line| {
            left.checked_sub(n_rows(line)).is_some_and(|it| {
                left = it;
                true
            })
        })
        .count()
}

/// In columns, if each character takes one; without what sets colors.
fn width(line: &str) -> usize {
    let mut is_escape = false;
    let seen = line.chars().filter(|it| {
        is_escape = is_escape || *it == '\x1b';
        let is_seen = !is_escape;
        is_escape = is_escape && *it != 'm';
        is_seen
    });
    seen.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_drawn_over_the_one_before() {
        let mut canvas = Canvas::default();
        let first = canvas.draw("a\nlonger\n", None);
        assert_eq!(first, "\x1b[?2026h\x1b[2J\x1b[Ha\x1b[K\nlonger\x1b[K\n\x1b[J\x1b[?2026l");
        assert_eq!(canvas.draw("b\n", None), "\x1b[?2026h\x1b[Hb\x1b[K\n\x1b[J\x1b[?2026l");
    }

    /// A terminal that scrolls moves the frame before out of its place.
    #[test]
    fn a_frame_does_not_scroll() {
        let frame: String = (1..=9).map(|n| format!("\x1b[31mline {n}\x1b[0m\n")).collect();
        check(&frame, 80, 10, 9, None);
        check(&frame, 80, 9, 7, Some("… 2 more lines"));
        check(&frame, 3, 10, 4, Some("… 5 more lines"));
        check(&frame, 80, 1, 0, Some("… 9 more lines"));
        check(&frame, 0, 0, 0, Some("… 9 more lines"));
    }

    #[track_caller]
    fn check(frame: &str, columns: usize, rows: usize, n_lines: usize, more: Option<&str>) {
        let drawn = Canvas::default().draw(frame, Some(Size { columns, rows }));
        assert_eq!(drawn.matches("line ").count(), n_lines, "{drawn:?}");
        assert_eq!(drawn.contains('…'), more.is_some(), "{drawn:?}");
        assert!(more.is_none_or(|more| drawn.contains(more)), "{drawn:?}");
    }
}
