//! Names of addresses and silent resolvers, as a user sees them. The agent runs in a namespace of its own:
//! its packet programs touch nothing of the machine.

use serde_json::Value;
use tests::{
    Agent, Target, eventually,
    netns::{ADDRESS_B, two_namespaces},
    paths::built,
    require_admin, require_bpf, within,
};

use crate::schema::assert_valid;

const RESOLVER: &str = "127.0.0.53:53";

#[test]
fn an_edge_is_called_what_its_client_was_told() {
    require_bpf!();
    require_admin!();
    let (node, _outside) = two_namespaces();
    let mut serve = node.command(built("target-dns"));
    serve.args(["serve", RESOLVER]);
    let _resolver = Target::start(serve);
    let agent = Agent::start_in(&node, crate::watch_targets());
    eventually("a look at loopback", || agent.log().contains("looked at. interface=\"lo\"").then_some(()));
    let mut asking = Target::start(node.command(built("target-dns")));
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
    let mut serve = node.command(built("target-dns"));
    serve.args(["serve", RESOLVER]);
    let _resolver = Target::start(serve);
    let agent = Agent::start_in(&node, crate::watch_targets());
    eventually("a look at loopback", || agent.log().contains("looked at. interface=\"lo\"").then_some(()));
    let mut asking = Target::start(node.command(built("target-dns")));
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

fn text(text: &str) -> Value {
    Value::from(text)
}
