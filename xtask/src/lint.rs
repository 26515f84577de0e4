//! `cargo xtask lint`: what must be clean before a change goes in. `clippy` is its compiling part.

use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use crate::{
    bpf, fuzz,
    host::{host_cargo, plain_cargo},
    manifests, setup, sh,
};

/// Checks form (rustfmt), habits (clippy on both halves, warnings are errors), dependencies (cargo-deny) and
/// the manifests for Kubernetes (kustomize, kubeconform).
///
/// The first run compiles all dependencies for clippy and installs the tools: some minutes.
/// For what no compiler sees (directions of `use`, sizes, documents), there is `tidy`.
#[derive(Args)]
pub(crate) struct Options {
    /// Also compare the dependencies with the database of known vulnerabilities, which is fetched from the network.
    #[arg(long)]
    advisories: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    setup::ensure(&[setup::Group::Lint])?;
    format()?;
    clippy(&ClippyOptions::default())?;
    fuzz_targets()?;
    deny()?;
    manifests::check()?;
    if options.advisories {
        deny_check(&["advisories"])?;
    }
    Ok(())
}

/// Runs clippy on both halves; a warning is an error.
#[derive(Args, Default)]
#[command(after_help = "Examples:\n  cargo xtask clippy\n  cargo xtask clippy -- -p agent")]
pub(crate) struct ClippyOptions {
    /// Passed on to the host half's `cargo clippy`; the kernel half is then left out.
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn clippy(options: &ClippyOptions) -> anyhow::Result<()> {
    if options.args.is_empty() {
        kernel_half()?;
        return host_half();
    }
    sh::run(host_cargo("clippy")?.args(&options.args).args(["--", "-D", "warnings"]))
}

pub(crate) fn host_half() -> anyhow::Result<()> {
    sh::run(host_cargo("clippy")?.args(["--locked", "--all-targets", "--", "-D", "warnings"]))
}

/// The fuzz targets, which no other check compiles. Nothing is linked, so libFuzzer itself is not built.
pub(crate) fn fuzz_targets() -> anyhow::Result<()> {
    let manifest = fuzz::manifest();
    sh::run(plain_cargo().args(["fmt", "--check", "--manifest-path"]).arg(&manifest))?;
    sh::run(
        host_cargo("clippy")?
            .args(["--locked", "--manifest-path"])
            .arg(&manifest)
            // Most of it is compiled already for the host half.
            .arg("--target-dir")
            .arg(sh::target_dir())
            .args(["--", "-D", "warnings"])
            .env("CUSTOM_LIBFUZZER_PATH", "/nowhere/libfuzzer.a"),
    )
}

pub(crate) fn format() -> anyhow::Result<()> {
    sh::run(plain_cargo().args(["fmt", "--all", "--check"]))
        .context("run `cargo fmt --all`, and look at what it changed")
}

/// On the host, because clippy has no `core` for BPF. A target folder of its own keeps the
/// different flags from building everything again in turns.
pub(crate) fn kernel_half() -> anyhow::Result<()> {
    sh::run(
        plain_cargo()
            .arg("clippy")
            .args(bpf::PACKAGES.map(|it| format!("--package={it}")))
            .arg("--target-dir")
            .arg(sh::root().join("target/bpf-lint"))
            .args(["--ignore-rust-version", "--", "-D", "warnings", "-C", "panic=abort"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("RUSTFLAGS"),
    )
}

/// Without the vulnerability database: it comes from a host that a build machine may not reach.
pub(crate) fn deny() -> anyhow::Result<()> {
    deny_check(&["bans", "licenses", "sources"])
}

fn deny_check(what: &[&str]) -> anyhow::Result<()> {
    let mut deny = Command::new(setup::cargo_deny()?);
    sh::run(deny.current_dir(sh::root()).args(["--config", ".ci/deny.toml", "check"]).args(what))
}
