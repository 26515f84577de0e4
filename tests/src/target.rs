use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, eventually, mortal::mortal};

/// Lines that a target may be ahead of its test; beyond that it waits in `write`.
const MAX_LINES: usize = 64 * 1024;

/// A process that says `ready`, takes and gives lines, and is killed when dropped.
#[derive(Debug)]
pub struct Target {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Target {
    #[track_caller]
    pub fn spawn<A: AsRef<OsStr>>(exe: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(exe);
        command.args(args);
        Self::start(command)
    }

    /// Starts the command and waits for its `ready`.
    #[track_caller]
    pub fn start(command: Command) -> Self {
        let mut child = mortal(&command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = sync_channel(MAX_LINES);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let target = Self { child, stdin, lines };
        let first = target.line();
        assert_eq!(first, "ready", "from {command:?}");
        target
    }

    /// A process that becomes the program only when it is told a line, and keeps its pid: whoever wants
    /// to see the first thing that the program does can prepare for it.
    #[track_caller]
    pub fn held<A: AsRef<OsStr>>(exe: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; read -r go; exec \"$@\"", "held"]).arg(exe).args(args);
        Self::start(command)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where a server listens: the targets that take port 0 say so after `ready`.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        let line = self.line();
        line.strip_prefix("listening ")
            .and_then(|it| it.parse().ok())
            .unwrap_or_else(|| panic!("expected an address, got {line:?}"))
    }

    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap_or_else(|error| panic!("nobody hears {line:?}: {error}"));
    }

    /// The next line that the target prints.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line from {} for {PATIENCE:?}", self.pid()),
            Err(RecvTimeoutError::Disconnected) => panic!("{} has ended", self.pid()),
        }
    }

    /// Tells a line and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> serde_json::Value {
        self.tell(line);
        self.json()
    }

    /// The next line that the target prints, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"))
    }

    /// All lines until the target ends by itself; between two of them it has as long as for one.
    #[track_caller]
    pub fn rest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} neither spoke nor ended for {PATIENCE:?}, after {lines:?}", self.pid())
                }
            }
        }
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, signal).expect("a child can be signalled until it is waited for");
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        eventually("the end of a target", || self.child.try_wait().expect("a child can be waited for"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: &str = "echo ready; echo listening 127.0.0.1:80; while read line; do echo \"[$line]\"; done";

    #[test]
    fn lines_go_in_and_come_out() {
        let mut target = Target::spawn("sh", ["-c", ECHO]);
        assert_eq!(target.address(), SocketAddr::from(([127, 0, 0, 1], 80)));
        target.tell("1");
        assert_eq!(target.line(), "[1]");
        assert_eq!(target.ask("true"), serde_json::json!([true]));
        let status = target.terminate();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn a_held_target_waits_and_keeps_its_pid() {
        let mut target = Target::held("sh", ["-c", "echo $$"]);
        let pid = target.pid();
        target.tell("go");
        assert_eq!(target.line(), pid.to_string());
    }

    #[test]
    fn a_dropped_target_is_gone() {
        let target = Target::spawn("sh", ["-c", ECHO]);
        let proc = format!("/proc/{}", target.pid());
        assert!(std::fs::exists(&proc).unwrap());
        drop(target);
        assert!(!std::fs::exists(&proc).unwrap());
    }
}
