//! Recent traces, one line each.

use std::io::{self, Write};

use super::{
    Style, show,
    table::{self, Column, Tone, number, text},
    tree, units,
};
use crate::query::proto::{TraceAnswer, TraceSummary, TracesAnswer};

show!(TracesAnswer, write);
show!(TraceAnswer, tree::write);

const COLUMNS: &[Column<TraceSummary>] = &[
    number("STARTED", |trace, now_ns| units::age(now_ns, trace.start)),
    number("DURATION", |trace, _| units::duration(trace.duration_seconds)),
    number("SPANS", |trace, _| trace.spans.to_string()),
    number("SERVICES", |trace, _| trace.services.to_string()),
    text("STATUS", |trace, _| trace.status.clone()),
    text("CAUSES", |trace, _| causes(trace)),
    text("TRACE", |trace, _| trace.trace_id.clone()),
    text("ROOT", |trace, _| {
        units::or_unknown(trace.root.as_ref(), |it| format!("{} {}", it.service, it.name))
    }),
];

fn write(answer: &TracesAnswer, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    table::write(&answer.items, COLUMNS, super::time(answer.head.as_ref()), tone, style, out)
}

fn causes(trace: &TraceSummary) -> String {
    trace.causes.join(",")
}

fn tone(trace: &TraceSummary) -> Tone {
    if trace.status == "error" { Tone::Alarm } else { Tone::Calm }
}

#[cfg(test)]
mod tests {
    use crate::query::{
        print::{Format, samples::check},
        proto::Filter,
        samples,
        view::traces,
    };

    #[test]
    fn a_list() {
        let answer = traces::list(&samples::snapshot(), &Filter::default()).unwrap();
        check(&answer, Format::Table, "traces.txt");
        check(&answer, Format::Json, "traces.json");
    }

    #[test]
    fn one_trace() {
        let filter = Filter { trace_id: Some("01".to_owned()), ..Filter::default() };
        let answer = traces::one(&samples::snapshot(), &filter).unwrap();
        check(&answer, Format::Tree, "trace.txt");
        check(&answer, Format::Json, "trace.json");
    }
}
