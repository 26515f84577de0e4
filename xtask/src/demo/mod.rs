//! `cargo xtask demo`: a small shop of real processes, the agent beside it, and what the agent sees.
//!
//! Nothing is recorded or made up: what is printed is what `taskscope` answers while the shop runs.

mod answers;
mod shop;

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::{
    bpf,
    build::{self, Profile},
    clock, fixtures, host,
    run::{self, Agent, Client, NetNs, Network, Node, Sink, User},
    setup, sh,
};
use answers::Answers;
use shop::{Keeper, Shop};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// On a busy machine the first trace is late; who asked for a short demo waits this much longer.
const GRACE: Duration = Duration::from_secs(30);

const NEXT: &[&str] = &["topology -o mermaid", "topology --watch", "traces --errors", "findings -o json"];

/// Starts a small shop (three Go programs, one in Rust, one in Python, a Redis), puts load on it,
/// runs the agent beside it, and prints what the agent says of it.
///
/// Each program is in a network namespace of its own behind a bridge, as in a pod: nothing of the
/// machine's network is touched, and all of it ends with the demo. The one in Rust runs twice behind
/// a service's address; the link to one of the two is bad, and a firewall swallows what they send to
/// their bank. The first run installs and builds what it needs, which takes minutes and is said.
/// Exit status 0 only if the agent saw every edge of the shop with both names, the server behind the
/// service's address, time-outs, connects that were given up, and a trace across two processes.
/// The agent runs as root, through sudo if you are not; the shop as you.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --for 60s --rps 200\n  \
                        cargo xtask demo --keep       then ask it from another terminal")]
pub(crate) struct Options {
    /// How long the shop is open before the agent is asked: 20s, 2m.
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = duration)]
    length: Duration,

    /// Visits of the shop per second; with fewer than 5 there would be little to see.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(5..=10_000))]
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

    /// From ourselves, when we are in a network namespace of our own.
    #[arg(long, hide = true)]
    apart: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let profile = if options.release { Profile::Release } else { Profile::Debug };
    if !options.apart {
        if options.built_by.is_none() {
            build(profile)?;
            run::again_as_root()?;
        }
        run::again_apart()?;
    }
    sh::note("opening the shop");
    let mut node = Node::new(NetNs::ours()?)?;
    let keeper = Keeper {
        go_programs: fixtures::folder(),
        binaries: sh::target_dir().join("debug"),
        user: options.built_by,
    };
    let mut shop = Shop::open(&mut node, keeper)?;
    let sink = Sink::open()?;
    let taskscope = build::program(profile);
    let mut agent = Agent::spawn(&taskscope, Network::Of(&node), |command| {
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
    bpf::dropper()?;
    fixtures::go_programs(shop::PROGRAMS)?;
    let mut cargo = host::host_cargo("build")?;
    sh::run(cargo.arg("--package=tests").args(shop::BINARIES.iter().map(|it| format!("--bin={it}"))))
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
    let (client_name, server_name) = shop::BEHIND_SERVICE;
    show(
        client,
        &format!("From {client_name} to {server_name}, by the address of a service and a bad link"),
        &["topology", "-o", "wide", "--service", server_name],
    )?;
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
