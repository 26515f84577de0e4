//! The agent, switched on for a round.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

use super::process::{Process, eventually};

const SOCKET: &str = "agent.sock";
const TO_START: Duration = Duration::from_secs(20);
const TO_STOP: Duration = Duration::from_secs(10);

pub(super) struct Agent {
    process: Process,
    taskscope: PathBuf,
    folder: PathBuf,
}

impl Agent {
    /// Returns when the agent answers, and has placed probes in `watched`: a round before that would
    /// measure nothing. Spans and metrics go to the address `sink`.
    pub(super) fn start(
        taskscope: &Path,
        watched: Option<u32>,
        sink: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let mut agent = Self::spawn(taskscope, |command| {
            if let Some(pid) = watched {
                // The load's own program is no part of the service.
                command.args(["--watch-pid", &pid.to_string()]);
            }
            if let Some(sink) = sink {
                command.arg(format!("--otlp-endpoint=http://{sink}"));
                command.args(["--otlp-protocol", "http/protobuf"]);
            }
        })?;
        agent.until(&["status"], |_| true)?;
        if let Some(pid) = watched {
            agent.until(&["targets"], |answer| has_probes(answer, pid))?;
        }
        Ok(agent)
    }

    /// Starts it, and does not wait. The machine's own interfaces are left alone.
    pub(super) fn spawn(taskscope: &Path, options: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let folder = env::temp_dir().join(format!("taskscope-bench-{}", process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut command = Command::new(taskscope);
        command.args(["agent", "--log", "error", "--xdp", "off", "--socket"]).arg(folder.join(SOCKET));
        options(command.stdout(Stdio::null()));
        Ok(Self { process: Process::start(&mut command)?, taskscope: taskscope.to_owned(), folder })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// An answer as JSON; `None` when there is none, as long as the agent is not ready.
    pub(super) fn ask(&self, what: &[&str]) -> Option<Value> {
        let mut command = Command::new(&self.taskscope);
        command.args(what).args(["-o", "json", "--socket"]).arg(self.socket());
        let answer = command.output().ok()?;
        answer.status.success().then(|| serde_json::from_slice(&answer.stdout).ok())?
    }

    /// Asks until the answer is right.
    pub(super) fn until(
        &mut self,
        what: &[&str],
        is_right: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        eventually(TO_START, || {
            self.process.must_run()?;
            Ok(self.ask(what).filter(&is_right))
        })
        .with_context(|| format!("the agent's {} is not as it should be", what.join(" ")))
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.process.stop(TO_STOP)?;
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }
}

fn has_probes(answer: &Value, pid: u32) -> bool {
    let is_probed = |item: &Value| {
        item["target"]["pid"] == pid && item["probes"].as_array().is_some_and(|probes| !probes.is_empty())
    };
    answer["items"].as_array().is_some_and(|items| items.iter().any(is_probed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_target_with_probes_is_ready() {
        let answer = json!({"items": [
            {"target": {"pid": 7}, "probes": [{"name": "x"}]},
            {"target": {"pid": 8}, "probes": []},
        ]});
        assert!(has_probes(&answer, 7));
        assert!(!has_probes(&answer, 8));
        assert!(!has_probes(&answer, 9));
        assert!(!has_probes(&Value::Null, 7));
    }
}
