//! A Go server whose handler works for about 20 us.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    Programs,
    figure::Figure,
    pairs::{Measures, Pairs, Scenario},
};
use crate::{run::Process, sh};

const REQUESTS: u64 = 40_000;

#[derive(Default)]
pub(super) struct Http {
    server: Option<(Process, String)>,
}

impl Scenario for Http {
    fn unit(&self) -> &'static str {
        "request"
    }

    fn prepare(&mut self, programs: &Programs) -> anyhow::Result<()> {
        self.server = Some(server(programs)?);
        Ok(())
    }

    fn probed(&self) -> Option<u32> {
        self.server.as_ref().map(|(server, _)| server.pid())
    }

    fn round(&mut self, programs: &Programs) -> anyhow::Result<Measures> {
        let (server, address) = self.server.as_mut().context("the server runs")?;
        server.must_run()?;
        let before = server.cpu_ns()?;
        let answer = sh::output(
            Command::new(programs.targets.join("http"))
                .args(["client", "-quiet", "-c", "4", "-n", &REQUESTS.to_string()])
                .args(["-url", &format!("http://{address}/echo/")])
                .stderr(Stdio::inherit()),
        )?;
        let spent = server.cpu_ns()?.saturating_sub(before);
        let sum: Value = serde_json::from_str(&answer).context("the client's sum")?;
        ensure!(sum["requests"] == REQUESTS && sum["errors"] == 0, "the client saw {answer}");
        Ok(Measures {
            target_cpu_us_per_unit: spent as f64 / 1e3 / REQUESTS as f64,
            units_per_second: sum["per_second"].as_f64().context("the client's rate")?,
        })
    }

    fn figures(&self, pairs: &Pairs) -> Vec<Figure> {
        vec![pairs.added_cpu("CPU added per request", 3.0)]
    }
}

/// Four rounds of the handler's work are about 20 us.
pub(super) fn server(programs: &Programs) -> anyhow::Result<(Process, String)> {
    let mut command = Command::new(programs.targets.join("http"));
    Process::listening("the HTTP server", command.args(["server", "-listen", "127.0.0.1:0", "-work", "4"]))
}
