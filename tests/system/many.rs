//! Very many connections at once: the agent stays up, and each of them is counted, and each byte.

use std::{env, time::Duration};

use agent::clock;
use serde_json::Value;
use tests::{Agent, NetNs, Target, paths, require_admin, require_bpf, within};

/// One process alone would need a higher limit of open files than this machine may allow.
const HOLDERS: usize = 20;
/// Of each, when it talks.
const QUESTION_BYTES: u64 = 100;
const ANSWER_BYTES: u64 = 50;
/// 100,000 of them are told in a minute or two.
const PATIENCE_FOR_MANY: Duration = Duration::from_secs(180);

/// What is on the edges of the holders with themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    opened: u64,
    active: u64,
    to_server: u64,
    to_client: u64,
}

/// With TASKSCOPE_TESTS_CONNECTIONS=100000 it takes two gigabytes of the kernel's memory.
///
/// Whatever is lost on the way of the records, the sums come out exact: dumps have shown each connection,
/// and notice when it is gone.
#[test]
fn many_connections_add_up_after_open_traffic_and_close() {
    require_bpf!();
    require_admin!();
    let wanted = env::var("TASKSCOPE_TESTS_CONNECTIONS").map_or(20_000, |it| it.parse().unwrap());
    let each = wanted / HOLDERS;
    let connections = (each * HOLDERS) as u64;
    let namespace = NetNs::new();
    let mut agent = Agent::start(crate::watch_targets());
    let mut holders: Vec<_> = (0..HOLDERS).map(|_| hold(&namespace, each)).collect();
    let pids: Vec<_> = holders.iter().map(Target::pid).collect();

    all(&mut holders, "open", each);
    let open = Sums { opened: connections, active: connections, ..Sums::default() };
    wait_for(&agent, &pids, open, "open");
    all(&mut holders, "talk", each);
    let talked =
        Sums { to_server: connections * QUESTION_BYTES, to_client: connections * ANSWER_BYTES, ..open };
    wait_for(&agent, &pids, talked, "talked");
    // Each end has a record.
    all(&mut holders, "close", 0);
    wait_for(&agent, &pids, Sums { active: 0, ..talked }, "closed");

    agent.assert_alive();
    let (made, delivered, lost) = within(PATIENCE_FOR_MANY, "counters that add up", || {
        let status = agent.status();
        let lost: u64 = status.item["events"]["lost"].as_object()?.values().filter_map(Value::as_u64).sum();
        let (made, delivered) = (status.number("/events/made"), status.number("/events/delivered"));
        (made == delivered + lost).then_some((made, delivered, lost))
    });
    println!("made {made} = delivered {delivered} + lost {lost}; {:?}", agent.age());
    drop(holders);
    assert_eq!(agent.terminate().status.code(), Some(0));
}

fn hold(namespace: &NetNs, connections: usize) -> Target {
    let mut command = namespace.command(paths::built("target-conn"));
    command.args(["hold", &connections.to_string()]);
    let holder = Target::start(command);
    holder.address();
    holder
}

/// All at the same time.
#[track_caller]
fn all(holders: &mut [Target], what: &str, open: usize) {
    holders.iter_mut().for_each(|it| it.tell(what));
    for holder in holders {
        assert_eq!(holder.json()["open"], open, "{what}");
    }
}

/// Never more than that, and in the end all of it.
#[track_caller]
fn wait_for(agent: &Agent, pids: &[u32], want: Sums, what: &str) {
    let begin = clock::now();
    within(PATIENCE_FOR_MANY, &format!("{want:?} once they have {what}"), || {
        let got = sums(agent, pids);
        let is_more =
            want.opened < got.opened || want.to_server < got.to_server || want.to_client < got.to_client;
        assert!(!is_more, "{what}: {got:?} for {want:?}");
        (got == want).then_some(())
    });
    let (took, rss) = (clock::now().since(begin), agent.status().number("/rss_bytes") >> 20);
    println!("{what}: {want:?} after {took:?}; RSS {rss} MiB");
}

fn sums(agent: &Agent, pids: &[u32]) -> Sums {
    let edges = agent.items(["topology", "--limit", "1000"]);
    let is_ours =
        |it: &&Value| pids.iter().any(|pid| it["server"]["pid"] == *pid && it["client"]["pid"] == *pid);
    edges.iter().filter(is_ours).fold(Sums::default(), |sums, edge| {
        let number = |pointer| edge.pointer(pointer).and_then(Value::as_u64).unwrap();
        Sums {
            opened: sums.opened + number("/connections/opened"),
            active: sums.active + number("/connections/active"),
            to_server: sums.to_server + number("/bytes/to_server"),
            to_client: sums.to_client + number("/bytes/to_client"),
        }
    })
}
