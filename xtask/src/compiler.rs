//! Which compiler builds the kernel half: it needs the source of `core`, and an LLVM no newer than
//! the linker's, which reads its bitcode.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::{setup::LLVM_MAJOR, sh};

const DEBIAN: &str = "/usr/bin/rustc";

/// The first of: `BPF_RUSTC`, rustup's nightly, Debian's compiler, the default one.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(asked) = env::var_os("BPF_RUSTC") {
        return Some(asked.into());
    }
    let nightly = || {
        sh::which("rustup")?;
        let path = sh::output(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]));
        Some(PathBuf::from(path.ok()?.trim_end()))
    };
    let candidates: [&dyn Fn() -> Option<PathBuf>; 3] =
        [&nightly, &|| Some(DEBIAN.into()), &|| sh::which("rustc")];
    candidates.iter().filter_map(|it| it()).find(|it| usable(it).is_ok())
}

/// Whether `rustc` can build the kernel half, and if not, why.
pub(crate) fn usable(rustc: &Path) -> anyhow::Result<()> {
    let sysroot = sh::output(Command::new(rustc).args(["--print", "sysroot"]).current_dir("/"))?;
    let core = Path::new(sysroot.trim_end()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    ensure!(core.is_file(), "{} has no source of `core`: {} is missing", rustc.display(), core.display());
    let version = sh::output(Command::new(rustc).arg("-vV").current_dir("/"))?;
    let major = llvm_major(&version).with_context(|| format!("{} names no LLVM", rustc.display()))?;
    ensure!(
        major <= LLVM_MAJOR,
        "{} writes LLVM {major}, and bpf-linker reads up to LLVM {LLVM_MAJOR}",
        rustc.display()
    );
    Ok(())
}

fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|it| it.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_llvm_of_a_compiler() {
        assert_eq!(llvm_major("rustc 1.96.0\nhost: x\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0"), None);
    }

    #[test]
    fn a_program_that_is_no_compiler_is_refused() {
        assert!(usable(Path::new("/bin/false")).is_err());
    }
}
