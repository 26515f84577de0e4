//! The agent, switched on for a round.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

use super::process::{Process, eventually};

const TO_START: Duration = Duration::from_secs(20);
const TO_STOP: Duration = Duration::from_secs(10);

pub(super) struct Agent {
    process: Process,
    folder: PathBuf,
}

impl Agent {
    /// Returns when the agent answers, and has placed probes in `probed`: a round before that would
    /// measure nothing.
    pub(super) fn start(taskscope: &Path, probed: Option<u32>) -> anyhow::Result<Self> {
        let folder = env::temp_dir().join(format!("taskscope-bench-{}", process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let socket = folder.join("agent.sock");
        let mut command = Command::new(taskscope);
        command.args(["agent", "--log", "warn", "--socket"]).arg(&socket).stdout(Stdio::null());
        let mut agent = Self { process: Process::start(&mut command)?, folder };
        let ask = |what: &[&str]| {
            let answer = Command::new(taskscope).args(what).arg("--socket").arg(&socket).output().ok()?;
            answer.status.success().then_some(answer.stdout)
        };
        eventually(TO_START, || {
            agent.process.must_run()?;
            Ok(match probed {
                None => ask(&["status"]).map(drop),
                Some(pid) => ask(&["targets", "-o", "json"]).filter(|it| has_probes(it, pid)).map(drop),
            })
        })
        .context("the agent is not ready")?;
        Ok(agent)
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.process.stop(TO_STOP)?;
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }
}

fn has_probes(answer: &[u8], pid: u32) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return false;
    };
    let is_probed = |item: &Value| {
        item["target"]["pid"] == pid && item["probes"].as_array().is_some_and(|probes| !probes.is_empty())
    };
    answer["items"].as_array().is_some_and(|items| items.iter().any(is_probed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_target_with_probes_is_ready() {
        let answer = br#"{"items": [{"target": {"pid": 7}, "probes": [{"name": "x"}]}, {"target": {"pid": 8}, "probes": []}]}"#;
        assert!(has_probes(answer, 7));
        assert!(!has_probes(answer, 8));
        assert!(!has_probes(answer, 9));
        assert!(!has_probes(b"", 7));
    }
}
