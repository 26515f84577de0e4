//! A Go server whose handler works for about 20 us.
//!
//! It has a processor of its own, and requests come in batches: a server that waits for each takes more
//! time for it the less there is to do, which would be counted as ours. The machine's own speed changes
//! within seconds, so rounds are short, and many.

use std::process::Command;

use anyhow::Context as _;

use super::{
    Programs,
    figure::Figure,
    pairs::{Measures, Pairs, Scenario},
    sum::Sum,
};
use crate::{run::Process, sh};

/// For each round that was asked for.
pub(super) const SHORT_ROUNDS: u32 = 5;
const SECONDS: &str = "0.3";
const CONNECTIONS: &str = "4";
const SERVER_CPU: &str = "0";
const LOAD_CPU: &str = "1";

#[derive(Default)]
pub(super) struct Http {
    server: Option<(Process, String)>,
}

impl Scenario for Http {
    fn unit(&self) -> &'static str {
        "request"
    }

    fn prepare(&mut self, programs: &Programs) -> anyhow::Result<()> {
        let command = own_cpu(SERVER_CPU, &server_command(programs));
        self.server = Some(Process::listening("the HTTP server", &command)?);
        Ok(())
    }

    fn probed(&self) -> Option<u32> {
        self.server.as_ref().map(|(server, _)| server.pid())
    }

    fn round(&mut self, programs: &Programs) -> anyhow::Result<Measures> {
        let (server, address) = self.server.as_mut().context("the server runs")?;
        server.must_run()?;
        let before = server.cpu_ns()?;
        let mut load = Command::new(programs.cargo.join("target-conn"));
        load.args(["http-rate", address, "/echo/1", SECONDS, CONNECTIONS]);
        let sum = Sum::of(&mut own_cpu(LOAD_CPU, &load))?;
        let spent = server.cpu_ns()?.saturating_sub(before);
        Ok(Measures {
            target_cpu_us_per_unit: spent as f64 / 1e3 / sum.done("requests")?,
            units_per_second: sum.number("per_second")?,
        })
    }

    fn figures(&self, pairs: &Pairs) -> Vec<Figure> {
        vec![pairs.added_cpu("CPU added per request", 3.0)]
    }
}

pub(super) fn server(programs: &Programs) -> anyhow::Result<(Process, String)> {
    Process::listening("the HTTP server", &server_command(programs))
}

/// Four rounds of the handler's work are about 20 us.
fn server_command(programs: &Programs) -> Command {
    let mut command = Command::new(programs.targets.join("http"));
    command.args(["server", "-listen", "127.0.0.1:0", "-work", "4"]);
    command
}

/// Becomes the program, as `taskset` of util-linux does.
fn own_cpu(cpu: &str, command: &Command) -> Command {
    let mut bound = Command::new("taskset");
    bound.args(["--cpu-list", cpu]);
    sh::behind(bound, command)
}
