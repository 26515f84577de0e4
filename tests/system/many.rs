//! Very many connections at once: the agent stays up, and what it does not follow is counted.

use std::{env, time::Duration};

use agent::clock;
use serde_json::Value;
use tests::{Agent, NetNs, Target, eventually, paths, require_admin, require_bpf, within};

/// One process alone would need a higher limit of open files than this machine may allow.
const HOLDERS: usize = 20;
/// How long they stay open, unless all are seen before that.
const HOLD: Duration = Duration::from_secs(5);
const PATIENCE_FOR_MANY: Duration = Duration::from_secs(120);

/// With TASKSCOPE_TESTS_CONNECTIONS=100000 it takes two gigabytes of the kernel's memory.
#[test]
fn many_open_connections_are_counted_one_by_one() {
    require_bpf!();
    require_admin!();
    let wanted = env::var("TASKSCOPE_TESTS_CONNECTIONS").map_or(10_000, |it| it.parse().unwrap());
    let each = wanted / HOLDERS;
    let connections = (each * HOLDERS) as u64;
    let namespace = NetNs::new();
    let mut agent = Agent::start(crate::watch_targets());
    let mut holders: Vec<_> = (0..HOLDERS).map(|_| hold(&namespace, each)).collect();
    let pids: Vec<_> = holders.iter().map(Target::pid).collect();
    let before = agent.status();

    holders.iter_mut().for_each(|it| assert_eq!(it.ask("open")["open"], each));
    // Open ones are told by dumps of sockets, which are rarer the more sockets there are.
    let deadline = clock::now().plus(HOLD);
    let seen = eventually("connections on edges", || {
        let seen = ["opened", "active"].map(|it| sum(&agent, &pids, it));
        assert!(seen.iter().all(|it| *it <= connections), "{seen:?}");
        (seen == [connections; 2] || (0 < seen[0] && deadline < clock::now())).then_some(seen)
    });
    println!(
        "{connections} connections: {} opened and {} open on edges, {} lost; RSS {} MiB, then {} MiB",
        seen[0],
        seen[1],
        losses(&agent),
        before.number("/rss_bytes") >> 20,
        agent.status().number("/rss_bytes") >> 20,
    );

    // Each end has a record.
    holders.iter_mut().for_each(|it| assert_eq!(it.ask("close")["open"], 0));
    let (opened, active, lost) = within(PATIENCE_FOR_MANY, "every connection and its end, or a loss", || {
        let [opened, active] = ["opened", "active"].map(|it| sum(&agent, &pids, it));
        let lost = losses(&agent);
        assert!(opened <= connections, "{opened}");
        (connections <= opened + lost && active <= lost).then_some((opened, active, lost))
    });
    drop(holders);
    agent.assert_alive();
    let (made, delivered, not_delivered) = eventually("counters that add up", || {
        let status = agent.status();
        let lost: u64 = status.item["events"]["lost"].as_object()?.values().filter_map(Value::as_u64).sum();
        let (made, delivered) = (status.number("/events/made"), status.number("/events/delivered"));
        (made == delivered + lost).then_some((made, delivered, lost))
    });
    println!(
        "closed: {opened} opened, {active} still open, {lost} lost; made {made} = delivered {delivered} + lost {not_delivered}; RSS {} MiB, {:?}",
        agent.status().number("/rss_bytes") >> 20,
        agent.age()
    );
    assert_eq!(agent.terminate().status.code(), Some(0));
}

fn hold(namespace: &NetNs, connections: usize) -> Target {
    let mut command = namespace.command(paths::built("target-conn"));
    command.args(["hold", &connections.to_string()]);
    let holder = Target::start(command);
    holder.address();
    holder
}

/// Over all edges of these processes with themselves.
fn sum(agent: &Agent, pids: &[u32], what: &str) -> u64 {
    let edges = agent.items(["topology", "--limit", "1000"]);
    let is_ours =
        |it: &&Value| pids.iter().any(|pid| it["server"]["pid"] == *pid && it["client"]["pid"] == *pid);
    edges.iter().filter(is_ours).filter_map(|it| it["connections"][what].as_u64()).sum()
}

/// Of connections: records without room, and sockets beyond the bound.
fn losses(agent: &Agent) -> u64 {
    let status = agent.status();
    ["sock_ring_full", "state_queue_full", "too_many_sockets", "sock_no_storage"]
        .iter()
        .map(|it| status.lost(it))
        .sum()
}
