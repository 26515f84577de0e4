//! `cargo xtask bpf`: builds `agent-ebpf` for `bpfel-unknown-none`, and a lossy link for tests.
//!
//! The host's compiler and the kernel half's are two different ones, so this is a separate cargo
//! with a target folder of its own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use clap::Args;

use crate::{compiler, fixtures, host, setup, sh};

/// Packages that are kernel programs.
pub(crate) const PACKAGES: [&str; 2] = [AGENT, DROPPER];
const AGENT: &str = "agent-ebpf";
const DROPPER: &str = "dropper";
const TARGET: &str = "bpfel-unknown-none";

/// Settings of the host's build: they must not reach the kernel half's.
const OF_THE_HOST: &[&str] = &[
    "CARGO_BUILD_",
    "CARGO_ENCODED_",
    "CARGO_INCREMENTAL",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "CARGO_UNSTABLE_",
    "RUSTC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// Builds the kernel half and puts it where `agent/build.rs` looks for it: target/bpf/agent.bpf.o. The link
/// that loses packets in tests goes to their other programs: target/targets/dropper.bpf.o.
///
/// The first build takes about half a minute, because it compiles `core` too; later ones two
/// seconds, or none if nothing changed. What it needs is installed first (see `setup`).
#[derive(Args)]
pub(crate) struct Options {
    /// The compiler to use instead of the one that `setup` finds; its sysroot must have the source of `core`.
    #[arg(long, env = "BPF_RUSTC", value_name = "PATH")]
    rustc: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let rustc = match &options.rustc {
        Some(rustc) => {
            compiler::usable(rustc)?;
            rustc.clone()
        }
        None => found()?,
    };
    println!("{}", agent(&rustc)?.display());
    println!("{}", dropper_by(&rustc)?.display());
    Ok(())
}

/// The kernel half, built with whatever `setup` finds or installs.
pub(crate) fn object() -> anyhow::Result<PathBuf> {
    agent(&found()?)
}

/// As [`object`], the link that loses packets.
pub(crate) fn dropper() -> anyhow::Result<PathBuf> {
    dropper_by(&found()?)
}

fn found() -> anyhow::Result<PathBuf> {
    setup::ensure(&[setup::Group::Build])?;
    compiler::find().context("no compiler for the kernel half: run `cargo xtask setup`")
}

fn agent(rustc: &Path) -> anyhow::Result<PathBuf> {
    object_by(rustc, AGENT, target_dir().join("agent.bpf.o"))
}

fn dropper_by(rustc: &Path) -> anyhow::Result<PathBuf> {
    object_by(rustc, DROPPER, fixtures::made_folder()?.join("dropper.bpf.o"))
}

fn target_dir() -> PathBuf {
    sh::root().join("target/bpf")
}

fn object_by(rustc: &Path, package: &str, object: PathBuf) -> anyhow::Result<PathBuf> {
    let target_dir = target_dir();
    let mut cargo = cargo(rustc)?;
    cargo
        .args(["build", "--profile", "bpf", "-Z", "build-std=core"])
        .args(["--package", package, "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir);
    if object.exists() {
        cargo.arg("--quiet");
    } else {
        sh::note("building for the kernel; the first time with `core`, about half a minute");
    }
    sh::run(&mut cargo)?;
    let built = target_dir.join(TARGET).join("bpf").join(package);
    copy_if_changed(&built, &object)?;
    Ok(object)
}

fn cargo(rustc: &Path) -> anyhow::Result<Command> {
    let mut cargo = host::plain_cargo();
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OF_THE_HOST.iter().any(|it| text.starts_with(it)) {
            cargo.env_remove(&name);
        }
    }
    let linker = setup::bpf_linker()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = linker.parent().map(Path::to_owned).into_iter().chain(env::split_paths(&path));
    cargo
        .env("PATH", env::join_paths(dirs).context("PATH and the linker's folder do not go together")?)
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\" -C debuginfo=2 -C link-arg=--btf");
    Ok(cargo)
}

/// A new time on the same bytes would make `agent` compile and link again.
fn copy_if_changed(from: &Path, to: &Path) -> anyhow::Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_keep_their_time() {
        let dir = env::temp_dir().join(format!("taskscope-xtask-copy-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let [from, to] = ["from", "to"].map(|it| dir.join(it));
        fs::write(&from, "one").unwrap();
        copy_if_changed(&from, &to).unwrap();
        let file = fs::File::options().write(true).open(&to).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), std::time::UNIX_EPOCH);
        fs::write(&from, "two").unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
        fs::remove_dir_all(&dir).unwrap();
    }
}
