//! `cargo xtask demo`: a small shop of real processes, the agent beside it, and what the agent sees.
//!
//! Nothing is recorded or made up: what is printed is what `taskscope` answers while the shop runs.

mod answers;
mod shop;

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::{
    build::{self, Profile},
    clock, fixtures, host,
    run::{self, Agent, Client, Sink, User},
    setup, sh,
};
use answers::Answers;
use shop::Shop;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// On a busy machine the first trace is late; who asked for a short demo waits this much longer.
const GRACE: Duration = Duration::from_secs(30);

const NEXT: &[&str] = &["topology -o mermaid", "topology --watch", "traces --errors", "findings -o json"];

/// Starts a small shop (three Go programs, one in Rust, one in Python, a Redis), puts load on it,
/// runs the agent beside it, and prints what the agent says of it.
///
/// All of it is on loopback, no interface is touched, and all of it ends with the demo. The first
/// run installs and builds what it needs, which takes minutes and is said. Exit status 0 only if
/// the agent saw every edge of the shop with both names, and a trace across two processes.
/// The agent runs as root, through sudo if you are not; the shop as you.
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

    /// From ourselves, when sudo has made us root.
    #[arg(long, hide = true, value_name = "UID:GID")]
    built_by: Option<User>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let profile = if options.release { Profile::Release } else { Profile::Debug };
    if options.built_by.is_none() {
        build(profile)?;
        run::again_as_root()?;
    }
    sh::note("opening the shop");
    let payments = sh::target_dir().join("debug/shop-payments");
    let mut shop = Shop::open(&fixtures::folder(), &payments, options.built_by)?;
    let sink = Sink::open()?;
    let taskscope = build::program(profile);
    let mut agent = Agent::spawn(&taskscope, |command| {
        command.arg(format!("--otlp-endpoint=http://{}", sink.address()));
        command.args(["--otlp-protocol", "http/protobuf", "--metrics-interval", "5s"]);
    })?;
    agent.until(&["status"], |_| true)?;
    shop.load(options.rps)?;
    sh::note(&format!("{} visits per second for {} s", options.rps, options.length.as_secs()));
    let answers = watch(&mut agent, &mut shop, options.length)?;
    print(&agent.client, &answers)?;
    println!("\n# What to type next (with `cargo xtask demo --keep`, from another terminal)\n");
    for arguments in NEXT {
        println!("{}", typed(options.built_by, &taskscope, arguments, &agent.client.socket));
    }
    let missing = answers.missing();
    if options.keep {
        if !missing.is_empty() {
            sh::note(&format!("not seen so far: {}", missing.join(", ")));
        }
        sh::note("everything stays until Ctrl-C");
        agent.process.wait()?;
        bail!("the agent has ended");
    }
    shop.close();
    agent.stop()?;
    println!("\nThe sink of the demo took {}.", sink.counts());
    ensure!(missing.is_empty(), "the demo did not show: {}", missing.join(", "));
    Ok(())
}

fn build(profile: Profile) -> anyhow::Result<()> {
    setup::ensure(&[setup::Group::Build, setup::Group::Demo])?;
    sh::note("building the agent and the shop: minutes the first time, then seconds");
    build::taskscope(profile)?;
    fixtures::go_programs(shop::PROGRAMS)?;
    sh::run(host::host_cargo("build")?.args(["--package=tests", "--bin=shop-payments"]))
}

/// At least for `length`, and then until everything was seen or patience ends.
fn watch(agent: &mut Agent, shop: &mut Shop, length: Duration) -> anyhow::Result<Answers> {
    let began = clock::now();
    let mut seen = 0;
    loop {
        agent.process.must_run()?;
        shop.must_run()?;
        let answers = Answers::ask(&agent.client)?;
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

fn print(client: &Client, answers: &Answers) -> anyhow::Result<()> {
    show(client, "Who talks to whom", &["topology"])?;
    show(client, "What is wrong", &["findings"])?;
    if let Some(trace) = answers.trace() {
        show(client, "One request, through every process it touched", &["traces", trace])?;
    }
    show(client, "What is watched", &["targets"])?;
    show(client, "What the agent costs", &["status"])?;
    Ok(())
}

/// Prints what a user would see.
fn show(client: &Client, title: &str, arguments: &[&str]) -> anyhow::Result<()> {
    println!("\n# {title}: taskscope {}\n", arguments.join(" "));
    let status = client.command(arguments).status().with_context(|| format!("cannot ask: {title}"))?;
    ensure!(matches!(status.code(), Some(0 | 2)), "`taskscope {}` failed: {status}", arguments.join(" "));
    Ok(())
}

/// The socket is root's: who came by sudo needs it again, and sudo forgets the environment.
fn typed(user: Option<User>, taskscope: &Path, arguments: &str, socket: &Path) -> String {
    let mut command = Command::new(taskscope);
    command.args(arguments.split(' ')).arg("--socket").arg(socket);
    let typed = sh::shown(&command);
    if user.is_some() { format!("sudo {typed}") } else { typed }
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
    fn what_to_type_needs_no_environment() {
        let typed =
            |user| typed(user, Path::new("/x/taskscope"), "topology -o dot", Path::new("/run/a.sock"));
        assert_eq!(typed(None), "/x/taskscope topology -o dot --socket /run/a.sock");
        assert_eq!(typed("7:7".parse().ok()), "sudo /x/taskscope topology -o dot --socket /run/a.sock");
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "20", "0s", "-1s", "1.5s", "99999999999s", "1h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
