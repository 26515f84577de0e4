//! The agent, on a socket of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::Process;
use crate::sh;

/// Only root may write here, so nobody else can have put something in our way.
const FOLDER: &str = "/run/taskscope-xtask";
const TO_START: Duration = Duration::from_secs(30);
const TO_STOP: Duration = Duration::from_secs(10);

pub(crate) struct Agent {
    pub(crate) process: Process,
    pub(crate) client: Client,
}

/// The other commands of `taskscope`.
pub(crate) struct Client {
    taskscope: PathBuf,
    pub(crate) socket: PathBuf,
}

impl Agent {
    /// Starts it, and does not wait. The machine's own interfaces are left alone.
    pub(crate) fn spawn(taskscope: &Path, options: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
        let socket = Path::new(FOLDER).join(format!("{}.sock", process::id()));
        let mut command = Command::new(taskscope);
        command.args(["agent", "--log", "warn", "--xdp", "off", "--socket"]).arg(&socket);
        options(&mut command);
        let process = Process::start("the agent", &command)?;
        Ok(Self { process, client: Client { taskscope: taskscope.to_owned(), socket } })
    }

    /// Asks until the answer is right. As long as the agent is not ready there is none.
    pub(crate) fn until(
        &mut self,
        what: &[&str],
        is_right: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.process
            .eventually(TO_START, || Ok(self.client.ask(what).ok().filter(&is_right)))
            .with_context(|| format!("`taskscope {}`", what.join(" ")))
    }

    /// Lets it drain its exporters.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.process.stop(TO_STOP)?;
        // Another agent of ours may use the folder.
        _ = fs::remove_dir(FOLDER);
        Ok(())
    }
}

impl Client {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.taskscope);
        command.args(arguments).arg("--socket").arg(&self.socket);
        command
    }

    /// An answer as JSON. Exit status 2 is an answer too: nothing was found.
    pub(crate) fn ask(&self, what: &[&str]) -> anyhow::Result<Value> {
        let mut command = self.command(&[what, &["-o", "json"]].concat());
        let shown = sh::shown(&command);
        let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
        if !matches!(output.status.code(), Some(0 | 2)) {
            bail!("`{shown}`: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("`{shown}` printed no JSON"))
    }
}
