//! `cargo xtask fuzz`: libFuzzer on the readers of foreign bytes, without cargo-fuzz: the flags it
//! would pass are few, and with them any compiler will do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::{host, setup, sh};

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Coverage for libFuzzer, and checks of arithmetic in optimized code.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// What libFuzzer may take of the machine for one input.
const LIMITS: &[&str] = &["-timeout=10", "-rss_limit_mb=1024"];

/// Feeds random bytes to the readers of foreign bytes, and fails if one panics or takes too long.
///
/// The targets are the programs of tests/fuzz, which begin with the inputs in tests/fuzz/corpus/NAME
/// if there are any. Inputs that reach new code are kept in target/fuzz/corpus, inputs that break
/// something in target/fuzz/artifacts. The first build takes minutes, because all dependencies are
/// built anew with coverage.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask fuzz                       all targets, 60 s together\n  \
                        cargo xtask fuzz elf --for 10m\n  \
                        cargo xtask fuzz elf target/fuzz/artifacts/elf/crash-...   one input again")]
pub(crate) struct Options {
    /// Which one; without it all of them, one after another.
    target: Option<String>,

    /// Run just this input instead of making new ones.
    #[arg(requires = "target")]
    input: Option<PathBuf>,

    /// How long, all targets together: seconds, or with a unit (90s, 10m, 2h).
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = seconds)]
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    setup::ensure(&[setup::Group::Fuzz])?;
    let manifest = manifest();
    let text =
        fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let all = programs(&text);
    ensure!(!all.is_empty(), "{} has no [[bin]]", manifest.display());
    let chosen = match &options.target {
        Some(name) => {
            ensure!(all.contains(&name.as_str()), "no target `{name}`, only: {}", all.join(", "));
            vec![name.as_str()]
        }
        None => all,
    };
    let folder = build(&manifest, &chosen)?;
    let each = (options.seconds / chosen.len() as u64).max(1);
    let mut broken = Vec::new();
    for name in chosen {
        let done = match &options.input {
            Some(input) => sh::run(Command::new(folder.join(name)).args(LIMITS).arg(input)),
            None => fuzz(&folder.join(name), name, each),
        };
        if let Err(error) = done {
            broken.push(format!("\n  {name}: {error:#}"));
        }
    }
    if broken.is_empty() { Ok(()) } else { bail!("broken by an input:{}", broken.concat()) }
}

/// Of a workspace of its own.
pub(crate) fn manifest() -> PathBuf {
    sh::root().join("tests/fuzz/Cargo.toml")
}

fn build(manifest: &Path, names: &[&str]) -> anyhow::Result<PathBuf> {
    sh::note("building the fuzz targets; the first time with all dependencies, some minutes");
    let target_dir = sh::root().join("target/fuzz");
    let mut cargo = host::host_cargo("build")?;
    let inherited = cargo.get_envs().find(|(name, _)| *name == "RUSTFLAGS").and_then(|(_, value)| value);
    let inherited = inherited.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    cargo
        // With --target, the flags stay away from build scripts and macros.
        .args(["--release", "--locked", "--target", TRIPLE, "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target_dir)
        .args(names.iter().map(|it| format!("--bin={it}")))
        .env("RUSTFLAGS", format!("{inherited} {}", FLAGS.join(" ")));
    sh::run(&mut cargo)?;
    Ok(target_dir.join(TRIPLE).join("release"))
}

fn fuzz(program: &Path, name: &str, seconds: u64) -> anyhow::Result<()> {
    // Seen from the root, so that what is printed can be typed.
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|it| Path::new("target/fuzz").join(it).join(name));
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(sh::root().join(folder))
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let before = inputs(&artifacts)?;
    let mut libfuzzer = Command::new(program);
    libfuzzer
        .current_dir(sh::root())
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    let seeds = Path::new("tests/fuzz/corpus").join(name);
    if sh::root().join(&seeds).is_dir() {
        libfuzzer.arg(seeds);
    }
    let done = sh::run(&mut libfuzzer);
    let new = inputs(&artifacts)?.into_iter().find(|it| !before.contains(it));
    match (done, new) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(input)) => bail!("{0}\n    again: cargo xtask fuzz {name} {0}", input.display()),
        // The same input as in an earlier run, or no fault of the target's.
        (Err(error), None) => Err(error),
    }
}

fn inputs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(sh::root().join(folder)).with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|it| Ok(folder.join(it?.file_name()))).collect()
}

/// The names of all `[[bin]]`s.
fn programs(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_program = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            is_program = line == "[[bin]]";
        } else if let Some((key, value)) = line.split_once('=')
            && is_program
            && key.trim() == "name"
        {
            names.push(value.trim().trim_matches('"'));
        }
    }
    names
}

fn seconds(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        unit => return Err(format!("`{unit}` is no unit: s, m or h")),
    };
    let seconds = number.parse::<u64>().map_err(|error| format!("`{number}`: {error}"))?;
    seconds.checked_mul(unit).filter(|it| *it > 0).ok_or_else(|| format!("`{text}` is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_targets() {
        let manifest = "[package]\nname = \"fuzz\"\n[[bin]]\nname = \"elf\"\npath = \"elf.rs\"\n\n[[bin]]\npath = \"b.rs\"\n\
                        name=\"pclntab\"\n[dependencies]\nname = \"x\"\n";
        assert_eq!(programs(manifest), ["elf", "pclntab"]);
    }

    #[test]
    fn reads_times() {
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("2h"), Ok(7200));
        for bad in ["", "0", "s", "1d", "-1s", "99999999999999999999", "9999999999999999999h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
