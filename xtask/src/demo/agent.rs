//! The agent of the demo, on a socket of its own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::process::Process;
use crate::sh;

/// Only root may write here, so nobody else can have put something in our way.
const FOLDER: &str = "/run/taskscope-demo";
const TO_START: Duration = Duration::from_secs(30);
const TO_STOP: Duration = Duration::from_secs(10);

pub(super) struct Agent {
    process: Process,
    taskscope: PathBuf,
    socket: PathBuf,
}

impl Agent {
    /// Returns when it answers. The packet program stays off: the demo touches no interface.
    pub(super) fn start(taskscope: &Path, sink: SocketAddr) -> anyhow::Result<Self> {
        fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
        let socket = Path::new(FOLDER).join(format!("{}.sock", process::id()));
        let mut command = Command::new(taskscope);
        command.args(["agent", "--log", "warn", "--xdp", "off", "--otlp-protocol", "http/protobuf"]);
        command.arg("--otlp-endpoint").arg(format!("http://{sink}"));
        command.args(["--metrics-interval", "5s"]).arg("--socket").arg(&socket);
        let process = Process::start("the agent", &command)?;
        let mut agent = Self { process, taskscope: taskscope.to_owned(), socket };
        let mut status = agent.client(&["status"]);
        status.stderr(process::Stdio::null()).stdout(process::Stdio::null());
        let status = std::cell::RefCell::new(status);
        agent.process.eventually(TO_START, || {
            let answer = status.borrow_mut().status().context("cannot ask the agent")?;
            Ok(answer.success().then_some(()))
        })?;
        Ok(agent)
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.taskscope);
        command.args(arguments).arg("--socket").arg(&self.socket);
        command
    }

    /// The items of an answer. Exit status 2 is an answer too: there are none.
    pub(super) fn items(&self, what: &str) -> anyhow::Result<Vec<serde_json::Value>> {
        let mut command = self.client(&[what, "-o", "json"]);
        let output = command.output().with_context(|| format!("cannot ask for {what}"))?;
        match output.status.code() {
            Some(0) => {}
            Some(2) => return Ok(Vec::new()),
            _ => anyhow::bail!("`{}`: {}", sh::shown(&command), String::from_utf8_lossy(&output.stderr)),
        }
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).context("that is no JSON")?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    /// Prints what a user would see.
    pub(super) fn show(&self, title: &str, arguments: &[&str]) -> anyhow::Result<()> {
        println!("\n# {title}: taskscope {}\n", arguments.join(" "));
        let status = self.client(arguments).status().with_context(|| format!("cannot ask: {title}"))?;
        ensure!(matches!(status.code(), Some(0 | 2)), "`taskscope {}` failed: {status}", arguments.join(" "));
        Ok(())
    }

    pub(super) fn must_run(&mut self) -> anyhow::Result<()> {
        self.process.must_run()
    }

    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        self.process.wait()
    }

    /// Lets it drain its exporters.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.process.stop(TO_STOP)?;
        // Another demo may use the folder.
        _ = fs::remove_dir(FOLDER);
        Ok(())
    }
}
