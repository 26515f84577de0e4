//! What works on this machine. The examination is made elsewhere; no agent is asked.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{
    Format, Show as _, Style, show,
    table::{self, Column, Tone, text},
    units,
};
use crate::{
    clock::Wall,
    query::proto::{Agent, Check, DoctorAnswer, Head},
};

show!(DoctorAnswer, write);

/// One line of the examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub feature: String,
    /// `ok`, `degraded` or `missing`.
    pub state: &'static str,
    pub detail: String,
    /// `None`: there is nothing to do.
    pub remedy: Option<String>,
}

/// Who was examined, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patient {
    pub node: String,
    pub version: String,
    pub time: Wall,
}

const COLUMNS: &[Column<Check>] = &[
    text("STATE", |check, _| check.state.clone()),
    text("FEATURE", |check, _| check.feature.clone()),
    text("DETAIL", |check, _| check.detail.clone()),
    text("REMEDY", |check, _| units::or_unknown(check.remedy.clone(), |it| it)),
];

/// Writes a table, or JSON in the envelope of every command.
pub fn print(rows: Vec<Row>, patient: Patient, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let answer = answer(rows, patient);
    match style.format {
        Format::Json => writeln!(out, "{}", answer.json()?),
        _ => answer.text(style, out),
    }
}

fn answer(rows: Vec<Row>, Patient { node, version, time }: Patient) -> DoctorAnswer {
    let items = rows.into_iter().map(|Row { feature, state, detail, remedy }| Check {
        feature,
        state: state.to_owned(),
        detail,
        remedy,
    });
    DoctorAnswer {
        head: Some(Head {
            command: "doctor".to_owned(),
            agent: Some(Agent { node, version }),
            time: time.0,
            window_seconds: None,
        }),
        items: items.collect(),
        lost: BTreeMap::new(),
    }
}

fn write(answer: &DoctorAnswer, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    table::write(&answer.items, COLUMNS, 0, tone, style, out)
}

fn tone(check: &Check) -> Tone {
    match check.state.as_str() {
        "missing" => Tone::Alarm,
        "degraded" => Tone::Warning,
        _ => Tone::Calm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::print::samples::check;

    #[test]
    fn what_works_and_what_does_not() {
        let row = |feature: &str, state, detail: &str, remedy: Option<&str>| Row {
            feature: feature.to_owned(),
            state,
            detail: detail.to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let rows = vec![
            row("kernel", "ok", "6.18.44", None),
            row("http spans", "missing", "no CAP_PERFMON", Some("sudo taskscope agent")),
        ];
        let patient =
            Patient { node: "node-1".to_owned(), version: "0.1.0".to_owned(), time: Wall(1_000_000_007) };
        let answer = answer(rows, patient);
        check(&answer, Format::Table, "doctor.txt");
        check(&answer, Format::Json, "doctor.json");
    }
}
