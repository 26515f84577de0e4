//! `cargo xtask build`: the kernel half, then the program that carries it.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::{bpf, host::host_cargo, sh};

/// Builds `taskscope`, one file with the kernel half inside.
///
/// The first build takes some minutes (about 300 crates), a release build longer, because it
/// optimizes across crates; later ones compile what changed.
#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask build --release && sudo target/release/taskscope doctor")]
pub(crate) struct Options {
    /// Optimize and strip: leaves target/release/taskscope.
    #[arg(long)]
    release: bool,

    /// With the C library inside, for an image that holds nothing else.
    #[arg(long = "static")]
    is_static: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let profile = if options.release { Profile::Release } else { Profile::Debug };
    let program = if options.is_static { static_taskscope(profile) } else { taskscope(profile) }?;
    let n_bytes = fs::metadata(&program).with_context(|| program.display().to_string())?.len();
    println!("{} ({:.1} MiB)", program.display(), n_bytes as f64 / f64::from(1 << 20));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

pub(crate) fn taskscope(profile: Profile) -> anyhow::Result<PathBuf> {
    bpf::object()?;
    let mut cargo = host_cargo("build")?;
    cargo.args(["--package", "agent", "--bin", "taskscope"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    sh::run(&mut cargo)?;
    Ok(program(profile))
}

/// In the same place. Only the program itself is told: what it depends on is compiled alike for both.
fn static_taskscope(profile: Profile) -> anyhow::Result<PathBuf> {
    bpf::object()?;
    let mut cargo = host_cargo("rustc")?;
    cargo.args(["--package", "agent", "--bin", "taskscope"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    sh::run(cargo.args(["--", "-C", "target-feature=+crt-static"]))?;
    Ok(program(profile))
}

/// Where [`taskscope`] leaves it.
pub(crate) fn program(profile: Profile) -> PathBuf {
    let folder = match profile {
        Profile::Debug => "debug",
        Profile::Release => "release",
    };
    sh::target_dir().join(folder).join("taskscope")
}
