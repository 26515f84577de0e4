//! `cargo xtask setup`: what a fresh machine lacks.
//!
//! The other subcommands call [`ensure`] for the groups they need, so looking must be cheap:
//! files and programs are looked for, no package manager is asked unless something is missing.

mod apt;
mod needs;
mod tools;

use anyhow::bail;
use clap::Args;

use crate::sh;

pub(crate) use needs::Group;
use needs::{Get, NEEDS, Need};
pub(crate) use tools::{LLVM_MAJOR, bpf_linker, cargo_deny};

/// Installs what building and testing need and this machine lacks, and says what it installs.
///
/// On Debian 12/13 and Ubuntu: packages by apt (through sudo if you are not root; services are
/// installed but not started), bpf-linker and cargo-deny by cargo into the cache
/// (TASKSCOPE_CACHE, else ~/.cache/taskscope), about a minute and two minutes of compiling.
/// On other systems it says what to install. When nothing is missing it takes no time.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask setup --check      what is missing? changes nothing, exit status 1 if anything is\n  \
                        cargo xtask setup build        only what `build` needs"
)]
pub(crate) struct Options {
    /// Only look.
    #[arg(long)]
    check: bool,

    /// What for; without it, everything.
    groups: Vec<Group>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let groups = if options.groups.is_empty() { Group::ALL } else { &options.groups };
    if !options.check {
        ensure(groups)?;
    }
    let mut n_missing = 0;
    for need in wanted(groups) {
        let found = need.is_met();
        n_missing += usize::from(!found);
        println!("{:<8} {:<24} {}", if found { "ok" } else { "missing" }, need.name, need.why);
        if !found {
            println!("{:<8} {:<24} -> {}", "", "", need.get.advice());
        }
    }
    match n_missing {
        0 => Ok(()),
        n => bail!("{n} missing; `cargo xtask setup` installs what it can"),
    }
}

/// Installs what is missing of the groups' needs. Says nothing when nothing is.
pub(crate) fn ensure(groups: &[Group]) -> anyhow::Result<()> {
    let missing = missing(groups);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
    sh::note(&format!("missing here: {names}"));
    apt::install(&packages(&missing))?;
    for need in &missing {
        if !need.is_met() {
            need.get.fall_back()?;
        }
    }
    let still = self::missing(groups);
    if still.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> =
        still.iter().map(|it| format!("\n  {} ({}): {}", it.name, it.why, it.get.advice())).collect();
    bail!("still missing:{}", lines.concat())
}

fn wanted(groups: &[Group]) -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().filter(|need| need.groups.iter().any(|it| groups.contains(it)))
}

fn missing(groups: &[Group]) -> Vec<&'static Need> {
    wanted(groups).filter(|it| !it.is_met()).collect()
}

fn packages(needs: &[&Need]) -> Vec<&'static str> {
    let mut all: Vec<_> = needs
        .iter()
        .flat_map(|it| match it.get {
            Get::Apt(packages) | Get::Compiler(packages) | Get::Go(packages) => packages,
            Get::Tool(_) | Get::Component(_) => &[],
        })
        .copied()
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}
