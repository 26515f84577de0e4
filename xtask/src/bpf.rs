//! `cargo xtask bpf`: builds `agent-ebpf` for `bpfel-unknown-none`.
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

use crate::{compiler, host, setup, sh};

const PACKAGE: &str = "agent-ebpf";
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

/// Builds the kernel half and puts it where `agent/build.rs` looks for it: target/bpf/agent.bpf.o.
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
    let object = match &options.rustc {
        Some(rustc) => {
            compiler::usable(rustc)?;
            object_by(rustc)
        }
        None => object(),
    }?;
    println!("{}", object.display());
    Ok(())
}

/// The object, built with whatever `setup` finds or installs.
pub(crate) fn object() -> anyhow::Result<PathBuf> {
    setup::ensure(&[setup::Group::Build])?;
    let rustc = compiler::find().context("no compiler for the kernel half: run `cargo xtask setup`")?;
    object_by(&rustc)
}

fn object_by(rustc: &Path) -> anyhow::Result<PathBuf> {
    let target_dir = sh::root().join("target/bpf");
    let object = target_dir.join("agent.bpf.o");
    let mut cargo = cargo(rustc)?;
    cargo
        .args(["build", "--profile", "bpf", "-Z", "build-std=core"])
        .args(["--package", PACKAGE, "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir);
    if object.exists() {
        cargo.arg("--quiet");
    } else {
        sh::note("building the kernel half; the first time with `core`, about half a minute");
    }
    sh::run(&mut cargo)?;
    let built = target_dir.join(TARGET).join("bpf").join(PACKAGE);
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
