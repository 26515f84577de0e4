//! A service's address in what the agent says.

use serde_json::{Value, json};
use tests::{
    Agent, Cluster, NetNs, Target,
    cluster::{BACKEND_PORT, SERVICE, Translation},
    eventually,
    netns::Refusal,
    paths,
    pods::{BRIDGE, CARD, POD_A, POD_B},
    require_admin, require_bpf,
};

use crate::schema::assert_valid;

#[test]
fn the_edge_of_a_service_leads_to_its_server() {
    require_bpf!();
    require_admin!();
    let cluster = Cluster::new(Translation::Tracked);
    let agent = Agent::start_in(&cluster.node, crate::watch_targets());
    let mut client = conn(&cluster.client, "client");
    let server = server(&cluster.server);
    client.ask(&format!("connect {SERVICE}"));
    let edge = edge(&agent, &client);
    assert_eq!(
        (&edge["client"]["pid"], &edge["server"]["pid"]),
        (&json!(client.pid()), &json!(server.pid()))
    );
    assert_eq!((&edge["server"]["port"], &edge["vip"]), (&json!(SERVICE.port()), &vip()));
    assert_eq!(edge["connections"]["opened"], 1);
    let status = agent.status();
    println!("{} {}", edge["vip"], status.item["nat"]);
    assert_eq!(status.number("/nat/resolved_by_sequence"), 1);

    let pid = client.pid().to_string();
    assert_valid("topology", &agent.ask(["topology", "--pid", &pid]));
    assert_valid("status", &agent.ask(["status"]));
    let wide = agent.run(["topology", "-o", "wide", "--pid", &pid]);
    let wide = String::from_utf8(wide.stdout).unwrap();
    assert!(wide.contains(&format!("{SERVICE} → {BACKEND_PORT}")), "{wide}");
}

/// The sockets of the server's namespace get no storage, so its ends are not seen, as on another node.
#[test]
fn a_server_elsewhere_is_named_by_connection_tracking() {
    require_bpf!();
    require_admin!();
    let cluster = Cluster::new(Translation::Tracked);
    cluster.server.exec("sh", ["-c", "echo 1 > /proc/sys/net/core/optmem_max"]);
    let agent = Agent::start_in(&cluster.node, crate::watch_targets());
    let (mut client, mut asking) = (conn(&cluster.client, "client"), dns(&cluster.client, &[]));
    let _server = server(&cluster.server);
    let resolver = format!("{BRIDGE}:53");
    let _resolver = dns(&cluster.node, &["serve", &resolver]);
    eventually("a look at the pod", || agent.log().contains("interface=\"vha\"").then_some(()));
    // What the client is told is the address of the service.
    let name = format!("{}.at.test", SERVICE.ip());
    assert!(asking.ask(&format!("{resolver} {name}"))["bytes"].is_u64());
    client.ask(&format!("connect {SERVICE}"));
    let edge = edge(&agent, &client);
    assert_eq!(edge["server"], json!({"address": POD_B.to_string(), "name": name, "port": SERVICE.port()}));
    assert_eq!(edge["vip"], vip());
    let status = agent.status();
    println!("{} {}", edge["server"], status.item["nat"]);
    assert_eq!(status.number("/nat/resolved_by_conntrack"), 1);
    assert_ne!(status.lost("sock_no_storage"), 0);
}

/// The edge, the finding and the sentence name the same server.
#[test]
fn a_failed_connect_names_the_server_behind_the_service() {
    require_bpf!();
    require_admin!();
    let cluster = Cluster::new(Translation::Tracked);
    let agent = Agent::start_in(&cluster.node, crate::watch_targets());
    let mut client = conn(&cluster.client, "client");
    cluster.server.refuse(BACKEND_PORT, Refusal::Drop);
    assert!(client.ask(&format!("connect {SERVICE} 300"))["error"].is_string());
    let edge = edge(&agent, &client);
    assert_eq!((&edge["server"]["address"], &edge["vip"]), (&json!(POD_B.to_string()), &vip()));
    let finding = eventually("the finding", || {
        let findings = agent.items(["findings"]).into_iter();
        let mut own = findings.filter(|it| it["target"]["pid"] == client.pid());
        own.find(|it| it["kind"] == "connect_abandoned")
    });
    println!("{}", finding["summary"]);
    let evidence = &finding["evidence"];
    assert_eq!(
        [&evidence["server_address"], &evidence["backend_address"], &evidence["backend_port"]],
        [&json!(SERVICE.ip().to_string()), &json!(POD_B.to_string()), &json!(BACKEND_PORT)]
    );
    assert_valid("findings", &agent.ask(["findings"]));
}

/// As DNS to the cluster's resolver: each half is met under other addresses.
#[test]
fn udp_through_a_service_is_one_edge_to_its_server() {
    require_bpf!();
    require_admin!();
    let cluster = Cluster::new(Translation::Tracked);
    let agent = Agent::start_in(&cluster.node, ["--interface", CARD, "--no-http-spans"]);
    eventually("programs on all interfaces", || {
        (agent.log().matches("Packets are looked at").count() == 4).then_some(())
    });
    let (mut client, mut server) = (conn(&cluster.client, "client"), conn(&cluster.server, "server"));
    server.ask(&format!("udp 0.0.0.0:{BACKEND_PORT}"));
    client.ask(&format!("udp {POD_A}:0"));
    client.ask(&format!("send_to 1 {SERVICE} 3 100"));
    let from = server.ask("recv_from 1 3")["from"].as_str().unwrap().to_owned();
    server.ask(&format!("send_to 1 {from} 1 1400"));
    client.ask("recv_from 1 1");
    let edges = eventually("the edge, both ways", || {
        let mut edges = agent.items(["topology"]);
        edges.retain(|it| it["transport"] == "udp");
        edges.iter().any(|it| it["vip"] == vip() && it["bytes"]["to_client"] == 1400).then_some(edges)
    });
    let [edge] = &edges[..] else { panic!("{edges:?}") };
    println!("{edge}");
    assert_eq!(
        (&edge["client"]["pid"], &edge["server"]["pid"], &edge["bytes"]["to_server"]),
        (&json!(client.pid()), &json!(server.pid()), &json!(300))
    );
    assert_eq!(agent.status().number("/nat/resolved_by_conntrack"), 1);
}

/// Nobody knows of the translation, neither the kernel nor we.
#[test]
fn what_nobody_knows_is_an_edge_to_the_service_itself() {
    require_bpf!();
    require_admin!();
    let cluster = Cluster::new(Translation::Untracked);
    cluster.server.exec("sh", ["-c", "echo 1 > /proc/sys/net/core/optmem_max"]);
    let agent = Agent::start_in(&cluster.node, crate::watch_targets());
    let mut client = conn(&cluster.client, "client");
    let _server = server(&cluster.server);
    let before = agent.status().number("/nat/unresolved");
    client.ask(&format!("connect {SERVICE}"));
    let edge = edge(&agent, &client);
    assert_eq!((&edge["server"]["address"], &edge["vip"]), (&json!(SERVICE.ip().to_string()), &Value::Null));
    // Others on this machine may have such connections, too.
    let unresolved = eventually("an unresolved connection", || {
        let unresolved = agent.status().number("/nat/unresolved");
        (before < unresolved).then_some(unresolved)
    });
    println!("{} unresolved {before}, then {unresolved}", edge["server"]);
}

fn conn(namespace: &NetNs, name: &str) -> Target {
    let mut command = namespace.command(paths::built("target-conn"));
    command.env("OTEL_SERVICE_NAME", name);
    Target::start(command)
}

fn dns(namespace: &NetNs, args: &[&str]) -> Target {
    let mut command = namespace.command(paths::built("target-dns"));
    command.args(args);
    Target::start(command)
}

#[track_caller]
fn server(namespace: &NetNs) -> Target {
    let mut server = conn(namespace, "server");
    assert_eq!(server.ask(&format!("listen 0.0.0.0:{BACKEND_PORT}"))["id"], 1);
    server
}

#[track_caller]
fn edge(agent: &Agent, client: &Target) -> Value {
    let pid = client.pid().to_string();
    eventually("the edge of a client", || agent.items(["topology", "--pid", &pid]).into_iter().next())
}

fn vip() -> Value {
    json!({"address": SERVICE.ip().to_string(), "port": SERVICE.port(), "backend_port": BACKEND_PORT})
}
