//! Who talks to whom: names, directions, failures and figures of a shop of real processes.

use agent::clock;
use serde_json::Value;
use tests::{Agent, eventually, require_bpf, shop::Shop, taskscope};

use crate::schema::assert_valid;

/// Client and server of the edges that a visit makes.
const EDGES: [[&str; 2]; 5] = [
    ["shop-load", "shop-web"],
    ["shop-web", "shop-catalog"],
    ["shop-web", "python3"],
    ["shop-web", "shop-payments"],
    ["shop-catalog", "redis-server"],
];

/// How soon is for `cargo xtask bench` to judge, with a release and an idle machine.
#[test]
fn the_shop_is_drawn() {
    require_bpf!();
    let shop = Shop::open();
    let agent = Agent::start(crate::watch_targets());
    let up = agent.age();
    // Only now: these processes and their connections are younger than the agent, the shop is older.
    let begin = clock::now();
    let load = shop.load(50, 5);
    let mut first = None;
    eventually("all edges of the shop", || {
        let edges = edges(&agent, &shop, load.pid());
        let is_there = |[client, server]: &[&str; 2]| edges.iter().any(|it| joins(it, client, server));
        if first.is_none() && edges.iter().any(|it| joins(it, "shop-load", "shop-web")) {
            first = Some(clock::now().since(begin));
        }
        EDGES.iter().all(is_there).then_some(())
    });
    let (first, all) = (first.unwrap(), clock::now().since(begin));
    println!("agent up after {up:?}, first edge {first:?} after the load began, all {} {all:?}", EDGES.len());

    load.rest();
    let edges = eventually("requests on every HTTP edge", || {
        let edges = edges(&agent, &shop, load.pid());
        let counted = |[client, server]: &[&str; 2]| {
            let edge = edges.iter().find(|it| joins(it, client, server));
            edge.is_some_and(|it| 0 < it["requests"]["count"].as_u64().unwrap_or(0))
        };
        // Redis does not speak HTTP.
        EDGES[..4].iter().all(counted).then_some(edges.clone())
    });
    for edge in &edges {
        let confidence = edge["role_confidence"].as_str().unwrap();
        println!(
            "{} -> {}:{} {confidence} {}",
            name(&edge["client"]),
            name(&edge["server"]),
            edge["server"]["port"],
            edge["requests"]
        );
        assert!(matches!(confidence, "exact" | "listener"), "{edge}");
    }
    assert!(edges.iter().all(|it| it["client"]["pid"] != it["server"]["pid"]));
}

#[test]
fn a_port_where_nobody_listens_is_an_edge_of_refusals() {
    require_bpf!();
    let shop = Shop::open();
    let agent = Agent::start(crate::watch_targets());
    let load = shop.load(100, 2);
    load.rest();
    let port = shop.recommendations().port();
    let edge = eventually("the refused edge", || {
        agent.items(["topology"]).into_iter().find(|it| it["server"]["port"] == port)
    });
    println!("refused: {}", edge["connections"]);
    assert_eq!(name(&edge["client"]), "shop-web");
    assert_eq!(edge["server"]["address"], "127.0.0.1");
    let count = |what: &str| edge["connections"][what].as_u64().unwrap();
    assert!(0 < count("refused"), "{edge}");
    assert_eq!((count("failed"), count("opened")), (count("refused"), 0), "{edge}");
}

/// Their handshakes were not seen: listeners tell the client from the server.
#[test]
fn connections_older_than_the_agent_have_their_direction() {
    require_bpf!();
    let shop = Shop::open();
    let load = shop.load(200, 30);
    // The listener of a server is one, too; and where answers come soon, one connection does for the load.
    for (pid, least) in [(load.pid(), 1), (shop.catalog.pid(), 2), (shop.payments.pid(), 2)] {
        eventually("connections", || (least <= sockets_of(pid)).then_some(()));
    }
    let agent = Agent::start(crate::watch_targets());
    eventually("the edges of the shop", || {
        let edges = edges(&agent, &shop, load.pid());
        let is_there = |[client, server]: &[&str; 2]| edges.iter().any(|it| joins(it, client, server));
        EDGES.iter().all(is_there).then_some(())
    });
    for edge in edges(&agent, &shop, load.pid()) {
        let ends = [name(&edge["client"]), name(&edge["server"])];
        println!("{} -> {}:{} {}", ends[0], ends[1], edge["server"]["port"], edge["role_confidence"]);
        assert!(EDGES.contains(&ends), "drawn the wrong way round: {edge}");
    }
}

#[test]
fn what_is_printed_is_what_the_schema_says() {
    require_bpf!();
    let shop = Shop::open();
    let agent = Agent::start(crate::watch_targets());
    shop.load(100, 3).rest();
    let trace = eventually("a trace", || agent.items(["traces"]).first().cloned());
    let id = trace["trace_id"].as_str().unwrap();
    let busiest = agent.items(["topology", "--sort", "requests", "--limit", "1"]);
    let edge = busiest[0]["id"].as_str().unwrap();
    for (command, args) in [
        ("topology", vec!["topology"]),
        ("topology", vec!["topology", "--by", "workload"]),
        ("topology --edge ID", vec!["topology", "--edge", edge]),
        ("status", vec!["status"]),
        ("targets", vec!["targets"]),
        ("traces", vec!["traces"]),
        ("traces TRACE_ID", vec!["traces", id]),
        ("findings", vec!["findings"]),
    ] {
        let answer = agent.ask(args);
        let n_items = answer["items"].as_array().map_or(0, Vec::len);
        println!("{command}: {n_items} items");
        assert_ne!(n_items, 0, "nothing was checked: {answer}");
        assert_valid(command, &answer);
    }
    let doctor = taskscope().args(["doctor", "-o", "json"]).output().unwrap();
    assert_valid("doctor", &serde_json::from_slice(&doctor.stdout).unwrap());

    for (format, want) in [("dot", "[label=\"shop-load\"]"), ("mermaid", "[\"shop-web\"]")] {
        let output = agent.run(["topology", "-o", format]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(want), "{format}: {text}");
    }
}

#[test]
fn exit_statuses_are_those_of_the_contract() {
    require_bpf!();
    let agent = Agent::start(crate::watch_targets());
    let check = |args: &[&str], want: i32, says: &str| {
        let output = agent.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        println!("{args:?}: {:?} {}", output.status.code(), errors.lines().next().unwrap_or_default());
        assert_eq!(output.status.code(), Some(want), "{args:?}: {errors}");
        assert!(errors.contains(says), "{args:?}: {errors}");
    };
    check(&["status"], 0, "");
    check(&["traces", "--service", "nobody-is-called-so"], 2, "Nothing found");
    check(&["topology", "--limitt", "3"], 64, "--limit");
    let nowhere = tempfile::tempdir().unwrap();
    let asked =
        taskscope().args(["status", "--socket"]).arg(nowhere.path().join("no.sock")).output().unwrap();
    let errors = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(asked.status.code(), Some(1), "{errors}");
    assert!(errors.contains("taskscope agent"), "{errors}");
}

/// Edges with an end in the shop or its load: others have processes on this machine, too.
fn edges(agent: &Agent, shop: &Shop, load: u32) -> Vec<Value> {
    let ours =
        [shop.web.pid(), shop.cart.pid(), shop.payments.pid(), shop.catalog.pid(), shop.redis_pid(), load];
    let is_ours = |end: &Value| ours.iter().any(|pid| end["pid"] == *pid);
    let mut edges = agent.items(["topology"]);
    edges.retain(|it| is_ours(&it["client"]) && is_ours(&it["server"]));
    edges
}

fn joins(edge: &Value, client: &str, server: &str) -> bool {
    name(&edge["client"]) == client && name(&edge["server"]) == server
}

fn name(end: &Value) -> &str {
    end["service"].as_str().or(end["address"].as_str()).unwrap_or_default()
}

/// Sockets that a process has open.
fn sockets_of(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = files.filter_map(|it| std::fs::read_link(it.path()).ok());
    targets.filter(|it| it.to_string_lossy().starts_with("socket:")).count()
}
