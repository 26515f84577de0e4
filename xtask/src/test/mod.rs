//! `cargo xtask test`: three sizes of tests, one count at the end.

mod tally;

use std::{
    io::{self, Read, Write},
    process::{Command, ExitCode, Stdio},
    thread,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::{
    build::{self, Profile},
    fixtures,
    host::host_cargo,
    setup, sh,
};
pub(crate) use tally::Tally;

/// Runs the tests, and ends with one line: `N passed, N failed, N skipped`.
///
/// pure: beside the code, no privileges, seconds. kernel: programs in the real kernel, real
/// processes, network namespaces; needs root (sudo is used if you are not). system: the binary end
/// to end, with a real OpenTelemetry Collector. What the last two need is installed or built
/// first; the first time that is minutes (the Collector alone two), later nothing.
///
/// With TASKSCOPE_TESTS_REQUIRE=bpf a test that would skip itself fails.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test pure config\n  \
                        cargo xtask test kernel sock -- --nocapture")]
pub(crate) struct Options {
    /// Which size; without it, all three.
    suite: Option<Suite>,

    /// Only tests whose name contains this.
    name: Option<String>,

    /// Passed on to the test programs.
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    Pure,
    Kernel,
    System,
}

/// Says nothing after the count, not even of a failure: the count is the last line.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let tally = tally(options, Skips::AsEnvironmentSays)?;
    println!("{tally}");
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a test does that finds the kernel or a privilege lacking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skips {
    Fail,
    AsEnvironmentSays,
}

pub(crate) fn tally(options: &Options, skips: Skips) -> anyhow::Result<Tally> {
    let suites = match options.suite {
        Some(suite) => vec![suite],
        None => vec![Suite::Pure, Suite::Kernel, Suite::System],
    };
    let env = if suites == [Suite::Pure] { Vec::new() } else { prepare()? };
    let mut total = Tally::default();
    for suite in suites {
        // Compiled with our terminal, so that the progress is seen, then run with the output read.
        if let Err(error) = sh::run(suite.cargo()?.arg("--no-run")) {
            eprintln!("error: {error:#}");
            total.failed += 1;
            continue;
        }
        let mut cargo = suite.cargo()?;
        cargo.envs(env.iter().cloned()).arg("--no-fail-fast").args(&options.name).arg("--");
        if suite != Suite::Pure {
            cargo.arg("--test-threads=1");
        }
        if skips == Skips::Fail {
            cargo.env("TASKSCOPE_TESTS_REQUIRE", "bpf");
        }
        total += count(cargo.args(&options.args), io::stdout(), io::stderr())?;
    }
    Ok(total)
}

/// What kernel and system tests find ready, and the variables that tell them where.
fn prepare() -> anyhow::Result<Vec<(&'static str, std::ffi::OsString)>> {
    setup::ensure(&[setup::Group::Build, setup::Group::Test])?;
    let taskscope = build::taskscope(Profile::Debug)?;
    let fixtures = fixtures::build()?;
    Ok(vec![
        ("TASKSCOPE_BIN", taskscope.into()),
        ("TASKSCOPE_TARGETS", fixtures.targets.into()),
        ("TASKSCOPE_OTELCOL", fixtures.otelcol.into()),
        ("TASKSCOPE_TEMPO_1", fixtures.tempo.into()),
    ])
}

impl Suite {
    fn cargo(self) -> anyhow::Result<Command> {
        let mut cargo = host_cargo("test")?;
        match self {
            Self::Pure => {
                let packages = ["agent", "agent-common", "tests", "xtask"];
                cargo.args(packages.map(|it| format!("--package={it}"))).args(["--lib", "--bins"]);
            }
            Self::Kernel => _ = cargo.args(["--package=tests", "--test=kernel"]),
            Self::System => _ = cargo.args(["--package=tests", "--test=system"]),
        }
        // Compiled as the user, run as root: nothing of root's is left in the target folder.
        if self != Self::Pure && !sh::is_root() && sh::which("sudo").is_some() {
            cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo --preserve-env");
        }
        Ok(cargo)
    }
}

/// Runs tests, shows what they say as they say it, and counts.
fn count(command: &mut Command, stdout: impl Write, stderr: impl Write + Send) -> anyhow::Result<Tally> {
    let shown = sh::shown(command);
    eprintln!("+ {shown}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = thread::scope(|scope| {
        let err = scope.spawn(|| tee(err, stderr));
        (tee(out, stdout), err.join())
    });
    let err = err.map_err(|_| anyhow::anyhow!("the reader of `{shown}` died"))??;
    let status = child.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
    let mut tally = Tally::of(&out?) + Tally::of(&err);
    // A test program that is killed says nothing of its tests.
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

fn tee(from: Option<impl Read>, mut to: impl Write) -> anyhow::Result<String> {
    let Some(mut from) = from else {
        return Ok(String::new());
    };
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n_bytes = from.read(&mut buffer).context("cannot read what the tests print")?;
        if n_bytes == 0 {
            return Ok(String::from_utf8_lossy(&all).into_owned());
        }
        all.extend_from_slice(&buffer[..n_bytes]);
        to.write_all(&buffer[..n_bytes])
            .and_then(|()| to.flush())
            .context("cannot pass on what the tests print")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_dies_without_a_word_is_a_failure() {
        let tally = count(Command::new("sh").args(["-c", "kill -9 $$"]), io::sink(), io::sink()).unwrap();
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn both_outputs_are_counted() {
        let script = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; echo 'skipped: no bpf' >&2";
        let tally = count(Command::new("sh").args(["-c", script]), io::sink(), io::sink()).unwrap();
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 1 skipped");
    }
}
