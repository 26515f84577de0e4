//! What the agent itself takes while a Go server answers 10,000 requests a second, all of them
//! exported.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Outcome, Programs, agent, figure::Figure, http};
use crate::{
    clock,
    run::{Agent, Network, Sink},
    sh,
};

const PER_SECOND: u64 = 10_000;
const SECONDS: u64 = 8;
/// The trace store, the queue and the allocator are full after this.
const WARM_UP_SECONDS: u64 = 2;
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    cpu_percent: Vec<f64>,
    rss_mib: Vec<f64>,
    map_mib: Vec<f64>,
    not_sent_ratio: Vec<f64>,
    sent_kib_per_second: Vec<f64>,
}

pub(super) fn run(programs: &Programs, n_rounds: u32) -> anyhow::Result<Outcome> {
    let (mut server, address) = http::server(programs)?;
    let sink = Sink::open()?;
    let mut rounds = Rounds::default();
    for _ in 0..n_rounds {
        server.must_run()?;
        let (pid, sink_address) = (Some(server.pid()), Some(sink.address()));
        let mut agent = agent::start(&programs.taskscope, Network::OfMachine, pid, sink_address)?;
        rounds.add(programs, &mut agent, &address, &sink)?;
        agent.stop()?;
    }
    let Rounds { per_second, cpu_percent, rss_mib, map_mib, not_sent_ratio, sent_kib_per_second } = rounds;
    let figures = vec![
        Figure::at_most("the agent's CPU", "% of a core", cpu_percent, 3.0),
        Figure::at_most("resident memory", "MiB", rss_mib, 50.0),
        Figure::at_most("maps in the kernel", "MiB", map_mib, 20.0),
        Figure::of_interest("requests answered", "1/s", per_second),
        Figure::of_interest("spans not sent", "of all", not_sent_ratio),
        Figure::of_interest("exported, zstd", "KiB/s", sent_kib_per_second),
    ];
    Ok(Outcome { pairs: None, figures })
}

impl Rounds {
    fn add(
        &mut self,
        programs: &Programs,
        agent: &mut Agent,
        address: &str,
        sink: &Sink,
    ) -> anyhow::Result<()> {
        load(programs, address, WARM_UP_SECONDS)?;
        let (cpu_before, bytes_before, began) = (agent.process.cpu_ns()?, sink.bytes(), clock::now());
        let sum = load(programs, address, SECONDS)?;
        let elapsed = began.elapsed().as_secs_f64();
        let cpu_ns = agent.process.cpu_ns()?.saturating_sub(cpu_before);
        let n_bytes = sink.bytes().saturating_sub(bytes_before);

        let n_requests = ((WARM_UP_SECONDS + SECONDS) * PER_SECOND) as f64;
        // The last ones are on their way for up to a second. When some were lost, it stays like that.
        let status = agent
            .until(&["status"], |answer| sent(answer) == Some(n_requests))
            .or_else(|_| agent.client.ask(&["status"]))
            .context("the agent's status")?;
        let item = &status["items"][0];
        let number = |name: &str| item[name].as_f64().with_context(|| format!("the agent's {name}"));
        let n_sent = sent(&status).context("the agent's count of spans")?;
        self.per_second.push(sum["per_second"].as_f64().context("the client's rate")?);
        self.cpu_percent.push(cpu_ns as f64 / 1e7 / elapsed);
        self.rss_mib.push(number("rss_bytes")? / MIB);
        self.map_mib.push(number("bpf_map_bytes")? / MIB);
        self.not_sent_ratio.push((n_requests - n_sent) / n_requests);
        self.sent_kib_per_second.push(n_bytes as f64 / 1024.0 / elapsed);
        Ok(())
    }
}

fn sent(status: &Value) -> Option<f64> {
    let exporters = status["items"][0]["export"].as_array()?;
    exporters.iter().find(|it| it["signal"] == "traces")?["sent"].as_f64()
}

/// In open loop: a slow answer does not lower the rate.
fn load(programs: &Programs, address: &str, seconds: u64) -> anyhow::Result<Value> {
    let answer = sh::output(
        Command::new(programs.targets.join("http"))
            .args(["client", "-quiet", "-c", "8", "-n", &(seconds * PER_SECOND).to_string()])
            .args(["-rps", &PER_SECOND.to_string(), "-url", &format!("http://{address}/echo/")])
            .stderr(Stdio::inherit()),
    )?;
    let sum: Value = serde_json::from_str(&answer).context("the client's sum")?;
    ensure!(sum["errors"] == 0, "the client saw {sum}");
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_sent_are_those_of_the_traces() {
        let export = json!([{"signal": "metrics", "sent": 1}, {"signal": "traces", "sent": 7}]);
        assert_eq!(sent(&json!({"items": [{"export": export}]})), Some(7.0));
        assert_eq!(sent(&json!({"items": []})), None);
    }
}
