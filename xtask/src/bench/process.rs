//! Programs that run beside the bench.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{clock, sh};

/// Killed when dropped, so that an error leaves nothing running.
pub(super) struct Process {
    child: Child,
    shown: String,
}

impl Process {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let shown = sh::shown(command);
        let child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        Ok(Self { child, shown })
    }

    /// Starts a target of ours, and returns the address that it says it listens on.
    pub(super) fn listening(command: &mut Command) -> anyhow::Result<(Self, String)> {
        let mut process = Self::start(command.stdout(Stdio::piped()))?;
        let mut lines = BufReader::new(process.stdout()?).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|it| it.strip_prefix("listening ").map(str::to_owned));
        let address = address.with_context(|| format!("`{}` did not say where it listens", process.shown))?;
        // Read on: a program whose output nobody takes would fail, or wait.
        thread::spawn(move || lines.for_each(drop));
        Ok((process, address))
    }

    fn stdout(&mut self) -> anyhow::Result<ChildStdout> {
        self.child.stdout.take().context("the output is piped")
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if the program is gone.
    pub(super) fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot ask for `{}`", self.shown))? {
            None => Ok(()),
            Some(status) => bail!("`{}` has ended: {status}", self.shown),
        }
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(mut self, patience: Duration) -> anyhow::Result<()> {
        self.must_run()?;
        sh::output(Command::new("kill").args(["-TERM", &self.pid().to_string()]))?;
        eventually(patience, || Ok(self.child.try_wait()?.map(drop)))
            .with_context(|| format!("`{}` does not end when told to", self.shown))
    }

    /// Nanoseconds of CPU time of all its threads, as the scheduler counts them.
    pub(super) fn cpu_ns(&self) -> anyhow::Result<u64> {
        let folder = format!("/proc/{}/task", self.pid());
        let mut sum = 0;
        for thread in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
            // A thread that has just ended took its time with it; ours keep theirs.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            sum += text.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }
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
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_takes_time() {
        let process = Process::start(Command::new("sh").args(["-c", "while :; do :; done"])).unwrap();
        let enough = |()| process.cpu_ns().map(|it| (it > 20_000_000).then_some(()));
        eventually(Duration::from_secs(20), || enough(())).unwrap();
    }

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut process = Process::start(&mut Command::new("true")).unwrap();
        let gone = eventually(Duration::from_secs(20), || Ok(process.must_run().err())).unwrap();
        assert_eq!(gone.to_string(), "`true` has ended: exit status: 0");
    }

    #[test]
    fn patience_has_an_end() {
        assert!(eventually(Duration::ZERO, || Ok(None::<()>)).is_err());
    }
}
