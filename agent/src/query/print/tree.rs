//! One trace as a tree: when each span began, how long it took, who called whom.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{
    Style,
    table::{self, Column, Tone, number, printable, text},
    units,
};
use crate::{
    export::semconv,
    query::proto::{Span, SpanEvent, TraceAnswer, TraceTree, Value, value},
};

const BAR: usize = 24;

/// A span with its place in the tree, or what hit it.
struct Row<'a> {
    span: &'a Span,
    event: Option<&'a SpanEvent>,
    depth: usize,
    trace: &'a TraceTree,
}

pub(super) fn write(answer: &TraceAnswer, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    for trace in &answer.items {
        let TraceTree { trace_id, duration_seconds, spans, services, status, .. } = trace;
        writeln!(
            out,
            "trace {trace_id}: {}, {} spans of {services} services, {}",
            units::duration(*duration_seconds),
            spans.len(),
            printable(status),
        )?;
        let rows = in_order(trace);
        if let Some(summary) = summary(&rows) {
            writeln!(out, "{summary}")?;
        }
        table::write(&rows, &columns(), 0, tone, style, out)?;
    }
    Ok(())
}

fn columns<'a>() -> [Column<Row<'a>>; 5] {
    [
        number("BEGAN", |row, _| format!("+{}", units::duration(offset_seconds(row)))),
        number("TOOK", |row, _| units::or_unknown(took_seconds(row), units::duration)),
        text("", |row, _| bar(row)),
        text("STATUS", |row, _| row.event.map_or_else(|| status(row.span), |_| String::new())),
        text("SPAN", |row, _| row.event.map_or_else(|| name(row), |it| hit(row, it))),
    ]
}

/// Children after their parents, in order of time. A span whose parent is not here is a root.
fn in_order(trace: &TraceTree) -> Vec<Row<'_>> {
    let known: BTreeMap<&str, usize> =
        trace.spans.iter().enumerate().map(|(index, it)| (it.span_id.as_str(), index)).collect();
    let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (index, span) in trace.spans.iter().enumerate() {
        let parent = span.parent_span_id.as_deref().and_then(|it| known.get(it).copied());
        children.entry(parent.filter(|it| *it != index)).or_default().push(index);
    }
    let mut rows = Vec::new();
    let mut waiting = pushed(&children, None, 0, trace);
    while let Some((index, depth)) = waiting.pop() {
        let span = &trace.spans[index];
        rows.push(Row { span, event: None, depth, trace });
        rows.extend(span.events.iter().map(|it| Row { span, event: Some(it), depth: depth + 1, trace }));
        waiting.extend(pushed(&children, Some(index), depth + 1, trace));
    }
    rows
}

/// The last to come first, as a stack wants it.
fn pushed(
    children: &BTreeMap<Option<usize>, Vec<usize>>,
    parent: Option<usize>,
    depth: usize,
    trace: &TraceTree,
) -> Vec<(usize, usize)> {
    let mut indices = children.get(&parent).cloned().unwrap_or_default();
    indices.sort_by_key(|index| std::cmp::Reverse(trace.spans[*index].start));
    indices.into_iter().map(|index| (index, depth)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a cell shows two digits")]
fn offset_seconds(row: &Row) -> f64 {
    row.event.map_or(row.span.start, |it| it.time).saturating_sub(row.trace.start) as f64 / 1e9
}

/// Of an event, how much of its span it explains.
fn took_seconds(row: &Row) -> Option<f64> {
    row.event.map_or(Some(row.span.duration_seconds), |it| explained(it).map(|(seconds, _)| seconds))
}

fn bar(row: &Row) -> String {
    let whole = row.trace.duration_seconds.max(f64::MIN_POSITIVE);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "between 0 and BAR, clamped"
    )]
    let cell = |seconds: f64| ((seconds / whole).clamp(0.0, 1.0) * BAR as f64).round() as usize;
    let begin = cell(offset_seconds(row)).min(BAR - 1);
    if row.event.is_some() {
        return format!("{}▲{}", "·".repeat(begin), "·".repeat(BAR - begin - 1));
    }
    let end = cell(offset_seconds(row) + row.span.duration_seconds).max(begin + 1);
    format!("{}{}{}", "·".repeat(begin), "█".repeat(end - begin), "·".repeat(BAR - end))
}

fn status(span: &Span) -> String {
    let named = |name: &str| span.attributes.get(name).map(word);
    let word = named("http.response.status_code").or_else(|| named("error.type"));
    word.unwrap_or_else(|| span.status.clone())
}

fn word(value: &Value) -> String {
    match &value.of {
        Some(value::Of::Count(it)) => it.to_string(),
        Some(value::Of::Number(it)) => it.to_string(),
        Some(value::Of::Text(it)) => it.clone(),
        None => units::UNKNOWN.to_owned(),
    }
}

/// What explains most, of the spans that it hit.
fn summary(rows: &[Row<'_>]) -> Option<String> {
    let hits = rows.iter().filter_map(|row| {
        let event = row.event?;
        Some((row, event, explained(event)?))
    });
    let (row, event, (seconds, share)) = hits.max_by(|a, b| a.2.0.total_cmp(&b.2.0))?;
    let of = units::duration(row.span.duration_seconds);
    let (seconds, share) = (units::duration(seconds), units::percent(share));
    let span = Row { event: None, depth: 0, ..*row };
    Some(format!("{seconds} of {of} ({share}) of {}: {}", name(&span), words(event)))
}

/// Seconds of the span, and the same as a share of it.
fn explained(event: &SpanEvent) -> Option<(f64, f64)> {
    let number = |key| match event.attributes.get(key)?.of {
        Some(value::Of::Number(it)) => Some(it),
        _ => None,
    };
    Some((number(semconv::CAUSE_DURATION)?, number(semconv::CAUSE_SHARE)?))
}

fn hit(row: &Row, event: &SpanEvent) -> String {
    format!("{}! {}", "  ".repeat(row.depth), words(event))
}

/// What a user needs to know of it; of a kind that an older `taskscope` does not know, its name.
fn words(event: &SpanEvent) -> String {
    match event.name.as_str() {
        semconv::EVENT_RTO_EPISODE => lost(event),
        semconv::EVENT_CONNECT_FAILED => not_connected(event),
        name => printable(name),
    }
}

fn lost(event: &SpanEvent) -> String {
    let is = |key, value: &str| said(event, key).is_some_and(|it| it == value);
    let what = if is(semconv::EDGE_DIRECTION, semconv::TO_CLIENT) { "the answer" } else { "the request" };
    match said(event, semconv::RTO_TIMEOUTS).as_deref() {
        None => format!("{what} got lost and was sent again (rto)"),
        Some("1") => format!("{what} got lost and was sent again after one time-out (rto)"),
        Some(n) => format!("{what} got lost and was sent again after {n} time-outs (rto)"),
    }
}

fn not_connected(event: &SpanEvent) -> String {
    let or_unknown = |key| units::or_unknown(said(event, key), |it| it);
    let [address, port, syns] =
        [semconv::SERVER_ADDRESS, semconv::SERVER_PORT, semconv::CONNECT_SYNS].map(or_unknown);
    let class = said(event, semconv::ERROR_TYPE).unwrap_or_default();
    let what = match class.as_str() {
        "refused" => "was refused: nothing listens there",
        "timed_out" => "timed out: nobody answered",
        "abandoned" => "was given up by the program: nobody had answered",
        "unreachable" => "found no way there",
        "reset" => "was reset",
        _ => "failed",
    };
    let times = if syns == "1" { "once".to_owned() } else { format!("{syns} times") };
    format!("the connect to {address} port {port}, tried {times}, {what} (connect)")
}

fn said(event: &SpanEvent, key: &str) -> Option<String> {
    event.attributes.get(key).map(word)
}

fn name(row: &Row) -> String {
    let Row { span, event: _, depth, trace: _ } = row;
    let indent = if *depth == 0 { String::new() } else { format!("{}└ ", "  ".repeat(depth - 1)) };
    let peer = match (span.attributes.get("network.peer.address"), span.attributes.get("network.peer.port")) {
        (Some(address), Some(port)) => format!(" ({}:{})", word(address), word(port)),
        _ => String::new(),
    };
    let arrow = if span.kind == "client" { "→ " } else { "" };
    format!("{indent}{}: {arrow}{}{peer}", span.service, span.name)
}

fn tone(row: &Row) -> Tone {
    if row.event.is_some() || row.span.status == "error" { Tone::Alarm } else { Tone::Calm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_children_and_orphans_are_roots() {
        check(&[("b", "a", 2), ("a", "", 1), ("c", "a", 1), ("d", "gone", 0)], "d0 a0 c1 b1");
    }

    /// Ids come from processes that may be wrong about themselves.
    #[test]
    fn a_span_that_is_its_own_parent_is_a_root() {
        check(&[("a", "a", 0), ("b", "a", 1)], "a0 b1");
    }

    #[track_caller]
    fn check(spans: &[(&str, &str, u64)], want: &str) {
        let spans = spans.iter().map(|(id, parent, start)| Span {
            span_id: (*id).to_owned(),
            parent_span_id: Some((*parent).to_owned()),
            start: *start,
            ..Span::default()
        });
        let trace = TraceTree { spans: spans.collect(), ..TraceTree::default() };
        let got: Vec<_> =
            in_order(&trace).iter().map(|it| format!("{}{}", it.span.span_id, it.depth)).collect();
        assert_eq!(got.join(" "), want);
    }
}
