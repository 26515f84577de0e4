//! `cargo xtask bench`: what the agent costs the programs it watches, and what it takes itself.

mod agent;
mod figure;
mod http;
mod own;
mod pairs;
mod price;
mod query;
mod report;
mod scale;
mod start;
mod stats;
mod sum;
mod tcp;
mod traffic;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{
    build::{self, Profile},
    fixtures, host,
    run::{self, User},
    setup, sh,
};
use figure::Figure;
use pairs::Pairs;
use traffic::{BULK, Between, CONNECTIONS, DATAGRAMS, REQUESTS, Rate};

/// Measures what the agent costs: CPU time per request and throughput of watched programs, without
/// and with it; the throughput of a node's pods, and what each program in the kernel takes of it; its
/// own CPU time and memory; how long it takes to start, to attach and to answer.
///
/// Builds a release of the agent first. A scenario then runs 11 rounds, http five times as many short
/// ones, net-request three times as many; those of watched programs without and with the agent in turns. All of them
/// together take about 26 minutes. Leave
/// the machine alone meanwhile: the spread in the table says whether you did. What is measured runs
/// as root, through sudo if you are not. The tables are printed, and left beside their numbers in target/bench/NAME.json.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench http --rounds 21\n  \
                        cargo xtask bench net         all that begin with `net-`")]
pub(crate) struct Options {
    /// Which scenarios (http, tcp-connect, tcp-bulk, net-bulk, net-connect, net-request, net-datagram,
    /// net-price, agent, start, query, scale), or the first word of some; without one, all of them.
    names: Vec<String>,

    /// Rounds, or pairs of rounds, of each scenario.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,

    /// From ourselves, when sudo has made us root.
    #[arg(long, hide = true, value_name = "UID:GID")]
    built_by: Option<User>,
}

type Run = fn(&Programs, u32) -> anyhow::Result<Outcome>;

const SCENARIOS: &[(&str, Run)] = &[
    ("http", |programs, n| pairs::run(&mut http::Http::default(), programs, n * http::SHORT_ROUNDS)),
    ("tcp-connect", |programs, n| pairs::run(&mut tcp::Connect::default(), programs, n)),
    ("tcp-bulk", |programs, n| {
        pairs::run(&mut Rate::new(BULK, Between::Neighbours, "bulk TCP", 0.98), programs, n)
    }),
    ("net-bulk", |programs, n| {
        pairs::run(&mut Rate::new(BULK, Between::Pods, "bulk TCP of pods", 0.97), programs, n)
    }),
    ("net-connect", |programs, n| {
        pairs::run(&mut Rate::new(CONNECTIONS, Between::Pods, "short connections of pods", 0.90), programs, n)
    }),
    ("net-request", |programs, n| {
        let mut rate = Rate::new(REQUESTS, Between::Pods, "requests on kept connections", 0.98);
        pairs::run(&mut rate, programs, n * FINE_ROUNDS)
    }),
    ("net-datagram", |programs, n| {
        pairs::run(&mut Rate::new(DATAGRAMS, Between::Pods, "small UDP packets", 0.93), programs, n)
    }),
    ("net-price", price::run),
    ("agent", own::run),
    ("start", start::run),
    ("query", query::run),
    ("scale", scale::run),
];

/// So many times more where the limit is finer than what a few rounds tell.
const FINE_ROUNDS: u32 = 3;

/// What a scenario showed.
struct Outcome {
    /// Of a scenario that runs without and with the agent.
    pairs: Option<Pairs>,
    /// What has a limit.
    figures: Vec<Figure>,
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
    let folder = sh::root().join("target/bench");
    if options.built_by.is_none() {
        build()?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        run::again_as_root()?;
    }
    let programs = Programs {
        taskscope: build::program(Profile::Release),
        targets: fixtures::folder(),
        cargo: sh::target_dir().join("release"),
    };
    let mut outcomes = Vec::new();
    for (name, run) in chosen {
        sh::note(&format!("{name}: {} rounds", options.rounds));
        let outcome = run(&programs, options.rounds).with_context(|| format!("the scenario {name}"))?;
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, report::json(name, &outcome))
            .with_context(|| format!("cannot write {}", path.display()))?;
        if let Some(user) = options.built_by {
            user.own(&path)?;
        }
        outcomes.push((name, outcome));
    }
    print!("{}", report::tables(&outcomes));
    Ok(())
}

fn choose(names: &[String]) -> anyhow::Result<Vec<(&'static str, Run)>> {
    let known: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    for name in names {
        ensure!(known.iter().any(|it| is_of(it, name)), "no scenario `{name}`, only: {}", known.join(", "));
    }
    let is_chosen = |name: &str| names.is_empty() || names.iter().any(|it| is_of(name, it));
    Ok(SCENARIOS.iter().copied().filter(|(name, _)| is_chosen(name)).collect())
}

/// `net` stands for all that begin with `net-`.
fn is_of(scenario: &str, name: &str) -> bool {
    scenario.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn build() -> anyhow::Result<()> {
    setup::ensure(&[setup::Group::Build, setup::Group::Test])?;
    build::taskscope(Profile::Release)?;
    fixtures::targets()?;
    let bins = ["--bin=target-ask", "--bin=target-conn", "--bin=target-programs"];
    sh::run(host::host_cargo("build")?.args(["--release", "--package=tests"]).args(bins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_word_stands_for_all_that_begin_with_it() {
        let choose = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|it| (*it).to_owned()).collect();
            choose(&names).map(|it| it.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(choose(&["tcp", "agent"]).unwrap(), ["tcp-connect", "tcp-bulk", "agent"]);
        assert_eq!(choose(&[]).unwrap().len(), SCENARIOS.len());
        for bad in ["ne", "net-", "nothing"] {
            assert!(choose(&[bad]).is_err(), "{bad}");
        }
    }
}
