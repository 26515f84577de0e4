//! The agent itself, one line for each thing worth knowing.

use std::io::{self, Write};

use super::{
    Headers, Style, show,
    table::{self, Column, Tone, text},
    units,
};
use crate::query::proto::{AgentStatus, Component, Exporter, Head, Interfaces, Nat, StatusAnswer};

show!(StatusAnswer, write);

/// A heart that beats every second and is silent for so long stands still.
const SILENCE_NS: u64 = 10_000_000_000;

struct Line {
    name: String,
    value: String,
    tone: Tone,
}

const COLUMNS: &[Column<Line>] =
    &[text("WHAT", |line, _| line.name.clone()), text("VALUE", |line, _| line.value.clone())];

fn write(answer: &StatusAnswer, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let now_ns = super::time(answer.head.as_ref());
    let mut lines: Vec<_> = answer.head.iter().map(agent).collect();
    for status in &answer.items {
        lines.extend(numbers(status));
        lines.extend(status.export.iter().map(exporter));
        lines.extend(status.components.iter().map(|it| component(it, now_ns)));
    }
    for (reason, n) in answer.lost.iter().filter(|(_, n)| **n != 0) {
        lines.push(Line { name: format!("lost {reason}"), value: n.to_string(), tone: Tone::Warning });
    }
    let style = Style { headers: Headers::Hidden, ..*style };
    table::write(&lines, COLUMNS, now_ns, |it| it.tone, &style, out)
}

fn agent(head: &Head) -> Line {
    let value =
        units::or_unknown(head.agent.as_ref(), |it| format!("taskscope {} on {}", it.version, it.node));
    calm("agent", value)
}

fn numbers(status: &AgentStatus) -> Vec<Line> {
    let mut lines = vec![
        calm("up", units::duration(status.uptime_seconds)),
        calm("cpu", units::or_unknown(status.cpu_ratio, |it| format!("{} of a core", units::percent(it)))),
        calm("memory", units::or_unknown(status.rss_bytes, units::bytes)),
        calm("bpf maps", units::or_unknown(status.bpf_map_bytes, units::bytes)),
    ];
    if let Some(events) = &status.events {
        let lost: u64 = events.lost.values().sum();
        let value = format!("{} made, {} delivered, {lost} lost", events.made, events.delivered);
        let tone = if lost == 0 { Tone::Calm } else { Tone::Warning };
        lines.push(Line { name: "events".to_owned(), value, tone });
    }
    if let Some(Nat { resolved_by_sequence, resolved_by_conntrack, unresolved }) = status.nat {
        let resolved =
            format!("{resolved_by_sequence} by sequence numbers, {resolved_by_conntrack} by conntrack");
        lines.push(calm("translated", format!("{resolved}, {unresolved} perhaps")));
    }
    lines.extend(status.interfaces.as_ref().map(interfaces));
    lines
}

fn interfaces(interfaces: &Interfaces) -> Line {
    let Interfaces { watched, unknown, behind, clsact } = interfaces;
    let filters = match clsact {
        0 => String::new(),
        n => format!(" ({n} by clsact: `taskscope doctor` says what stays after a kill -9)"),
    };
    Line {
        name: "interfaces".to_owned(),
        value: format!(
            "{watched} looked at{filters}, {unknown} of unknown kinds, {behind} behind programs of others"
        ),
        tone: if *unknown == 0 && *behind == 0 { Tone::Calm } else { Tone::Warning },
    }
}

fn exporter(exporter: &Exporter) -> Line {
    let Exporter { signal, endpoint, queued, sent, failed, dropped } = exporter;
    let queued = units::or_unknown(*queued, |it| it.to_string());
    Line {
        name: format!("export {signal}"),
        value: format!("{sent} sent, {queued} queued, {failed} failed, {dropped} dropped, to {endpoint}"),
        tone: if *failed == 0 && *dropped == 0 { Tone::Calm } else { Tone::Warning },
    }
}

fn component(component: &Component, now_ns: u64) -> Line {
    let value = match component.last_beat {
        Some(beat) => format!("alive {}", units::age(now_ns, beat)),
        None => "has not begun".to_owned(),
    };
    let silent = component.last_beat.is_some_and(|beat| SILENCE_NS < now_ns.saturating_sub(beat));
    let tone = if silent { Tone::Alarm } else { Tone::Calm };
    Line { name: format!("part {}", component.name), value, tone }
}

fn calm(name: &str, value: String) -> Line {
    Line { name: name.to_owned(), value, tone: Tone::Calm }
}

#[cfg(test)]
mod tests {
    use crate::query::{
        print::{Format, samples::check},
        samples,
        view::status::answer,
    };

    #[test]
    fn the_agent_itself() {
        let answer = answer(&samples::snapshot(), &samples::numbers(), samples::AT);
        check(&answer, Format::Table, "status.txt");
        check(&answer, Format::Json, "status.json");
    }
}
