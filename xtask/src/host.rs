//! Cargo for the host half.
//!
//! aya 0.16 states Rust 1.98, for one library method that was unstable before. Older compilers are
//! told to accept it, here and nowhere else; from 1.98 on this is plain cargo.

use std::{env, ffi::OsString, process::Command};

use anyhow::Context as _;

use crate::sh;

const STABLE_SINCE: (u32, u32) = (1, 98);
const FEATURE: &str = "-Zcrate-attr=feature(result_option_map_or_default)";

/// Set by the cargo that runs us. Some build scripts look at them (ring's does), and would run
/// again whenever `cargo` and `cargo xtask` take turns.
const OF_CARGO_RUN: &[&str] =
    &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// Cargo as if called from a shell in the root of the repository.
pub(crate) fn plain_cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(sh::root()).env_remove("CARGO");
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OF_CARGO_RUN.iter().any(|it| text.starts_with(it)) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// `cargo SUBCOMMAND`, able to compile the host half with the compiler that is there.
pub(crate) fn host_cargo(subcommand: &str) -> anyhow::Result<Command> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = sh::output(Command::new(&rustc).arg("-V").current_dir(sh::root()))?;
    let version =
        release(&version).with_context(|| format!("cannot read the version `{}`", version.trim()))?;
    let mut cargo = plain_cargo();
    cargo.arg(subcommand);
    if version < STABLE_SINCE {
        cargo
            .arg("--ignore-rust-version")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", with_feature(env::var_os("RUSTFLAGS").unwrap_or_default()));
    }
    Ok(cargo)
}

/// `rustc 1.95.0 (59807616e 2026-04-14)` → (1, 95).
fn release(version: &str) -> Option<(u32, u32)> {
    let number = version.split_whitespace().nth(1)?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn with_feature(flags: OsString) -> OsString {
    if flags.to_string_lossy().contains(FEATURE) {
        return flags;
    }
    let mut flags = flags;
    if !flags.is_empty() {
        flags.push(" ");
    }
    flags.push(FEATURE);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_release_of_a_compiler() {
        assert_eq!(release("rustc 1.95.0 (59807616e 2026-04-14)\n"), Some((1, 95)));
        assert_eq!(release("rustc 1.98.0-nightly (abc 2026-06-01)"), Some((1, 98)));
        assert_eq!(release("rustc 2.0.1"), Some((2, 0)));
        assert_eq!(release("gcc"), None);
    }

    #[test]
    fn keeps_the_flags_of_the_user_and_adds_ours_once() {
        assert_eq!(with_feature(OsString::new()), FEATURE);
        let both = with_feature("-Cdebuginfo=1".into());
        assert_eq!(both, OsString::from(format!("-Cdebuginfo=1 {FEATURE}")));
        assert_eq!(with_feature(both.clone()), both);
    }
}
