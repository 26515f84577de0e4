//! How long the topology takes to come when it has 10,000 edges.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    Outcome, Programs, agent,
    figure::Figure,
    stats::{Summary, percentile},
};
use crate::{
    run::{Agent, NetNs, Network},
    sh,
};

const EDGES: u16 = 10_000;
/// Some of which become others when there are too many.
const MIN_EDGES: usize = 9_900;
const QUESTIONS: &str = "200";

pub(super) fn run(programs: &Programs, n_rounds: u32) -> anyhow::Result<Outcome> {
    let mut agent = agent::start(&programs.taskscope, Network::OfMachine, None, None)?;
    make_edges(programs)?;
    let n_edges = |answer: &Value| answer["items"].as_array().map_or(0, Vec::len);
    let answer = agent.until(&["topology"], |answer| MIN_EDGES <= n_edges(answer))?;
    let (mut p50, mut p99, mut by_service) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..n_rounds {
        let millis = ask(programs, &agent, &[])?;
        p50.push(Summary::of(&millis).median);
        p99.push(percentile(&millis, 0.99));
        by_service.push(percentile(&ask(programs, &agent, &["--by-service"])?, 0.99));
    }
    agent.stop()?;
    let figures = vec![
        Figure::at_most("topology, 99th percentile", "ms", p99, 10.0),
        Figure::of_interest("topology, median", "ms", p50),
        // None of them becomes one with another: that is the most work.
        Figure::at_most("topology by service, 99th percentile", "ms", by_service, 10.0),
        Figure::of_interest("edges", "in the answer", vec![n_edges(&answer) as f64]),
    ];
    Ok(Outcome { pairs: None, figures })
}

/// Connects to 10,000 ports where nobody listens: each is an edge.
fn make_edges(programs: &Programs) -> anyhow::Result<()> {
    let namespace = NetNs::new("edges")?;
    let mut command = namespace.command(programs.cargo.join("target-conn"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot start `target-conn`")?;
    let mut commands = child.stdin.take().context("the input is piped")?;
    for port in 1..=EDGES {
        writeln!(commands, "connect 127.0.0.1:{port} 1000").context("`target-conn` does not listen")?;
    }
    drop(commands);
    let status = child.wait().context("cannot wait for `target-conn`")?;
    ensure!(status.success(), "`target-conn` failed: {status}");
    Ok(())
}

/// Milliseconds from question to the decoded answer, of a client that is connected already.
fn ask(programs: &Programs, agent: &Agent, flags: &[&str]) -> anyhow::Result<Vec<f64>> {
    let mut command = Command::new(programs.cargo.join("target-ask"));
    let answer =
        sh::output(command.arg(&agent.client.socket).arg(QUESTIONS).args(flags).stderr(Stdio::inherit()))?;
    let answer: Value = serde_json::from_str(&answer).context("what `target-ask` measured")?;
    let millis = answer["seconds"].as_array().context("its seconds")?;
    Ok(millis.iter().filter_map(|it| Some(it.as_f64()? * 1e3)).collect())
}
