//! `cargo xtask ci`: what a pipeline runs.

mod readme;

use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::{Args, Parser as _};

use crate::{clock, lint, manifests, setup, sh, test, tidy};

/// Runs all that must pass before a change goes in, and says how long each part took.
///
/// Formatting, clippy on both halves and the fuzz targets, dependency rules, manifests, tidy, then the tests, by the very command
/// that README.md tells its readers; a test that would skip itself fails. From nothing it takes
/// under 25 minutes on two cores, most of them compiling.
#[derive(Args)]
pub(crate) struct Options {
    /// Stop at the first part that fails.
    #[arg(long)]
    fail_fast: bool,
}

struct Step {
    name: &'static str,
    took: Duration,
    error: Option<anyhow::Error>,
}

/// The count of tests is the last line, also of a failure.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let tests = test_options()?;
    let mut tally = None;
    let mut run_tests = || {
        let counted = test::tally(&tests, test::Skips::Fail)?;
        tally = Some(counted);
        ensure!(counted.failed == 0, "{} tests failed", counted.failed);
        Ok(())
    };
    let parts: [(&'static str, &mut dyn FnMut() -> anyhow::Result<()>); 9] = [
        ("setup", &mut || setup::ensure(setup::Group::FOR_CI)),
        ("format", &mut lint::format),
        ("clippy, kernel half", &mut lint::kernel_half),
        ("clippy, host half", &mut lint::host_half),
        ("fuzz targets", &mut lint::fuzz_targets),
        ("dependencies", &mut lint::deny),
        ("manifests", &mut manifests::check),
        ("test", &mut run_tests),
        // After the tests have built what the documents are compared with.
        ("tidy", &mut || tidy::run(&tidy::Options::default())),
    ];
    let mut steps = Vec::new();
    for (name, part) in parts {
        sh::note(name);
        let began = clock::now();
        let error = part().err();
        let is_over = error.is_some() && options.fail_fast;
        steps.push(Step { name, took: began.elapsed(), error });
        if is_over {
            break;
        }
    }
    // Tests that could not be begun have not passed.
    let tally = tally.unwrap_or(test::Tally { failed: 1, ..test::Tally::default() });
    print(&steps);
    println!("{tally}");
    let is_good = tally.failed == 0 && steps.iter().all(|it| it.error.is_none());
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(steps: &[Step]) {
    for Step { name, took, error } in steps {
        let verdict = if error.is_none() { "ok" } else { "FAILED" };
        println!("{name:<20} {:>7.1} s  {verdict}", took.as_secs_f64());
    }
    for Step { name, error, .. } in steps {
        if let Some(error) = error {
            println!("\n{name}: {error:#}");
        }
    }
}

/// The tests as the README tells to run them: what we tell others is what we run.
fn test_options() -> anyhow::Result<test::Options> {
    let path = sh::root().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let command = readme::test_command(&text)
        .context("README.md has no line `cargo xtask test ...` in a block under a heading with `Test`")?;
    #[derive(clap::Parser)]
    #[command(no_binary_name = true)]
    struct Line {
        #[command(flatten)]
        options: test::Options,
    }
    let words = command.split_whitespace().skip(3);
    let line = Line::try_parse_from(words).with_context(|| format!("README.md tells to run `{command}`"))?;
    Ok(line.options)
}
