//! `cargo xtask bench`: what the agent costs the programs it watches.
//!
//! The same load is put on the same process without and with the agent, in turns, so that what the
//! machine does meanwhile hits both alike. What counts is the target's own CPU time per request:
//! probes run on the target's time.

mod agent;
mod http;
mod process;
mod report;
mod stats;
mod tcp;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{
    build::{self, Profile},
    fixtures, host, setup, sh,
};
use agent::Agent;
use report::Row;

/// Measures what the agent costs: CPU time per request and throughput of watched programs, without
/// and with it.
///
/// Builds a release of the agent first. A scenario then runs 11 rounds without and 11 with the
/// agent, in turns, about two minutes together. Leave the machine alone meanwhile: the spread in
/// the table says whether you did. Needs root. The table is printed, and left beside its numbers
/// in target/bench/NAME.json.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench http --rounds 21")]
pub(crate) struct Options {
    /// Which scenarios (http, tcp-connect); without one, all of them.
    names: Vec<String>,

    /// Pairs of rounds of each scenario.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
}

/// A load on a program.
trait Scenario {
    fn name(&self) -> &'static str;

    /// Starts what is watched, and says which process pays.
    fn prepare(&mut self, programs: &Programs) -> anyhow::Result<()>;

    /// The process in which the agent must have placed probes before a round counts, if there is one.
    fn probed(&self) -> Option<u32>;

    /// Some seconds of load.
    fn round(&mut self, programs: &Programs) -> anyhow::Result<Measures>;
}

/// What one round showed.
#[derive(Clone, Copy, Debug)]
struct Measures {
    target_cpu_us_per_request: f64,
    /// Requests per second.
    throughput: f64,
}

struct Programs {
    taskscope: PathBuf,
    /// Folder of what xtask builds.
    targets: PathBuf,
    /// Folder of what cargo builds.
    cargo: PathBuf,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let chosen = choose(&options.names)?;
    ensure!(sh::is_root(), "the agent needs root: sudo env PATH=\"$PATH\" cargo xtask bench");
    let programs = programs()?;
    let folder = sh::root().join("target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut rows = Vec::new();
    for mut scenario in chosen {
        sh::note(&format!("{}: {} pairs of rounds", scenario.name(), options.rounds));
        scenario.prepare(&programs)?;
        let row = measure(scenario.as_mut(), &programs, options.rounds)
            .with_context(|| format!("the scenario {}", scenario.name()))?;
        let path = folder.join(format!("{}.json", row.name));
        fs::write(&path, row.to_json()).with_context(|| format!("cannot write {}", path.display()))?;
        rows.push(row);
    }
    print!("{}", report::table(&rows));
    Ok(())
}

fn choose(names: &[String]) -> anyhow::Result<Vec<Box<dyn Scenario>>> {
    let all: Vec<Box<dyn Scenario>> = vec![Box::<http::Http>::default(), Box::<tcp::Connect>::default()];
    let known: Vec<_> = all.iter().map(|it| it.name()).collect();
    for name in names {
        ensure!(known.contains(&name.as_str()), "no scenario `{name}`, only: {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name())).collect())
}

fn programs() -> anyhow::Result<Programs> {
    setup::ensure(&[setup::Group::Build, setup::Group::Test])?;
    let taskscope = build::taskscope(Profile::Release)?;
    let targets = fixtures::targets()?;
    sh::run(host::host_cargo("build")?.args(["--release", "--package=tests", "--bin=target-conn"]))?;
    Ok(Programs { taskscope, targets, cargo: sh::target_dir().join("release") })
}

/// Which comes first changes from pair to pair, so that what grows with time favours neither.
fn measure(scenario: &mut dyn Scenario, programs: &Programs, n_pairs: u32) -> anyhow::Result<Row> {
    // Caches, connections and the target's own heap come to rest.
    scenario.round(programs)?;
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for pair in 0..n_pairs {
        for is_on in [pair % 2 == 1, pair % 2 == 0] {
            if is_on {
                let agent = Agent::start(&programs.taskscope, scenario.probed())?;
                on.push(scenario.round(programs)?);
                agent.stop()?;
            } else {
                off.push(scenario.round(programs)?);
            }
        }
    }
    Ok(Row { name: scenario.name(), off, on })
}
