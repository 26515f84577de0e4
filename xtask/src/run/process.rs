//! Programs that run beside us, none of which outlives us.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use super::Talk;
use crate::{clock, sh};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Has `setpriv` ask the kernel for a signal when we end. The kernel forgets it when the process changes its
/// user: whoever does that asks once more.
pub(super) const END_WITH_US: [&str; 2] = ["--pdeathsig", "TERM"];

/// Killed when dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Its output is dropped.
    pub(crate) fn start(name: &str, command: &Command) -> anyhow::Result<Self> {
        Self::spawn(name, bound(command).stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// Starts a target of ours that takes commands, a line each.
    pub(crate) fn obeying(name: &str, command: &Command) -> anyhow::Result<(Self, Talk)> {
        let mut process = Self::spawn(name, bound(command).stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let told = process.child.stdin.take().context("the input is piped")?;
        let said = process.child.stdout.take().context("the output is piped")?;
        let talk = Talk::new(told, said).with_context(|| format!("{name} is not ready"))?;
        Ok((process, talk))
    }

    /// Starts a target of ours, and returns the address that it says it listens on.
    pub(crate) fn listening(name: &str, command: &Command) -> anyhow::Result<(Self, String)> {
        let mut process = Self::spawn(name, bound(command).stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let mut lines = BufReader::new(process.child.stdout.take().context("the output is piped")?).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|it| it.strip_prefix("listening ").map(str::to_owned))
            .with_context(|| format!("{name} did not say where it listens"))?;
        // Read on: a program whose output nobody takes would fail, or wait.
        thread::spawn(move || lines.for_each(drop));
        Ok((process, address))
    }

    fn spawn(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start `{}`", sh::shown(command)))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// Asks until there is an answer; an error if the program ends first.
    pub(crate) fn eventually<T>(
        &mut self,
        patience: Duration,
        mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let answer = eventually(patience, || {
            self.must_run()?;
            ask()
        });
        answer.with_context(|| format!("{} is not as it should be", self.name))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot ask for {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} has ended: {status}", self.name),
        }
    }

    pub(crate) fn wait(&mut self) -> anyhow::Result<()> {
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Asks it to end, and waits; whoever does not listen is killed by the drop.
    pub(crate) fn stop(mut self, patience: Duration) -> anyhow::Result<()> {
        self.must_run()?;
        sh::output(Command::new("kill").args(["-TERM", &self.pid().to_string()]))?;
        let status = eventually(patience, || Ok(self.child.try_wait()?))
            .with_context(|| format!("{} does not end when told to", self.name))?;
        ensure!(status.success(), "{} ended badly: {status}", self.name);
        Ok(())
    }

    /// Nanoseconds of CPU time of all its threads, as the scheduler counts them.
    pub(crate) fn cpu_ns(&self) -> anyhow::Result<u64> {
        self.cpu_ns_of(|_| true)
    }

    /// Of those with this name.
    pub(crate) fn thread_cpu_ns(&self, name: &str) -> anyhow::Result<u64> {
        self.cpu_ns_of(|thread| fs::read_to_string(thread.join("comm")).is_ok_and(|it| it.trim_end() == name))
    }

    fn cpu_ns_of(&self, is_it: impl Fn(&Path) -> bool) -> anyhow::Result<u64> {
        let folder = format!("/proc/{}/task", self.pid());
        let mut sum = 0;
        for thread in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
            let thread = thread?.path();
            // A thread that has just ended took its time with it; ours keep theirs.
            let Some(text) =
                is_it(&thread).then(|| fs::read_to_string(thread.join("schedstat")).ok()).flatten()
            else {
                continue;
            };
            sum += text.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }
}

/// Under `setpriv`, so that the kernel ends it if we are killed before we can do so ourselves. It
/// becomes the program, so its pid is the program's.
fn bound(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(END_WITH_US).arg("--");
    sh::behind(bound, command)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
pub(super) fn eventually<T>(
    patience: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = clock::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if patience < began.elapsed() {
            bail!("nothing within {} s", patience.as_secs());
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn the_end_of_a_program_is_an_error_with_its_name() {
        let mut process = Process::start("short", &Command::new("false")).unwrap();
        let error = process.eventually(PATIENCE, || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.root_cause().to_string(), "short has ended: exit status: 1");
    }

    #[test]
    fn patience_has_an_end() {
        let mut process = Process::start("slow", Command::new("sleep").arg("60")).unwrap();
        let error = process.eventually(Duration::ZERO, || Ok(None::<()>)).unwrap_err();
        assert_eq!(format!("{error:#}"), "slow is not as it should be: nothing within 0 s");
    }

    #[test]
    fn a_process_that_works_takes_time() {
        let process = Process::start("busy", Command::new("sh").args(["-c", "while :; do :; done"])).unwrap();
        eventually(PATIENCE, || process.cpu_ns().map(|it| (it > 20_000_000).then_some(()))).unwrap();
    }

    #[test]
    fn a_program_does_what_it_is_told() {
        let script = "echo ready; while read -r line; do echo \"<$line>\"; done";
        let (_process, mut talk) = Process::obeying("echo", Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!([talk.ask("1 2").unwrap(), talk.ask("").unwrap()], ["<1 2>", "<>"]);
        let error = Process::obeying("mute", &Command::new("true")).err().unwrap();
        assert_eq!(format!("{error:#}"), "mute is not ready: it has ended");
    }

    #[test]
    fn a_program_says_where_it_listens() {
        let script = "echo ready; echo listening 127.0.0.1:80; exec sleep 60";
        let (process, address) =
            Process::listening("server", Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(address, "127.0.0.1:80");
        let name = || fs::read_to_string(format!("/proc/{}/comm", process.pid()));
        eventually(PATIENCE, || Ok((name()? == "sleep\n").then_some(()))).unwrap();
        let error = Process::listening("mute", &Command::new("true")).err().unwrap();
        assert_eq!(error.to_string(), "mute did not say where it listens");
    }
}
