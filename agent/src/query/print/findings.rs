//! Verdicts, worst first, with the command to type next.

use std::io::{self, Write};

use super::{
    Style, show,
    table::{self, Column, Tone, number, text, wide},
    target_name, units,
};
use crate::query::proto::{Finding, FindingsAnswer, Value, value};

show!(FindingsAnswer, write);

const COLUMNS: &[Column<Finding>] = &[
    text("SEVERITY", |finding, _| finding.severity.clone()),
    text("KIND", |finding, _| finding.kind.clone()),
    text("TARGET", |finding, _| target_name(finding.target.as_ref())),
    wide(number("PID", |finding, _| units::or_unknown(finding.target.as_ref(), |it| it.pid.to_string()))),
    number("COUNT", |finding, _| finding.count.to_string()),
    wide(number("FIRST SEEN", |finding, now_ns| units::age(now_ns, finding.first_seen))),
    number("SEEN", |finding, now_ns| units::age(now_ns, finding.last_seen)),
    wide(text("TRACE", |finding, _| units::or_unknown(finding.span.as_ref(), |it| it.trace_id.clone()))),
    text("NEXT", |finding, _| finding.next.clone()),
    wide(text("EVIDENCE", |finding, _| evidence(finding))),
    text("WHAT", |finding, _| finding.summary.clone()),
];

fn write(answer: &FindingsAnswer, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    table::write(&answer.items, COLUMNS, super::time(answer.head.as_ref()), tone, style, out)
}

fn evidence(finding: &Finding) -> String {
    let words: Vec<_> = finding.evidence.iter().map(|(name, value)| word(name, value)).collect();
    words.join(" ")
}

/// The unit is the end of the name.
fn word(name: &str, value: &Value) -> String {
    let (name, value) = match (&value.of, name.strip_suffix("_seconds"), name.strip_suffix("_ratio")) {
        (Some(value::Of::Number(it)), Some(name), _) => (name, units::duration(*it)),
        (Some(value::Of::Number(it)), _, Some(name)) => (name, units::percent(*it)),
        (Some(value::Of::Number(it)), ..) => (name, it.to_string()),
        (Some(value::Of::Count(it)), ..) => (name, it.to_string()),
        (Some(value::Of::Text(it)), ..) => (name, it.clone()),
        (None, ..) => (name, units::UNKNOWN.to_owned()),
    };
    format!("{name}={}", value.replace(' ', ""))
}

fn tone(finding: &Finding) -> Tone {
    match finding.severity.as_str() {
        "critical" => Tone::Alarm,
        "warning" => Tone::Warning,
        _ => Tone::Calm,
    }
}

#[cfg(test)]
mod tests {
    use crate::query::{
        print::{Format, samples::check},
        proto::Filter,
        samples,
        view::findings::answer,
    };

    #[test]
    fn worst_first() {
        let answer = answer(&samples::snapshot(), &Filter::default()).unwrap();
        check(&answer, Format::Table, "findings.txt");
        check(&answer, Format::Wide, "findings.wide.txt");
        check(&answer, Format::Json, "findings.json");
    }
}
