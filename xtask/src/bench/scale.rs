//! What the agent takes while very many connections are open and idle.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Outcome, Programs, agent, figure::Figure};
use crate::{
    clock,
    run::{Agent, NetNs, Network},
};

/// Of which both ends are here: 100,000 sockets.
const CONNECTIONS: u64 = 50_000;
/// One process alone would need a higher limit of open files than this machine may allow.
const HOLDERS: u64 = 10;
/// Long enough for several dumps.
const SECONDS: Duration = Duration::from_secs(8);
/// What is the agent's first dear work with so many is over.
const SETTLE: Duration = Duration::from_secs(5);
const MIB: f64 = 1024.0 * 1024.0;

/// Killed when dropped.
struct Holder {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

pub(super) fn run(programs: &Programs, n_rounds: u32) -> anyhow::Result<Outcome> {
    let namespace = NetNs::new("scale")?;
    let mut agent = agent::start(&programs.taskscope, Network::OfMachine, None, None)?;
    let mut holders =
        (0..HOLDERS).map(|_| Holder::start(programs, &namespace)).collect::<anyhow::Result<Vec<_>>>()?;
    let began = clock::now();
    holders.iter_mut().try_for_each(Holder::open)?;
    let opened = began.elapsed();
    agent.until(&["topology"], |answer| active(answer) == CONNECTIONS)?;
    let seen = began.elapsed().saturating_sub(opened);
    thread::sleep(SETTLE);
    let mut rounds = Rounds::default();
    for _ in 0..n_rounds {
        rounds.add(&mut agent)?;
    }
    drop(holders);
    agent.stop()?;
    let figures = vec![
        Figure::at_most(
            "100,000 sockets: the thread that dumps them",
            "% of a core",
            rounds.kernel_percent,
            1.0,
        ),
        Figure::at_most("100,000 sockets: resident memory", "MiB", rounds.rss_mib, 50.0),
        Figure::of_interest("100,000 sockets: the agent's CPU", "% of a core", rounds.cpu_percent),
        Figure::of_interest(
            "100,000 sockets: all seen after the last connect",
            "s",
            vec![seen.as_secs_f64()],
        ),
    ];
    Ok(Outcome { pairs: None, figures })
}

#[derive(Default)]
struct Rounds {
    kernel_percent: Vec<f64>,
    cpu_percent: Vec<f64>,
    rss_mib: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, agent: &mut Agent) -> anyhow::Result<()> {
        agent.process.must_run()?;
        let began = clock::now();
        let (kernel, all) = (agent.process.thread_cpu_ns("kernel")?, agent.process.cpu_ns()?);
        thread::sleep(SECONDS);
        let kernel = agent.process.thread_cpu_ns("kernel")?.saturating_sub(kernel);
        let all = agent.process.cpu_ns()?.saturating_sub(all);
        let percent = |ns: u64| ns as f64 / 1e7 / began.elapsed().as_secs_f64();
        self.kernel_percent.push(percent(kernel));
        self.cpu_percent.push(percent(all));
        let status = agent.client.ask(&["status"])?;
        let rss = status["items"][0]["rss_bytes"].as_f64().context("the agent's memory")?;
        self.rss_mib.push(rss / MIB);
        Ok(())
    }
}

fn active(answer: &Value) -> u64 {
    let edges = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let is_held = |edge: &&Value| edge["client_name"] == "target-conn";
    edges.iter().filter(is_held).filter_map(|edge| edge["connections"]["active"].as_u64()).sum()
}

impl Holder {
    fn start(programs: &Programs, namespace: &NetNs) -> anyhow::Result<Self> {
        let mut command = namespace.command(programs.cargo.join("target-conn"));
        command.args(["hold", &(CONNECTIONS / HOLDERS).to_string()]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.context("cannot start `target-conn`")?;
        let input = child.stdin.take().context("the input is piped")?;
        let output = BufReader::new(child.stdout.take().context("the output is piped")?);
        Ok(Self { child, input, output })
    }

    fn open(&mut self) -> anyhow::Result<()> {
        writeln!(self.input, "open").context("`target-conn` does not listen")?;
        let mut lines = (&mut self.output).lines().map_while(Result::ok);
        let answer = lines.find(|line| line.starts_with('{')).context("`target-conn` says nothing")?;
        let answer: Value = serde_json::from_str(&answer).context("what `target-conn` says")?;
        ensure!(answer["open"] == CONNECTIONS / HOLDERS, "`target-conn` has opened {answer}");
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn connections_of_others_are_not_counted() {
        let edge = |name: &str, active: u64| json!({"client_name": name, "connections": {"active": active}});
        let answer = json!({"items": [edge("target-conn", 3), edge("other", 5), edge("target-conn", 4)]});
        assert_eq!(active(&answer), 7);
        assert_eq!(active(&Value::Null), 0);
    }
}
