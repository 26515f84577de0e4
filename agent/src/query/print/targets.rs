//! Watched processes; of a single one also its probes.

use std::io::{self, Write};

use super::{
    Format, Style, show,
    table::{self, Column, Tone, number, text, wide},
    target_name, units,
};
use crate::query::proto::{Binary, Probe, Refused, Target, TargetsAnswer, WatchedTarget};

show!(TargetsAnswer, write);

/// As much of a container id as people use.
const SHORT_ID: usize = 12;

const COLUMNS: &[Column<WatchedTarget>] = &[
    number("PID", |it, _| target(it, |it| Some(it.pid.to_string()))),
    text("SERVICE", |it, _| target_name(it.target.as_ref())),
    text("RUNTIME", |it, _| target(it, runtime)),
    number("PROBES", |it, _| it.probes.len().to_string()),
    number("REFUSED", |it, _| it.refused.len().to_string()),
    number("CPU", |it, _| units::or_unknown(cpu_ratio(it), units::percent)),
    wide(number("STARTED", |it, now_ns| {
        units::or_unknown(it.target.as_ref(), |it| units::age(now_ns, it.start_time))
    })),
    wide(text("OFFSETS", |it, _| binary(it, |it| Some(it.offsets_from.clone())))),
    wide(text("BUILD ID", |it, _| binary(it, |it| it.build_id.clone()))),
    wide(text("POD", |it, _| target(it, |it| it.pod.clone()))),
    text("CONTAINER", |it, _| {
        target(it, |it| it.container_id.as_ref().map(|it| it.chars().take(SHORT_ID).collect()))
    }),
    text("EXE", |it, _| target(it, |it| Some(it.exe.clone()))),
];

const PROBES: &[Column<Probe>] = &[
    text("PROBE", |it, _| it.name.clone()),
    number("HITS", |it, _| units::or_unknown(it.hits_per_second, units::rate)),
    number("PER HIT", |it, _| units::or_unknown(it.ns_per_hit, |it| units::duration(it / 1e9))),
    number("CPU", |it, _| units::or_unknown(it.cpu_ratio, units::percent)),
    text("POINT", |it, _| it.point.clone()),
];

const REFUSED: &[Column<Refused>] =
    &[text("REFUSED", |it, _| it.name.clone()), text("REASON", |it, _| it.reason.clone())];

fn write(answer: &TargetsAnswer, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let now_ns = super::time(answer.head.as_ref());
    table::write(&answer.items, COLUMNS, now_ns, tone, style, out)?;
    let in_detail = style.format == Format::Wide || answer.items.len() == 1;
    for watched in answer.items.iter().filter(|_| in_detail) {
        let detailed = !watched.probes.is_empty() || !watched.refused.is_empty();
        if detailed && 1 < answer.items.len() {
            writeln!(out, "\n{}", target(watched, |it| Some(format!("{} {}", it.pid, it.service))))?;
        }
        if !watched.probes.is_empty() {
            writeln!(out)?;
            table::write(&watched.probes, PROBES, now_ns, table::calm, style, out)?;
        }
        if !watched.refused.is_empty() {
            writeln!(out)?;
            table::write(&watched.refused, REFUSED, now_ns, |_| Tone::Warning, style, out)?;
        }
    }
    Ok(())
}

fn target(watched: &WatchedTarget, cell: fn(&Target) -> Option<String>) -> String {
    let cell = watched.target.as_ref().and_then(cell);
    units::or_unknown(cell, |it| table::printable(&it))
}

fn binary(watched: &WatchedTarget, cell: fn(&Binary) -> Option<String>) -> String {
    units::or_unknown(watched.binary.as_ref().and_then(cell), |it| it)
}

fn runtime(target: &Target) -> Option<String> {
    let runtime = target.runtime.as_ref()?;
    // Go's version says that it is Go.
    Some(runtime.version.clone().unwrap_or_else(|| runtime.kind.clone()))
}

fn cpu_ratio(watched: &WatchedTarget) -> Option<f64> {
    let ratios: Vec<f64> = watched.probes.iter().filter_map(|it| it.cpu_ratio).collect();
    (!ratios.is_empty()).then(|| ratios.iter().sum())
}

fn tone(watched: &WatchedTarget) -> Tone {
    if watched.refused.is_empty() { Tone::Calm } else { Tone::Warning }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{print::samples::check, proto::Filter, samples, view::targets::answer};

    #[test]
    fn all_and_one() {
        let all = answer(&samples::snapshot(), &Filter::default()).unwrap();
        check(&all, Format::Table, "targets.txt");
        check(&all, Format::Wide, "targets.wide.txt");
        check(&all, Format::Json, "targets.json");
        let one = Filter { pid: Some(41), ..Filter::default() };
        check(&answer(&samples::snapshot(), &one).unwrap(), Format::Table, "targets.one.txt");
    }
}
