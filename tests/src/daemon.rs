//! The agent, as a user starts, asks and ends it.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use agent::clock::{self, Ktime};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{NetNs, eventually, mortal::mortal, paths, privileges};

/// Exit statuses that answer a question.
const DONE: i32 = 0;
const NOTHING_FOUND: i32 = 2;
const SHOWN_LOG_LINES: usize = 40;

/// Killed when dropped; a test that fails shows the end of its log.
///
/// It has the capabilities that the manifest asks for and no others, unless it is started by [`Self::attempt`]: what is
/// tested is what a node gets.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
    started: Ktime,
    _dir: TempDir,
}

/// How a terminated agent ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub took: Duration,
    pub log: String,
}

impl Agent {
    /// Waits until it answers.
    #[track_caller]
    pub fn start<A: AsRef<OsStr>>(flags: impl IntoIterator<Item = A>) -> Self {
        Self::launch(Self::attempt(&limited(alone().args(flags))))
    }

    /// Where the interfaces are those of a test.
    #[track_caller]
    pub fn start_in<A: AsRef<OsStr>>(namespace: &NetNs, flags: impl IntoIterator<Item = A>) -> Self {
        // The namespace is entered with all of root's.
        let command = namespace.wrap(&limited(taskscope().arg("agent").args(flags)));
        Self::launch(Self::attempt(&command))
    }

    /// On the socket of another one.
    #[track_caller]
    pub fn start_on<A: AsRef<OsStr>>(socket: &Path, flags: impl IntoIterator<Item = A>) -> Self {
        let dir = tempfile::tempdir().expect("there is a folder for temporary files");
        Self::launch(Self::begin(&limited(alone().args(flags)), socket.to_owned(), dir))
    }

    #[track_caller]
    fn launch(begun: Result<Self, Ended>) -> Self {
        begun.unwrap_or_else(|ended| panic!("the agent ended with {}: {}", ended.status, ended.log))
    }

    /// By a whole command line, to which the socket is added; or how it ended before it answered.
    #[track_caller]
    pub fn attempt(command: &Command) -> Result<Self, Ended> {
        let dir = tempfile::tempdir().expect("there is a folder for temporary files");
        let socket = dir.path().join("agent.sock");
        Self::begin(command, socket, dir)
    }

    #[track_caller]
    fn begin(command: &Command, socket: PathBuf, dir: TempDir) -> Result<Self, Ended> {
        let log = dir.path().join("agent.log");
        let started = clock::now();
        let child = mortal(command)
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("the folder is ours"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start the agent: {error}"));
        let mut agent = Self { child, socket, log, started, _dir: dir };
        let ended = eventually("an answer of the agent", || {
            let ended = agent.child.try_wait().expect("a child can be waited for");
            if ended.is_some() {
                return Some(ended);
            }
            agent.run(["status"]).status.success().then_some(None)
        });
        match ended {
            Some(status) => Err(Ended { status, took: agent.age(), log: agent.log() }),
            None => Ok(agent),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Since it was started.
    pub fn age(&self) -> Duration {
        clock::now().since(self.started)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a client command against it.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        let mut command = taskscope();
        command.args(args).arg("--socket").arg(&self.socket);
        command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
    }

    /// The JSON of a client command; nothing found is an answer.
    #[track_caller]
    pub fn ask<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Value {
        let args: Vec<_> = args.into_iter().map(|it| it.as_ref().to_owned()).collect();
        let output = self.run(args.iter().map(|it| it.as_os_str()).chain(["-o", "json"].map(OsStr::new)));
        let errors = String::from_utf8_lossy(&output.stderr);
        let is_answer = matches!(output.status.code(), Some(DONE | NOTHING_FOUND));
        assert!(is_answer, "{args:?} ended with {}: {errors}", output.status);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?} printed no JSON: {error}"))
    }

    /// The items of a client command's answer.
    #[track_caller]
    pub fn items<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Vec<Value> {
        match self.ask(args)["items"].take() {
            Value::Array(items) => items,
            other => panic!("items are {other}"),
        }
    }

    /// What it says of itself, with `lost` by reason.
    #[track_caller]
    pub fn status(&self) -> Status {
        let mut answer = self.ask(["status"]);
        Status { item: answer["items"][0].take(), lost: answer["lost"].take() }
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn terminate(mut self) -> Ended {
        let begin = clock::now();
        self.signal(Signal::TERM);
        let status = self.wait();
        Ended { status, took: clock::now().since(begin), log: self.log() }
    }

    /// Sends SIGKILL and waits for the end; what it left behind is still there.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, signal).expect("a child can be signalled until it is waited for");
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        eventually("the end of the agent", || self.child.try_wait().expect("a child can be waited for"))
    }

    #[track_caller]
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
            panic!("the agent ended with {status}: {}", self.log());
        }
    }
}

impl Drop for Agent {
    #[expect(clippy::print_stderr, reason = "libtest shows it with the failure")]
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(SHOWN_LOG_LINES)..];
            eprintln!("the agent's log:\n{}", end.join("\n"));
        }
    }
}

#[track_caller]
fn limited(command: &Command) -> Command {
    privileges::with(&privileges::of_the_manifest(), command)
}

/// An agent that leaves the machine's own interfaces alone.
fn alone() -> Command {
    let mut command = taskscope();
    command.args(["agent", "--xdp", "off"]);
    command
}

/// `taskscope status`.
#[derive(Debug)]
pub struct Status {
    pub item: Value,
    pub lost: Value,
}

impl Status {
    /// A number by its JSON pointer, such as `/events/made`.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> u64 {
        let found = self.item.pointer(pointer).and_then(Value::as_u64);
        found.unwrap_or_else(|| panic!("no number {pointer} in {}", self.item))
    }

    #[track_caller]
    pub fn lost(&self, reason: &str) -> u64 {
        self.lost[reason].as_u64().unwrap_or_else(|| panic!("no loss {reason:?} in {}", self.lost))
    }

    /// Of the exporter of spans.
    #[track_caller]
    pub fn spans(&self, what: &str) -> u64 {
        self.number(&format!("/export/0/{what}"))
    }
}

/// The binary under test, with nothing of our own environment that means something to it.
#[track_caller]
pub fn taskscope() -> Command {
    let mut command = Command::new(paths::built("taskscope"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("TASKSCOPE_") || text.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}
