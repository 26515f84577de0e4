//! The agent, on a socket of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{Node, Process, process::eventually};
use crate::{clock, sh};

const TO_START: Duration = Duration::from_secs(30);
const TO_STOP: Duration = Duration::from_secs(10);
/// At rest it takes less than one part in so many of a core, for so long.
const BUSY_SHARE: u32 = 20;
const REST: Duration = Duration::from_millis(250);

pub(crate) struct Agent {
    pub(crate) process: Process,
    pub(crate) client: Client,
}

/// The other commands of `taskscope`.
pub(crate) struct Client {
    taskscope: PathBuf,
    pub(crate) socket: PathBuf,
}

/// Whose interfaces the agent sees.
#[derive(Clone, Copy)]
pub(crate) enum Network<'a> {
    /// The machine's, which it leaves alone.
    OfMachine,
    /// Those of a node of ours, on which it puts its programs.
    Of(&'a Node),
}

impl Agent {
    /// Starts it, and does not wait.
    pub(crate) fn spawn(
        taskscope: &Path,
        network: Network<'_>,
        options: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        // Only root may write there, so nobody else can have put something in our way.
        let socket = PathBuf::from(format!("/run/taskscope-xtask-{}.sock", process::id()));
        let mut command = Command::new(taskscope);
        command.args(["agent", "--log", "warn", "--socket"]).arg(&socket);
        options(&mut command);
        let process = match network {
            Network::OfMachine => Process::start("the agent", command.args(["--xdp", "off"]))?,
            Network::Of(node) => Process::start("the agent", &node.namespace.wrap(&command))?,
        };
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

    /// Waits until its programs are on the interfaces of the network, if it is to put any there.
    pub(crate) fn until_hooked(&mut self, network: Network<'_>) -> anyhow::Result<()> {
        let Network::Of(node) = network else {
            return Ok(());
        };
        let pid = self.process.pid();
        self.process
            .eventually(TO_START, || Ok((node.n_hooks() <= n_hooked(pid)?).then_some(())))
            .context("the agent's programs on interfaces")
    }

    /// Waits until what it does once, after its start, is done.
    pub(crate) fn until_at_rest(&mut self) -> anyhow::Result<()> {
        let mut before = None;
        let process = &mut self.process;
        let at_rest = || {
            let (now, spent) = (clock::now(), process.cpu_ns()?);
            let Some((since, spent_before)) = before else {
                before = Some((now, spent));
                return Ok(None);
            };
            let elapsed = now.duration_since(since);
            if elapsed < REST {
                return Ok(None);
            }
            before = Some((now, spent));
            let busy = Duration::from_nanos(spent.saturating_sub(spent_before));
            Ok((busy * BUSY_SHARE < elapsed).then_some(()))
        };
        eventually(TO_START, at_rest).context("the agent does not come to rest")
    }

    /// Lets it drain its exporters.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.process.stop(TO_STOP)
    }
}

/// How many programs a process holds on interfaces.
fn n_hooked(pid: u32) -> anyhow::Result<usize> {
    let folder = format!("/proc/{pid}/fdinfo");
    let mut n_hooked = 0;
    for file in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
        // It may have been closed meanwhile.
        let text = fs::read_to_string(file?.path()).unwrap_or_default();
        n_hooked += usize::from(text.lines().any(|it| it == "link_type:\ttcx"));
    }
    Ok(n_hooked)
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
