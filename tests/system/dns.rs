//! Names of addresses and silent resolvers, as a user sees them. The agent runs in a namespace of its own:
//! its packet programs touch nothing of the machine.

use serde_json::Value;
use tests::{
    Agent, NetNs, Pods, Target,
    dns::LONG,
    eventually,
    netns::{ADDRESS_B, two_namespaces},
    paths::built,
    pods::{BRIDGE, CARD, POD_A},
    require_admin, require_bpf, within,
};

use crate::schema::assert_valid;

const RESOLVER: &str = "127.0.0.53:53";

/// An agent that looks at the node's loopback, a resolver there, and who asks it.
#[track_caller]
fn with_resolver(node: &NetNs) -> (Agent, Target, Target) {
    let mut serve = node.command(built("target-dns"));
    serve.args(["serve", RESOLVER]);
    let resolver = Target::start(serve);
    let agent = Agent::start_in(node, crate::watch_targets());
    eventually("a look at loopback", || agent.log().contains("looked at. interface=\"lo\"").then_some(()));
    (agent, resolver, Target::start(node.command(built("target-dns"))))
}

#[test]
fn an_edge_is_called_what_its_client_was_told() {
    require_bpf!();
    require_admin!();
    let (node, _outside) = two_namespaces();
    let (agent, _resolver, mut asking) = with_resolver(&node);
    let mut connecting = Target::start(node.command(built("target-conn")));

    let client = connecting.pid();
    let edge = |port: u16| {
        let edges = agent.items(["topology"]);
        edges.into_iter().find(|it| it["server"]["port"] == port && it["client"]["pid"] == client)
    };
    // Nobody has asked yet.
    connecting.ask(&format!("connect {ADDRESS_B}:8081"));
    eventually("the edge before the question", || edge(8081));
    let name = format!("{ADDRESS_B}.at.test");
    assert!(asking.ask(&format!("{RESOLVER} {name}"))["bytes"].is_u64());
    connecting.ask(&format!("connect {ADDRESS_B}:8082"));
    let named = eventually("the edge that follows the question", || edge(8082));
    println!("{}", named["server"]);
    assert_eq!(
        (&named["server"]["address"], &named["server"]["name"]),
        (&text(&ADDRESS_B.to_string()), &text(&name))
    );
    assert_eq!(edge(8081).unwrap()["server"]["name"], Value::Null);
    assert_valid("topology", &agent.ask(["topology"]));
    let table = agent.run(["topology"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains(&name), "{table}");
}

#[test]
fn a_silent_resolver_is_a_finding() {
    require_bpf!();
    require_admin!();
    let (node, _outside) = two_namespaces();
    let (agent, _resolver, mut asking) = with_resolver(&node);
    assert!(asking.ask(&format!("{RESOLVER} one.test"))["bytes"].is_u64());
    assert!(asking.ask(&format!("{RESOLVER} silent.test"))["bytes"].is_null());
    for _ in 0..5 {
        asking.ask(&format!("{RESOLVER} fail.test"));
    }
    let finding = |kind: &str| {
        let items = agent.items(["findings"]);
        items.into_iter().find(|it| it["kind"] == kind)
    };
    let patience = std::time::Duration::from_secs(15);
    for (kind, name) in [("dns_server_failures", "fail.test"), ("dns_no_answer", "silent.test")] {
        let finding = within(patience, kind, || finding(kind));
        println!("{}", finding["summary"]);
        assert_eq!(finding["target"]["pid"], asking.pid(), "{finding}");
        assert_eq!(finding["evidence"]["last_name"], name, "{finding}");
        assert_eq!(finding["evidence"]["resolver_address"], "127.0.0.53", "{finding}");
    }
    assert_valid("findings", &agent.ask(["findings"]));
}

/// What is asked in the first moments is seen: measuring what probes cost takes some, and nobody waits for it.
#[test]
fn interfaces_have_their_programs_before_probes_are_measured() {
    require_bpf!();
    require_admin!();
    let (node, _outside) = two_namespaces();
    let agent = Agent::start_in(&node, crate::watch_targets());
    eventually("prices", || agent.log().contains("Probes are calibrated").then_some(()));
    let log = agent.log();
    let calibrated = log.find("Probes are calibrated").unwrap();
    for interface in ["interface=\"lo\"", "interface=\"a0\""] {
        assert!(log.find(interface).is_some_and(|it| it < calibrated), "{interface}\n{log}");
    }
}

/// As on a node: its packets are met when they have left it, and the pod's processes are not asked.
#[test]
fn in_a_pod_the_process_that_asks_is_known_and_so_is_what_it_asks_over_tcp() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    let resolver = format!("{BRIDGE}:53");
    let mut serve = pods.node.command(built("target-dns"));
    serve.args(["serve", &resolver]);
    let _resolver = Target::start(serve);
    let agent = Agent::start_in(&pods.node, ["--interface", CARD, "--no-http-spans"]);
    eventually("a look at the pod", || agent.log().contains("looked at. interface=\"vha\"").then_some(()));
    let mut asking = Target::start(pods.a.command(built("target-dns")));
    for _ in 0..5 {
        asking.ask(&format!("{resolver} fail.test"));
    }
    let finding = eventually("a finding", || {
        let items = agent.items(["findings"]);
        items.into_iter().find(|it| it["kind"] == "dns_server_failures" && it["evidence"]["lookups"] == 5)
    });
    println!("{}", finding["summary"]);
    assert_eq!(finding["target"]["pid"], asking.pid(), "{finding}");
    assert_eq!(finding["evidence"]["client_address"], POD_A.to_string(), "{finding}");

    // The truncated answer has no address: the name is known from the one over TCP.
    let mut connecting = Target::start(pods.a.command(built("target-conn")));
    assert!(512 < asking.ask(&format!("{resolver} {LONG}"))["bytes"].as_u64().unwrap());
    connecting.ask("connect 192.0.2.7:80 100");
    let client = connecting.pid().to_string();
    let edge = eventually("the edge", || agent.items(["topology", "--pid", &client]).into_iter().next());
    assert_eq!(edge["server"]["name"], LONG, "{edge}");
    assert_eq!(agent.status().lost("dns_tcp_not_read"), 0);
}

fn text(text: &str) -> Value {
    Value::from(text)
}
