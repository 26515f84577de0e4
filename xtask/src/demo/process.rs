//! Programs of the demo, none of which outlives it.

use std::{
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{clock, sh};

const TO_LISTEN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Killed when dropped.
pub(super) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    /// Under `setpriv`, so that the kernel ends it if the demo is killed before it can do so itself.
    pub(super) fn start(name: &'static str, command: &Command) -> anyhow::Result<Self> {
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
        bound.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bound.stdin(Stdio::null()).stdout(Stdio::null());
        let child = bound.spawn().with_context(|| format!("cannot start `{}`", sh::shown(&bound)))?;
        Ok(Self { child, name })
    }

    /// A service of the shop; returns when it listens.
    pub(super) fn service(
        name: &'static str,
        command: &mut Command,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut process = Self::start(name, command.env("OTEL_SERVICE_NAME", name))?;
        process.eventually(TO_LISTEN, || Ok(TcpStream::connect(address).is_ok().then_some(())))?;
        Ok(process)
    }

    /// Asks until there is an answer; an error if the program ends first.
    pub(super) fn eventually<T>(
        &mut self,
        patience: Duration,
        ask: impl Fn() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let began = clock::now();
        loop {
            self.must_run()?;
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            if patience < began.elapsed() {
                bail!("{} is not ready after {} s", self.name, patience.as_secs());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    pub(super) fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot ask for {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} has ended: {status}", self.name),
        }
    }

    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Asks it to end, and waits; whoever does not listen is killed by the drop.
    pub(super) fn stop(mut self, patience: Duration) -> anyhow::Result<()> {
        sh::output(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let began = clock::now();
        while began.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "{} ended badly: {status}", self.name);
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
        bail!("{} did not end within {} s", self.name, patience.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_program_is_an_error_with_its_name() {
        let mut process = Process::start("short", &Command::new("false")).unwrap();
        let error = process.eventually(Duration::from_secs(20), || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.to_string(), "short has ended: exit status: 1");
    }

    #[test]
    fn patience_has_an_end() {
        let mut process = Process::start("slow", Command::new("sleep").arg("60")).unwrap();
        let error = process.eventually(Duration::ZERO, || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.to_string(), "slow is not ready after 0 s");
    }
}
