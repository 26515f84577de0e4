//! Tables: aligned, without borders, never wrapped.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{Format, Headers, Paint, Style};

const GAP: u16 = 2;

/// A column of a table of `T`s.
pub(super) struct Column<T> {
    pub(super) title: &'static str,
    pub(super) shown: Shown,
    pub(super) side: Side,
    /// The second argument is the time of the answer.
    pub(super) cell: fn(&T, u64) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Always,
    Wide,
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    Left,
    Right,
}

/// A text.
pub(super) const fn text<T>(title: &'static str, cell: fn(&T, u64) -> String) -> Column<T> {
    Column { title, shown: Shown::Always, side: Side::Left, cell }
}

/// A number.
pub(super) const fn number<T>(title: &'static str, cell: fn(&T, u64) -> String) -> Column<T> {
    Column { title, shown: Shown::Always, side: Side::Right, cell }
}

/// Only with `-o wide`.
pub(super) const fn wide<T>(column: Column<T>) -> Column<T> {
    Column { shown: Shown::Wide, ..column }
}

/// How much a row wants to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Calm,
    Warning,
    Alarm,
}

pub(super) fn write<T>(
    rows: &[T],
    columns: &[Column<T>],
    now_ns: u64,
    tone: fn(&T) -> Tone,
    style: &Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let columns: Vec<_> =
        columns.iter().filter(|it| it.shown == Shown::Always || style.format == Format::Wide).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let mut tones = Vec::new();
    if style.headers == Headers::Shown {
        table.add_row(columns.iter().map(|it| it.title));
        tones.push("\x1b[1m");
    }
    for row in rows {
        table.add_row(columns.iter().map(|it| printable(&(it.cell)(row, now_ns))));
        tones.push(escape(tone(row)));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(drawn) = table.column_mut(index) {
            drawn.set_padding((0, GAP)).set_cell_alignment(match column.side {
                Side::Left => CellAlignment::Left,
                Side::Right => CellAlignment::Right,
            });
        }
    }
    for (line, escape) in table.lines().zip(tones) {
        let line = line.trim_end();
        match style.paint {
            Paint::Colors if !escape.is_empty() => writeln!(out, "{escape}{line}\x1b[0m")?,
            Paint::Colors | Paint::Plain => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

pub(super) fn calm<T>(_: &T) -> Tone {
    Tone::Calm
}

/// Names come from the watched processes: what they put there must not command the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|it| if commands(it) { char::REPLACEMENT_CHARACTER } else { it }).collect()
}

/// Whether a terminal obeys it rather than shows it: controls, what turns the direction of writing
/// around, what ends a line, what takes no room.
pub(in crate::query) fn commands(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escape(tone: Tone) -> &'static str {
    match tone {
        Tone::Calm => "",
        Tone::Warning => "\x1b[33m",
        Tone::Alarm => "\x1b[31m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column<(u64, &str)>] = &[
        number("N", |row, _| row.0.to_string()),
        wide(text("TWICE", |row, _| row.1.repeat(2))),
        text("NAME", |row, _| row.1.to_owned()),
    ];
    const ROWS: &[(u64, &str)] = &[(5, "a"), (1234, "longer")];

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        check(ROWS, Format::Table, Headers::Shown, Paint::Plain, "   N  NAME\n   5  a\n1234  longer\n");
        check(ROWS, Format::Table, Headers::Hidden, Paint::Plain, "   5  a\n1234  longer\n");
    }

    #[test]
    fn wide_shows_more() {
        check(&ROWS[..1], Format::Wide, Headers::Shown, Paint::Plain, "N  TWICE  NAME\n5  aa     a\n");
    }

    #[test]
    fn colors_are_asked_for() {
        let want = "\x1b[1m   N  NAME\x1b[0m\n   5  a\n\x1b[31m1234  longer\x1b[0m\n";
        check(ROWS, Format::Table, Headers::Shown, Paint::Colors, want);
    }

    #[test]
    fn foreign_names_cannot_command_the_terminal() {
        let row = [(1, "a\x1b[2J\nb")];
        check(&row, Format::Table, Headers::Hidden, Paint::Plain, "1  a\u{fffd}[2J\u{fffd}b\n");
        for hidden in "\u{9b}\u{202a}\u{202e}\u{2066}\u{2069}\u{200b}\u{200f}\u{2028}\u{2029}\u{feff}".chars()
        {
            assert_eq!(printable(&format!("a{hidden}b")), "a\u{fffd}b", "{:x}", u32::from(hidden));
        }
        assert_eq!(printable("naïve → 名前"), "naïve → 名前");
    }

    #[track_caller]
    fn check(rows: &[(u64, &'static str)], format: Format, headers: Headers, paint: Paint, want: &str) {
        let tone = |row: &(u64, &'static str)| if 1000 < row.0 { Tone::Alarm } else { Tone::Calm };
        let mut out = Vec::new();
        write(rows, COLUMNS, 0, tone, &Style { format, headers, paint }, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
