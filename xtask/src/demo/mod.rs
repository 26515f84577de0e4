//! `cargo xtask demo`: a small shop of real processes, the agent beside it, and what the agent sees.
//!
//! Nothing is recorded or made up: what is printed is what `taskscope` answers while the shop runs.

mod agent;
mod answers;
mod process;
mod shop;
mod sink;

use std::{path::Path, thread, time::Duration};

use anyhow::{bail, ensure};
use clap::Args;

use crate::{
    build::{self, Profile},
    clock, fixtures, host, setup, sh,
};
use agent::Agent;
use answers::Answers;
use shop::Shop;
use sink::Sink;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// On a busy machine the first trace is late; who asked for a short demo waits this much longer.
const GRACE: Duration = Duration::from_secs(30);

/// Starts a small shop (three Go programs, one in Rust, one in Python, a Redis), puts load on it,
/// runs the agent beside it, and prints what the agent says of it.
///
/// All of it is on loopback, no interface is touched, and all of it ends with the demo. The first
/// run installs and builds what it needs, which takes minutes and is said. Exit status 0 only if
/// the agent saw every edge of the shop with both names, and a trace across two processes. Needs root.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --for 60s --rps 200\n  \
                        cargo xtask demo --keep       then ask it from another terminal")]
pub(crate) struct Options {
    /// How long the shop is open before the agent is asked: 20s, 2m.
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = duration)]
    length: Duration,

    /// Visits of the shop per second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rps: u32,

    /// Leave everything running until Ctrl-C.
    #[arg(long)]
    keep: bool,

    /// Use an optimized agent: minutes more to build, and its prices are the real ones.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(sh::is_root(), "the agent needs root: sudo env PATH=\"$PATH\" cargo xtask demo");
    setup::ensure(&[setup::Group::Build, setup::Group::Test])?;
    sh::note("building the agent and the shop: minutes the first time, then seconds");
    let profile = if options.release { Profile::Release } else { Profile::Debug };
    let taskscope = build::taskscope(profile)?;
    let go_programs = fixtures::targets()?;
    sh::run(host::host_cargo("build")?.args(["--package=tests", "--bin=shop-payments"]))?;

    sh::note("opening the shop");
    let mut shop = Shop::open(&go_programs, &sh::target_dir().join("debug/shop-payments"))?;
    let sink = Sink::open()?;
    let mut agent = Agent::start(&taskscope, sink.address())?;
    shop.load(options.rps)?;
    sh::note(&format!("{} visits per second for {} s", options.rps, options.length.as_secs()));
    let answers = watch(&mut agent, &mut shop, options.length)?;
    print(&agent, &answers, &taskscope)?;
    let missing = answers.missing();
    if options.keep {
        if !missing.is_empty() {
            sh::note(&format!("not seen so far: {}", missing.join(", ")));
        }
        sh::note("everything stays until Ctrl-C");
        agent.wait()?;
        bail!("the agent has ended");
    }
    shop.close();
    agent.stop()?;
    println!("\nThe sink of the demo took {}.", sink.counts());
    ensure!(missing.is_empty(), "the demo did not show: {}", missing.join(", "));
    Ok(())
}

/// At least for `length`, and then until everything was seen or patience ends.
fn watch(agent: &mut Agent, shop: &mut Shop, length: Duration) -> anyhow::Result<Answers> {
    let began = clock::now();
    let mut seen = 0;
    loop {
        agent.must_run()?;
        shop.must_run()?;
        let answers = Answers::ask(agent)?;
        let elapsed = began.elapsed();
        if answers.edges().len() != seen {
            seen = answers.edges().len();
            sh::note(&format!("{seen} edges after {:.1} s", elapsed.as_secs_f64()));
        }
        let is_over = length <= elapsed && answers.missing().is_empty();
        if is_over || length + GRACE <= elapsed {
            return Ok(answers);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn print(agent: &Agent, answers: &Answers, taskscope: &Path) -> anyhow::Result<()> {
    agent.show("Who talks to whom", &["topology"])?;
    agent.show("What is wrong", &["findings"])?;
    if let Some(trace) = answers.trace() {
        agent.show("One request, through every process it touched", &["traces", trace])?;
    }
    agent.show("What is watched", &["targets"])?;
    agent.show("What the agent costs", &["status"])?;
    println!("\n# What to type next (with `cargo xtask demo --keep`, from another terminal)\n");
    println!("export TASKSCOPE_SOCKET={}", agent.socket().display());
    for arguments in ["topology -o mermaid", "topology --watch", "traces --errors", "findings -o json"] {
        println!("{} {arguments}", taskscope.display());
    }
    Ok(())
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, seconds) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 60),
        _ => return Err("a time is a number and `s` or `m`: 20s, 2m".to_owned()),
    };
    match number.parse::<u32>() {
        Ok(number @ 1..=86_400) => Ok(Duration::from_secs(u64::from(number) * seconds)),
        _ => Err(format!("`{number}` is no whole number from 1 to 86400")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "20", "0s", "-1s", "1.5s", "99999999999s", "1h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
