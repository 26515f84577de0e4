//! Programs that cargo installs into the cache, one folder a version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::{cache, host::plain_cargo, sh};

/// The newest bitcode that our linker reads. Goes with [`BPF_LINKER`] and the packages in `needs`.
pub(crate) const LLVM_MAJOR: u32 = 22;

pub(super) const BPF_LINKER: Tool = Tool {
    name: "bpf-linker",
    version: "0.13.0",
    arguments: &["--no-default-features", "--features", "llvm-22"],
    env: &[("LLVM_PREFIX", "/usr/lib/llvm-22")],
    cost: "about a minute",
};

pub(super) const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    arguments: &[],
    // Its authors optimize across all crates, which costs more than all our uses of it together.
    env: &[
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ],
    cost: "two minutes",
};

pub(super) struct Tool {
    pub(super) name: &'static str,
    version: &'static str,
    arguments: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    cost: &'static str,
}

pub(crate) fn bpf_linker() -> anyhow::Result<PathBuf> {
    BPF_LINKER.program()
}

pub(crate) fn cargo_deny() -> anyhow::Result<PathBuf> {
    CARGO_DENY.program()
}

impl Tool {
    /// The cached program, or the same version from PATH.
    fn program(&self) -> anyhow::Result<PathBuf> {
        let cached = self.root()?.join("bin").join(self.name);
        if sh::is_program(&cached) {
            return Ok(cached);
        }
        let found = sh::which(self.name)
            .with_context(|| format!("{} is not installed: run `cargo xtask setup`", self.name))?;
        let version = sh::output(Command::new(&found).arg("--version"))?;
        ensure!(
            version.split_whitespace().any(|it| it == self.version),
            "{} is {}, not {}: run `cargo xtask setup`",
            found.display(),
            version.trim(),
            self.version
        );
        Ok(found)
    }

    pub(super) fn install(&self) -> anyhow::Result<()> {
        sh::note(&format!("compiling {} {}, once: {}", self.name, self.version, self.cost));
        let root = self.root()?;
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        sh::run(&mut self.command(&root))
    }

    pub(super) fn command(&self, root: &Path) -> Command {
        let mut cargo = plain_cargo();
        cargo
            .args(["install", self.name, "--version", self.version, "--locked"])
            .args(self.arguments)
            .arg("--root")
            .arg(root)
            .envs(self.env.iter().copied())
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS");
        cargo
    }

    fn root(&self) -> anyhow::Result<PathBuf> {
        Ok(cache::dir()?.join(format!("{}-{}", self.name, self.version)))
    }
}
