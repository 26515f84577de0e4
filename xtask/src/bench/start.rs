//! How soon the agent sees: its file, its first edge, and a program that was just started.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Outcome, Programs, agent, figure::Figure, http};
use crate::{
    clock,
    run::{Agent, Network, Process},
    sh,
};

const PATIENCE: Duration = Duration::from_secs(20);
const MIB: f64 = 1024.0 * 1024.0;
/// What the kernel writes where a probe sits.
const BREAKPOINT: u8 = 0xcc;

pub(super) fn run(programs: &Programs, n_rounds: u32) -> anyhow::Result<Outcome> {
    let program = programs.targets.join("http");
    let points = points(programs)?;
    let (mut first_edge, mut attached) = (Vec::new(), Vec::new());
    for _ in 0..n_rounds {
        first_edge.push(until_first_edge(programs)?);
        attached.push(until_attached(programs, &points)?);
    }
    let size = |path: &Path| Ok::<_, anyhow::Error>(vec![fs::metadata(path)?.len() as f64 / MIB]);
    let figures = vec![
        Figure::at_most("taskscope, stripped", "MiB", size(&programs.taskscope)?, 25.0),
        Figure::at_most("first edge after the agent's start", "s", first_edge, 2.0),
        Figure::at_most("probes in a Go program after its start", "ms", attached, 300.0),
        Figure::of_interest("that Go program", "MiB", size(&program)?),
    ];
    Ok(Outcome { pairs: None, figures })
}

/// Seconds, with connections going on all the time.
fn until_first_edge(programs: &Programs) -> anyhow::Result<f64> {
    let (_server, address) = http::server(programs)?;
    let mut load = Command::new(programs.targets.join("http"));
    load.args(["client", "-quiet", "-n", "1000000", "-rps", "50", "-keepalive=false"]);
    load.args(["-url", &format!("http://{address}/echo/")]);
    let _load = Process::start("the load", &load)?;
    let port = address.rsplit(':').next().and_then(|it| it.parse::<u16>().ok());
    let began = clock::now();
    let mut agent = Agent::spawn(&programs.taskscope, Network::OfMachine, |_| ())?;
    agent.until(&["topology"], |answer| {
        answer["items"].as_array().is_some_and(|it| it.iter().any(|it| it["server"]["port"] == json(port)))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    agent.stop()?;
    Ok(seconds)
}

fn json(port: Option<u16>) -> Value {
    port.map_or(Value::Null, Value::from)
}

/// The addresses at which the agent places its probes in the program: the same in each process,
/// because it is not PIE.
fn points(programs: &Programs) -> anyhow::Result<Vec<u64>> {
    let (server, _) = http::server(programs)?;
    let agent = agent::start(&programs.taskscope, Network::OfMachine, Some(server.pid()), None)?;
    let answer = agent.client.ask(&["targets"]).context("the agent's targets")?;
    agent.stop()?;
    let points: Vec<_> = answer["items"][0]["probes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|probe| address(probe["point"].as_str()?))
        .collect();
    ensure!(!points.is_empty(), "the agent places no probes: {answer}");
    Ok(points)
}

/// Of `kind in symbol at 0x1234`.
fn address(point: &str) -> Option<u64> {
    let (_, address) = point.rsplit_once(" at 0x")?;
    u64::from_str_radix(address, 16).ok()
}

/// Milliseconds from the start of a program to the moment when all probes are in its memory. The file
/// is a new one each time, so that nothing of it is known.
fn until_attached(programs: &Programs, points: &[u64]) -> anyhow::Result<f64> {
    let file = Copied::new(&programs.targets.join("http"))?;
    let mut agent = Agent::spawn(&programs.taskscope, Network::OfMachine, |_| ())?;
    agent.until(&["status"], |_| true)?;
    let began = clock::now();
    let mut command = Command::new(&file.0);
    command.args(["server", "-listen", "127.0.0.1:0"]);
    let mut process = Process::start("the program", &command)?;
    let memory = format!("/proc/{}/mem", process.pid());
    process
        .eventually(PATIENCE, || {
            // Anew each time: what was opened before the program executes shows the one before it.
            let memory = File::open(&memory).with_context(|| format!("cannot read {memory}"))?;
            let mut byte = [0];
            let is_set = |at: &u64| memory.read_exact_at(&mut byte, *at).is_ok() && byte == [BREAKPOINT];
            Ok(points.iter().all(is_set).then_some(()))
        })
        .context("not all probes are placed")?;
    let millis = began.elapsed().as_secs_f64() * 1e3;
    agent.stop()?;
    Ok(millis)
}

struct Copied(PathBuf);

impl Copied {
    fn new(program: &Path) -> anyhow::Result<Self> {
        let copy = sh::root().join(format!("target/bench/started-{}", std::process::id()));
        fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
        Ok(Self(copy))
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // The next run replaces what is left.
        _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_an_address() {
        assert_eq!(address("push rbp in net/http.(*conn).close at 0x6f1a20"), Some(0x006f_1a20));
        assert_eq!(address("net/http.(*conn).close"), None);
    }
}
