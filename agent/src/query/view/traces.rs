//! `taskscope traces`: recent traces, or one with its spans.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Refusal,
    select::Selection,
    shapes::{self, count, number, text},
    sort::{self, Column},
};
use crate::{
    assemble::{
        span::{self, Protocol, Side},
        traces::{Trace, traces},
    },
    clock::Ktime,
    export::{self, AttributeSink, Figure},
    query::{
        proto::{
            Filter, Span, SpanEvent, TraceAnswer, TraceRoot, TraceSummary, TraceTree, TracesAnswer, Value,
        },
        snapshot::Snapshot,
    },
};

/// A function, because a trace borrows its spans.
pub(crate) fn columns<'a>() -> [Column<Trace<'a>>; 3] {
    [
        ("start", |a, b| began(b).cmp(&began(a)).then(a.trace_id.cmp(&b.trace_id))),
        ("duration", |a, b| duration(b).cmp(&duration(a)).then(a.trace_id.cmp(&b.trace_id))),
        ("spans", |a, b| b.spans.len().cmp(&a.spans.len()).then(a.trace_id.cmp(&b.trace_id))),
    ]
}

pub(crate) fn list(snapshot: &Snapshot, filter: &Filter) -> Result<TracesAnswer, Refusal> {
    let selection = Selection::new(filter, snapshot)?;
    let slower_than = Duration::from_nanos(filter.slower_than_ns.unwrap_or(0));
    let traces = traces(&snapshot.spans);
    let mut traces: Vec<_> = traces
        .iter()
        .filter(|it| it.spans.iter().any(|span| selection.process(&span.process)))
        .filter(|it| selection.time(ended(it)) && slower_than <= duration(it))
        .filter(|it| !filter.errors || has_error(it))
        .filter(|it| filter.cause.as_ref().is_none_or(|cause| causes(it).any(|kind| kind == cause)))
        .collect();
    sort::sort_and_cut(&mut traces, &columns(), filter)?;
    Ok(TracesAnswer {
        head: Some(shapes::head("traces", snapshot, shapes::window(snapshot, filter))),
        items: traces.into_iter().filter_map(|it| summary(it, snapshot)).collect(),
        lost: shapes::lost(snapshot),
    })
}

/// All whose id begins as asked; normally one.
pub(crate) fn one(snapshot: &Snapshot, filter: &Filter) -> Result<TraceAnswer, Refusal> {
    let asked = filter.trace_id.as_deref().unwrap_or_default().to_ascii_lowercase();
    if asked.is_empty() || 32 < asked.len() || !asked.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Err(Refusal::BadTraceId { given: asked });
    }
    let traces = traces(&snapshot.spans);
    let traces = traces.iter().filter(|it| it.trace_id.to_string().starts_with(&asked));
    Ok(TraceAnswer {
        head: Some(shapes::head("traces", snapshot, shapes::window(snapshot, filter))),
        items: traces.filter_map(|it| tree(it, snapshot)).collect(),
        lost: shapes::lost(snapshot),
    })
}

fn summary(trace: &Trace<'_>, snapshot: &Snapshot) -> Option<TraceSummary> {
    Some(TraceSummary {
        trace_id: trace.trace_id.to_string(),
        root: Some(root(trace.spans.iter().min_by_key(|it| place(it))?)),
        start: snapshot.wall(began(trace)).0,
        duration_seconds: duration(trace).as_secs_f64(),
        spans: trace.spans.len() as u64,
        services: shapes::n_services(trace.spans.iter().map(|it| &it.process)),
        status: status(has_error(trace)),
        causes: BTreeSet::from_iter(causes(trace)).into_iter().map(str::to_owned).collect(),
    })
}

fn tree(trace: &Trace<'_>, snapshot: &Snapshot) -> Option<TraceTree> {
    let TraceSummary { trace_id, root, start, duration_seconds, spans: _, services, status, causes } =
        summary(trace, snapshot)?;
    let mut spans = trace.spans.clone();
    spans.sort_by_key(|it| place(it));
    let spans = spans.into_iter().map(|it| span(it, snapshot)).collect();
    Some(TraceTree { trace_id, root, start, duration_seconds, spans, services, status, causes })
}

/// Its root first, then by begin.
fn place(span: &span::Span) -> (bool, Ktime) {
    (span.parent.is_some(), span.began)
}

fn root(root: &span::Span) -> TraceRoot {
    TraceRoot { service: root.process.service.name.clone(), name: name(root), kind: kind(root.side) }
}

fn span(span: &span::Span, snapshot: &Snapshot) -> Span {
    Span {
        span_id: span.span_id.to_string(),
        parent_span_id: span.parent.map(|it| it.to_string()),
        service: span.process.service.name.clone(),
        name: name(span),
        kind: kind(span.side),
        start: snapshot.wall(span.began).0,
        duration_seconds: span.duration().as_secs_f64(),
        status: status(span.is_error()),
        attributes: attributes(span),
        events: export::span_events(span).map(|it| event(it, snapshot)).collect(),
    }
}

fn event(event: export::SpanEvent, snapshot: &Snapshot) -> SpanEvent {
    let value = |value| match value {
        Figure::Text(it) => text(it.into_owned()),
        Figure::Count(it) => count(it),
        Figure::Number(it) => number(it),
    };
    let attributes = event.attributes.into_iter().map(|(key, it)| (key.to_owned(), value(it)));
    SpanEvent {
        name: event.name.to_owned(),
        time: snapshot.wall(event.at).0,
        attributes: attributes.collect(),
    }
}

/// Unlike the exported name it has the path, because it is read by people and never a dimension.
fn name(span: &span::Span) -> String {
    if let Some(statement) = &span.statement {
        return statement.summary().unwrap_or_else(|| statement.system.to_owned());
    }
    if span.protocol == Protocol::Grpc {
        return span.path.strip_prefix('/').unwrap_or(&span.path).to_owned();
    }
    let method = if span.method.is_empty() { "HTTP" } else { &*span.method };
    format!("{method} {}", span.path)
}

fn kind(side: Side) -> String {
    match side {
        Side::Server => "server".to_owned(),
        Side::Client => "client".to_owned(),
    }
}

fn status(is_error: bool) -> String {
    if is_error { "error".to_owned() } else { "ok".to_owned() }
}

/// The same as are exported.
fn attributes(span: &span::Span) -> BTreeMap<String, Value> {
    let mut map = Map(BTreeMap::new());
    export::attributes(span, &mut map);
    map.0
}

struct Map(BTreeMap<String, Value>);

impl AttributeSink for Map {
    fn text(&mut self, key: &'static str, value: &str) {
        self.0.insert(key.to_owned(), text(value));
    }

    fn yes(&mut self, key: &'static str) {
        self.text(key, "true");
    }

    fn int(&mut self, key: &'static str, value: u64) {
        self.0.insert(key.to_owned(), count(value));
    }
}

fn began(trace: &Trace<'_>) -> Ktime {
    trace.spans.iter().map(|it| it.began).min().unwrap_or_default()
}

fn ended(trace: &Trace<'_>) -> Ktime {
    trace.spans.iter().map(|it| it.ended).max().unwrap_or_default()
}

fn duration(trace: &Trace<'_>) -> Duration {
    ended(trace).since(began(trace))
}

fn has_error(trace: &Trace<'_>) -> bool {
    trace.spans.iter().any(|it| it.is_error())
}

fn causes(trace: &Trace<'_>) -> impl Iterator<Item = &'static str> {
    trace.spans.iter().filter_map(|it| export::main_cause(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assemble::span::Outcome, query::samples};

    #[test]
    fn a_span_has_the_attributes_that_are_exported() {
        for (outcome, want) in [
            (Outcome::Failed, Some("connection_failed")),
            (Outcome::NoConnection, Some("connect_failed")),
            (Outcome::Status(503), Some("503")),
            (Outcome::Status(200), None),
        ] {
            let mut client = samples::snapshot().spans[0][2].clone();
            (client.host, client.outcome) = ("[::1]:80".into(), outcome);
            let got = attributes(&client);
            assert_eq!(got.get("error.type"), want.map(text).as_ref(), "{outcome:?}");
            let server = (got.get("server.address"), got.get("server.port"));
            assert_eq!(server, (Some(&text("::1")), Some(&count(80))));
        }
    }

    #[test]
    fn filters() {
        check(|_| (), 1);
        check(|it| it.errors = true, 1);
        check(|it| it.cause = Some("rto".to_owned()), 1);
        check(|it| it.cause = Some("none of ours".to_owned()), 0);
        check(|it| it.slower_than_ns = Some(12_000_000), 1);
        check(|it| it.slower_than_ns = Some(12_000_001), 0);
        check(|it| it.service = Some("cart".to_owned()), 1);
        check(|it| it.service = Some("bank".to_owned()), 0);
        check(|it| it.since_ns = Some(6_000_000_000), 1);
        check(|it| it.since_ns = Some(1_000_000_000), 0);
    }

    #[test]
    fn what_is_no_id_is_refused_and_an_unknown_one_is_empty() {
        let one = |id: &str| {
            let filter = Filter { trace_id: Some(id.to_owned()), ..Filter::default() };
            one(&samples::snapshot(), &filter).map(|it| it.items.len())
        };
        assert_eq!(one("0101").unwrap(), 1);
        assert_eq!(one("ff").unwrap(), 0);
        for id in ["", "xyz", &"0".repeat(33)] {
            assert!(matches!(one(id), Err(Refusal::BadTraceId { .. })), "{id}");
        }
    }

    #[track_caller]
    fn check(set: fn(&mut Filter), want: usize) {
        let mut filter = Filter::default();
        set(&mut filter);
        assert_eq!(list(&samples::snapshot(), &filter).unwrap().items.len(), want, "{filter:?}");
    }
}
