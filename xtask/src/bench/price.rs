//! What each program in the kernel takes of the traffic of pods, by the kernel's own count.
//!
//! A pass of its own: the counting costs something, too.

use std::{collections::BTreeMap, process::Command};

use anyhow::Context as _;
use serde_json::Value;

use super::{
    Outcome, Programs, agent,
    figure::Figure,
    stats::Summary,
    traffic::{BULK, Between, CONNECTIONS, DATAGRAMS, Load, REQUESTS, Traffic},
};
use crate::run::Process;

/// For a unit. What happens more seldom is the agent's own doing, such as its dumps.
const MIN_HITS: f64 = 0.05;

const ON_INTERFACES: [&str; 4] = ["from_workload", "to_workload", "nic_in", "nic_in_tc"];

/// Of programs by their name; since they were loaded, or for a unit.
type Counts = BTreeMap<String, Count>;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    hits: f64,
    ns: f64,
}

pub(super) fn run(programs: &Programs, n_rounds: u32) -> anyhow::Result<Outcome> {
    let mut figures = Vec::new();
    for load in [CONNECTIONS, REQUESTS, DATAGRAMS, BULK] {
        let rounds = rounds(load, programs, n_rounds).with_context(|| format!("each {}", load.unit))?;
        figures.extend(sums(load.unit, &rounds));
        figures.extend(each(load.unit, &rounds));
    }
    Ok(Outcome { pairs: None, figures })
}

fn rounds(load: Load, programs: &Programs, n_rounds: u32) -> anyhow::Result<Vec<Counts>> {
    let mut traffic = Traffic::new(load, Between::Pods, programs)?;
    let agent = agent::start(&programs.taskscope, traffic.network(), None, None)?;
    let mut counter = Command::new(programs.cargo.join("target-programs"));
    let counter = counter.arg(agent.process.pid().to_string());
    let (_counter, mut counter) = Process::obeying("the reader of counts", counter)?;
    let mut counts = || read(&counter.ask("count")?);
    traffic.run(programs)?;
    let mut rounds = Vec::new();
    for _ in 0..n_rounds {
        let before = counts()?;
        let (n, _) = traffic.run(programs)?;
        rounds.push(between(&before, &counts()?, n));
    }
    agent.stop()?;
    Ok(rounds)
}

fn read(answer: &str) -> anyhow::Result<Counts> {
    let answer: Value = serde_json::from_str(answer).with_context(|| format!("no counts: {answer}"))?;
    let mut counts = Counts::new();
    for program in answer.as_array().context("a list of programs")? {
        let name = program["name"].as_str().context("a program has a name")?;
        let number = |what: &str| program[what].as_f64().with_context(|| format!("`{what}` of {name}"));
        let count = counts.entry(name.to_owned()).or_default();
        count.hits += number("hits")?;
        count.ns += number("ns")?;
    }
    Ok(counts)
}

/// For each of `n` units.
fn between(before: &Counts, after: &Counts, n: f64) -> Counts {
    let each = |(name, after): (&String, &Count)| {
        let before = before.get(name).copied().unwrap_or_default();
        let count = Count { hits: (after.hits - before.hits) / n, ns: (after.ns - before.ns) / n };
        (MIN_HITS <= count.hits).then(|| (name.clone(), count))
    };
    after.iter().filter_map(each).collect()
}

/// Over both ends: the time at sockets and on interfaces, and the hits, because the counting is a part of each
/// hit's time. What a connection may cost its sockets is limited; what is met on interfaces is the pods' alone.
fn sums(unit: &str, rounds: &[Counts]) -> [Figure; 3] {
    let time = |on_interfaces: bool| {
        let is_meant = |name: &str| ON_INTERFACES.contains(&name) == on_interfaces;
        let of_round = |it: &Counts| it.iter().filter(|it| is_meant(it.0)).map(|it| it.1.ns / 1e3).sum();
        rounds.iter().map(of_round).collect::<Vec<f64>>()
    };
    let name = format!("programs at sockets, both ends of a {unit}");
    let at_sockets = if unit == CONNECTIONS.unit {
        Figure::at_most(name, "us", time(false), 4.0)
    } else {
        Figure::of_interest(name, "us", time(false))
    };
    let name = format!("programs on interfaces, both ends of a {unit}");
    let on_interfaces = Figure::of_interest(name, "us", time(true));
    let hits = rounds.iter().map(|it| it.values().map(|it| it.hits).sum()).collect();
    [
        at_sockets,
        on_interfaces,
        Figure::of_interest(format!("all programs, both ends of a {unit}"), "hits", hits),
    ]
}

/// Of each program, in the order of their names.
fn each(unit: &str, rounds: &[Counts]) -> Vec<Figure> {
    let mut names: Vec<_> = rounds.iter().flat_map(Counts::keys).collect();
    names.sort_unstable();
    names.dedup();
    let figure = |name: &String| {
        let counts: Vec<_> = rounds.iter().filter_map(|it| it.get(name)).collect();
        let hits: Vec<_> = counts.iter().map(|it| it.hits).collect();
        let hits = Summary::of(&hits).median;
        let each = counts.iter().map(|it| it.ns / it.hits).collect();
        Figure::of_interest(format!("`{name}`, {hits:.1} hits for a {unit}"), "ns for a hit", each)
    };
    names.into_iter().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"[{"name": "a", "hits": 10, "ns": 1000}, {"name": "b", "hits": 7, "ns": 1}]"#;
    const AFTER: &str = r#"[{"name": "a", "hits": 20, "ns": 3000}, {"name": "a", "hits": 10, "ns": 1000},
        {"name": "b", "hits": 7, "ns": 1}, {"name": "to_workload", "hits": 5, "ns": 2000}]"#;

    #[test]
    fn programs_have_a_price_for_each_unit() {
        let rounds = [between(&read(BEFORE).unwrap(), &read(AFTER).unwrap(), 10.0)];
        let count = |hits, ns| Count { hits, ns };
        let want = [("a".to_owned(), count(2.0, 300.0)), ("to_workload".to_owned(), count(0.5, 200.0))];
        assert_eq!(rounds[0], want.into());
        let rows: Vec<_> = each("request", &rounds).iter().map(|it| it.row("x")).collect();
        let want = "| x | `a`, 2.0 hits for a request, ns for a hit | 1 | 150.000 ± 0.000 |  |  |\n";
        assert_eq!((rows[0].as_str(), rows.len()), (want, 2));
        let [time, on_interfaces, hits] = sums("connection", &rounds).map(|it| it.row("x"));
        assert!(time.ends_with("a connection, us | 1 | 0.300 ± 0.000 | ≤ 4 | met |\n"), "{time}");
        assert!(on_interfaces.ends_with("a connection, us | 1 | 0.200 ± 0.000 |  |  |\n"), "{on_interfaces}");
        assert!(hits.ends_with("a connection, hits | 1 | 2.500 ± 0.000 |  |  |\n"), "{hits}");
        for bad in ["", "{}", "[{\"name\": \"a\"}]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
