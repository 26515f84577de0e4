//! Who talks to whom just now: what each edge did since the frame before.

use std::io::{self, Write};

use super::{
    Headers, Style, server_name,
    table::{self, Column, Tone, number, text, wide},
    topology, units,
};
use crate::query::live::{Change, Rates, Row, State};

/// At most `limit` edges; those that are gone do not count.
pub(in crate::query) fn write(
    change: &Change<'_>,
    limit: Option<u64>,
    style: &Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut rows = change.rows();
    if style.headers == Headers::Shown {
        writeln!(out, "{}\n", summary(&rows, change.seconds()))?;
    }
    let limit = limit.and_then(|it| usize::try_from(it).ok()).unwrap_or(usize::MAX);
    let mut n_shown = 0;
    rows.retain(|row| {
        n_shown += usize::from(row.state != State::Gone);
        // Whoever does not see all of them cannot say which of those he saw is gone.
        if row.state == State::Gone { limit == usize::MAX } else { n_shown <= limit }
    });
    table::write(&rows, &columns(), change.now.head.time, tone, style, out)
}

fn summary(rows: &[Row<'_>], seconds: Option<f64>) -> String {
    let count = |state: State| rows.iter().filter(|row| row.state == state).count();
    let n_edges = rows.len() - count(State::Gone);
    let Some(seconds) = seconds else {
        return format!("{n_edges} edges; what they do comes with the next frame");
    };
    let states = [
        (State::Failing, "failing"),
        (State::Errors, "with errors"),
        (State::New, "new"),
        (State::Gone, "gone"),
    ];
    let words = states.map(|(state, word)| (count(state), word));
    let words: String =
        words.iter().filter(|(n, _)| *n != 0).map(|(n, word)| format!(", {n} {word}")).collect();
    format!("{n_edges} edges{words}; within the last {}", units::duration(seconds))
}

/// A function, because an edge borrows from its answer.
fn columns<'a>() -> [Column<Row<'a>>; 13] {
    [
        number("SENT", |row, _| bytes(row, |it| it.sent_bytes)),
        number("RECEIVED", |row, _| bytes(row, |it| it.received_bytes)),
        number("CONNS", |row, _| count(row, |it| it.opened)),
        number("FAILED", |row, _| count(row, |it| it.failed)),
        number("REQUESTS", |row, _| count(row, |it| it.requests)),
        number("ERRORS", |row, _| count(row, |it| it.errors)),
        wide(number("RETRANS", |row, _| count(row, |it| it.retransmits))),
        number("P99", |row, _| {
            time(&topology::requests(&row.edge, |it| it.p99_seconds.map(units::duration)))
        }),
        number("RTT", |row, _| time(&topology::network(&row.edge, |it| it.rtt_seconds.map(units::duration)))),
        number("OPEN", |row, _| topology::connections(&row.edge, |it| it.active)),
        wide(text("ID", |row, _| format!("{:016x}", row.edge.numbers.id))),
        text("STATE", |row, _| format!("{:7}", state(row.state))),
        text("EDGE", |row, _| format!("{} → {}", row.edge.client_name, server_name(&row.edge))),
    ]
}

/// Nothing is nothing, without a unit, so that the eye finds the rest.
fn rate(row: &Row<'_>, of: fn(&Rates) -> f64, unit: fn(f64) -> String) -> String {
    units::or_unknown(row.rates.as_ref().map(of), |it| if it == 0.0 { "0".to_owned() } else { unit(it) })
}

/// Columns do not move from frame to frame when a number gets another digit.
fn padded(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}

fn bytes(row: &Row<'_>, of: fn(&Rates) -> f64) -> String {
    padded(&rate(row, of, units::byte_rate), "1023 KiB/s".len())
}

fn count(row: &Row<'_>, of: fn(&Rates) -> f64) -> String {
    padded(&rate(row, of, units::rate), "9999 /s".len())
}

fn time(text: &str) -> String {
    padded(text, "119 ms".len())
}

fn state(state: State) -> &'static str {
    match state {
        State::Steady => "",
        State::New => "new",
        State::Gone => "gone",
        State::Errors => "errors",
        State::Failing => "failing",
    }
}

fn tone(row: &Row<'_>) -> Tone {
    match row.state {
        State::Failing => Tone::Alarm,
        State::Errors => Tone::Warning,
        State::Steady | State::New | State::Gone => Tone::Calm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{
        live::{Watcher, tests},
        print::{Format, Paint, samples::compare},
        samples,
    };

    #[test]
    fn frames() {
        let mut watcher = Watcher::default();
        watcher.see(tests::answer(&samples::snapshot()));
        let change = watcher.see(tests::answer(&tests::later())).unwrap();
        compare(&text(&change, Format::Table, None), "topology.watch.txt");
        compare(&text(&change, Format::Wide, None), "topology.watch.wide.txt");
        // Of more it is not said that they are gone: nobody asked for them.
        assert_eq!(text(&change, Format::Table, Some(1)).lines().count(), 4);
    }

    #[test]
    fn the_first_frame_has_no_rates() {
        let mut watcher = Watcher::default();
        let first = watcher.see(tests::answer(&samples::snapshot())).unwrap();
        let text = text(&first, Format::Table, None);
        assert!(text.starts_with("2 edges; what they do comes with the next frame\n"), "{text}");
    }

    fn text(change: &Change<'_>, format: Format, limit: Option<u64>) -> String {
        let mut out = Vec::new();
        let style = Style { format, headers: Headers::Shown, paint: Paint::Plain };
        write(change, limit, &style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}
