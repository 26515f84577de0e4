//! What stands still is a finding while it lasts: by its cause, on whoever has it, and as old as it is.

use std::time::Duration;

use agent::clock::{self, Ktime};
use serde_json::{Value, json};
use tests::{
    Agent, Snmp, Target, eventually, lossy::Lossy, netns::ADDRESS_FAR, require_admin, require_bpf, within,
};

use crate::schema::assert_valid;

/// A dump a second, and how much later than it is, a finding may be told.
const INTERVAL: Duration = Duration::from_secs(1);
/// The kernel's clock ticks seldom.
const TICKS: Duration = Duration::from_millis(20);
/// Until something that lasts is told, and then as old as it is.
const PATIENCE: Duration = Duration::from_secs(40);
const BYTES: u64 = 100;

struct Scene {
    agent: Agent,
    link: Lossy,
    connections: u64,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let mut link = Lossy::new();
        let agent = Agent::start(crate::watch_targets());
        assert_eq!(link.server.ask(&format!("listen {ADDRESS_FAR}:80"))["id"], 1);
        Self { agent, link, connections: 0 }
    }

    /// The number of the client's socket; the server's is one more.
    #[track_caller]
    fn connect(&mut self) -> u64 {
        self.connections += 1;
        assert_eq!(self.link.client.ask(&format!("connect {ADDRESS_FAR}:80"))["id"], self.connections);
        self.link.server.ask("accept 1");
        self.connections
    }

    #[track_caller]
    fn ask(&mut self, id: u64) {
        bring((&mut self.link.client, id), (&mut self.link.server, id + 1));
    }

    #[track_caller]
    fn answer(&mut self, id: u64) {
        bring((&mut self.link.server, id + 1), (&mut self.link.client, id));
    }

    /// Asks and answers, until a dump has shown it.
    #[track_caller]
    fn talk(&mut self, id: u64) {
        let before = self.bytes_answered();
        self.ask(id);
        self.answer(id);
        eventually("a dump", || (before < self.bytes_answered()).then_some(()));
    }

    fn bytes_answered(&self) -> Option<u64> {
        let pid = self.link.client.pid().to_string();
        let edges = self.agent.items(["topology", "--pid", &pid]);
        edges.iter().find(|it| it["server"]["port"] == 80)?["bytes"]["to_client"].as_u64()
    }

    /// What is wrong now, on one of the two.
    fn findings(&self, pid: u32) -> Vec<Value> {
        self.agent.items(["findings", "--pid", &pid.to_string()])
    }

    /// Waits for the finding until it is told as old as it is: it began between the two times.
    #[track_caller]
    fn told(&self, kind: &str, pid: u32, began: (Ktime, Ktime)) -> Value {
        let found = within(PATIENCE, &format!("{kind}, and its age"), || {
            let finding = self.findings(pid).into_iter().find(|it| it["kind"] == kind)?;
            let now = clock::now();
            let lasts = Duration::from_secs_f64(finding["evidence"]["lasts_seconds"].as_f64().unwrap());
            assert!(lasts <= now.since(began.0) + TICKS, "{finding}: older than {:?}", now.since(began.0));
            (now.since(began.1) <= lasts + INTERVAL).then_some(finding)
        });
        println!("{}: {}", found["severity"], found["summary"]);
        assert_eq!((&found["count"], &found["evidence"]["connections"]), (&json!(1), &json!(1)));
        assert_eq!(found["target"]["pid"], pid);
        // What to type next shows the edge.
        let next = found["next"].as_str().unwrap();
        let edge = next.strip_prefix("taskscope topology --edge ").unwrap_or_else(|| panic!("{next}"));
        assert_eq!(found["evidence"]["edge"], edge);
        let page = self.agent.ask(["topology", "--edge", edge]);
        assert_eq!(page["items"][0]["client"]["pid"], self.link.client.pid(), "{page}");
        assert_valid("findings", &self.agent.ask(["findings"]));
        found
    }
}

#[track_caller]
fn bring((from, from_id): (&mut Target, u64), (to, to_id): (&mut Target, u64)) {
    assert_eq!(from.ask(&format!("send {from_id} {BYTES}"))["bytes"], BYTES);
    assert_eq!(to.ask(&format!("recv {to_id} {BYTES}"))["bytes"], BYTES);
}

fn kinds(findings: &[Value]) -> Vec<&str> {
    findings.iter().filter_map(|it| it["kind"].as_str()).collect()
}

#[test]
fn a_peer_that_acknowledges_nothing_is_a_silent_network() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    // One rests, and is not meant.
    let _rests = scene.connect();
    let id = scene.connect();
    scene.talk(id);
    scene.link.lose("everything");
    let before = clock::now();
    assert_eq!(scene.link.client.ask(&format!("send {id} {BYTES}"))["bytes"], BYTES);
    let began = (before, clock::now());
    let client = scene.link.client.pid();
    let found = scene.told("network_silent", client, began);
    assert!(2 <= found["evidence"]["timeouts"].as_u64().unwrap(), "{found}");
    assert_eq!(found["evidence"]["unacknowledged_bytes"], BYTES);
    assert_eq!(kinds(&scene.findings(client)), ["network_silent"]);
    assert_eq!(kinds(&scene.findings(scene.link.server.pid())), [""; 0]);
    within(PATIENCE, "it to become critical", || {
        (scene.findings(client)[0]["severity"] == "critical").then_some(())
    });
    scene.link.lose("nothing");
    assert_eq!(scene.link.server.ask(&format!("recv {} {BYTES}", id + 1))["bytes"], BYTES);
    within(PATIENCE, "the end of the episode", || {
        kinds(&scene.findings(client)).contains(&"rto_episode").then_some(())
    });
}

#[test]
fn a_peer_that_takes_no_more_is_a_closed_window() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let id = scene.connect();
    scene.talk(id);
    let before = clock::now();
    scene.link.client.tell(&format!("send {id} 20000000"));
    eventually("a closed window", || {
        let closed = Snmp::of(&scene.link.b).get("TcpExt.TCPToZeroWindowAdv");
        (closed != 0).then_some(())
    });
    let began = (before, clock::now());
    let client = scene.link.client.pid();
    let found = scene.told("window_closed", client, began);
    assert_ne!(found["evidence"]["waiting_bytes"], 0, "{found}");
    assert_eq!(kinds(&scene.findings(client)), ["window_closed"]);
    // And the one that does not read is told of it.
    let server = scene.link.server.pid();
    let found = within(PATIENCE, "who does not read", || scene.findings(server).into_iter().next());
    println!("{}", found["summary"]);
    assert_eq!(found["kind"], "application_silent");
    assert_ne!(found["evidence"]["unread_bytes"], 0);
}

#[test]
fn a_server_that_acknowledges_and_does_not_answer_is_a_silent_application() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    // Kept alive, and nobody waits for anything: the server's word was the last.
    let rests = scene.connect();
    scene.talk(rests);
    let id = scene.connect();
    (0..4).for_each(|_| scene.talk(id));
    let before = clock::now();
    scene.ask(id);
    let began = (before, clock::now());
    let (client, server) = (scene.link.client.pid(), scene.link.server.pid());
    let found = scene.told("application_silent", client, began);
    assert!(found["evidence"]["longest_answer_seconds"].is_f64(), "{found}");
    assert_eq!(kinds(&scene.findings(client)), ["application_silent"]);
    assert_eq!(kinds(&scene.findings(server)), [""; 0], "it has read all");

    // A request that it does not even read is its own matter, too.
    scene.answer(id);
    let before = clock::now();
    assert_eq!(scene.link.client.ask(&format!("send {rests} {BYTES}"))["bytes"], BYTES);
    let began = (before, clock::now());
    let found = scene.told("application_silent", server, began);
    assert_eq!(found["evidence"]["unread_bytes"], BYTES);
}

#[test]
fn a_full_accept_queue_is_told_of_the_server() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let own = format!("{ADDRESS_FAR}:81");
    scene.link.server.ask(&format!("listen {own} 1"));
    for _ in 0..2 {
        assert!(scene.link.client.ask(&format!("connect {own} 5000"))["id"].is_u64());
    }
    assert_eq!(scene.link.client.ask(&format!("connect {own} 300"))["error"], "abandoned");
    let server = scene.link.server.pid();
    let found = eventually("the finding, and that it lasts", || {
        let found = scene.findings(server).into_iter().find(|it| it["kind"] == "accept_queue_full")?;
        (found["severity"] == "critical").then_some(found)
    });
    println!("{}", found["summary"]);
    assert_eq!((&found["target"]["pid"], &found["count"]), (&json!(server), &json!(1)));
    let evidence = &found["evidence"];
    assert_eq!((&evidence["connections"], &evidence["backlog"]), (&json!(2), &json!(1)));
    assert_eq!((&evidence["server_address"], &evidence["server_port"]), (&json!("10.78.0.1"), &json!(81)));
    assert_eq!(kinds(&scene.findings(server)), ["accept_queue_full"]);
}
