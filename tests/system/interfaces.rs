//! The agent among interfaces that flap, floods, and programs of others.

use std::{
    io::Write as _,
    net::{SocketAddr, SocketAddrV4},
    process::Stdio,
};

use serde_json::Value;
use tests::{
    Agent, NetNs, Pods, Target, eventually, flood,
    paths::built,
    pods::{CARD, POD_A, POD_B, REMOTE, UPLINK},
    require_admin, require_bpf, residue,
};

/// An agent on a node with two pods, with its programs on all four interfaces.
#[track_caller]
fn on_a_node() -> (Agent, Pods) {
    let pods = Pods::new();
    let agent = Agent::start_in(&pods.node, ["--interface", CARD, "--no-http-spans"]);
    eventually("programs on all interfaces", || (watched(&agent) == 4).then_some(()));
    (agent, pods)
}

fn watched(agent: &Agent) -> u64 {
    agent.status().number("/interfaces/watched")
}

fn links(agent: &Agent) -> usize {
    residue::held_by(agent.pid()).iter().filter(|it| it.kind == "link").count()
}

/// Two pods that talk over UDP and TCP; all their bytes must be on their edges.
struct Talk {
    client: Target,
    server: Target,
    sent: u64,
}

impl Talk {
    const PORT: u16 = 7007;

    #[track_caller]
    fn begin(pods: &Pods) -> Self {
        let conn = built("target-conn");
        let mut server = Target::start(pods.b.command(&conn));
        let mut client = Target::start(pods.a.command(&conn));
        let at = SocketAddr::from((POD_B, Self::PORT));
        assert_eq!(server.ask(&format!("udp 0.0.0.0:{}", at.port()))["id"], 1);
        assert_eq!(client.ask(&format!("udp {POD_A}:0"))["id"], 1);
        assert_eq!(server.ask(&format!("listen {at}"))["id"], 2);
        assert_eq!(client.ask(&format!("connect {at}"))["id"], 2);
        server.ask("accept 2");
        Self { client, server, sent: 0 }
    }

    #[track_caller]
    fn go_on(&mut self) {
        const N: u64 = 5;
        const BYTES: u64 = 200;
        let at = SocketAddr::from((POD_B, Self::PORT));
        assert_eq!(self.client.ask(&format!("send_to 1 {at} {N} {BYTES}"))["bytes"], N * BYTES);
        assert_eq!(self.server.ask(&format!("recv_from 1 {N}"))["bytes"], N * BYTES);
        self.client.ask(&format!("send 2 {}", N * BYTES));
        assert_eq!(self.server.ask(&format!("recv 3 {}", N * BYTES))["bytes"], N * BYTES);
        self.sent += N * BYTES;
    }

    #[track_caller]
    fn is_on_edges(&self, agent: &Agent) {
        eventually("all that was sent on an edge of each kind", || {
            let edges = agent.items(["topology", "--pid", &self.client.pid().to_string()]);
            let bytes = |transport: &str| {
                let of = |it: &&Value| it["transport"] == transport && it["server"]["port"] == Self::PORT;
                edges.iter().find(of).and_then(|it| it["bytes"]["to_server"].as_u64())
            };
            let both = [bytes("udp")?, bytes("tcp")?];
            assert!(both.iter().all(|it| *it <= self.sent), "{both:?} of {}", self.sent);
            (both == [self.sent; 2]).then_some(())
        });
        println!("{} bytes over UDP and as many over TCP are on edges", self.sent);
    }
}

/// More often than the agent looks, and while others talk.
#[test]
fn interfaces_that_flap_disturb_nobody_and_leave_nothing() {
    require_bpf!();
    require_admin!();
    const ROUNDS: usize = 4;
    const PODS: usize = 50;
    let (agent, pods) = on_a_node();
    let links_before = links(&agent);
    let mut talk = Talk::begin(&pods);
    let far = NetNs::new();
    for _ in 0..ROUNDS {
        let each = |words: &dyn Fn(usize) -> String| (0..PODS).map(|n| words(n) + "\n").collect::<String>();
        batch(
            &pods.node,
            &each(&|n| format!("link add flap{n} type veth peer name f{n} netns {}", far.name())),
        );
        talk.go_on();
        batch(&pods.node, &each(&|n| format!("link delete flap{n}")));
        talk.go_on();
    }
    talk.is_on_edges(&agent);
    let vanished = eventually("only those that stay", || {
        let is_calm = watched(&agent) == 4 && links(&agent) == links_before;
        is_calm.then(|| agent.log().matches("interface=\"flap").count())
    });
    let log = agent.log();
    assert!(!log.contains("Packets are not looked at"), "{log}");
    assert!(!log.contains("are not seen"), "{log}");
    println!(
        "{} interfaces came and went, {vanished} of them had programs; {links_before} links",
        ROUNDS * PODS
    );
    assert_eq!(agent.terminate().status.code(), Some(0));
}

#[track_caller]
fn batch(namespace: &NetNs, lines: &str) {
    let mut command = namespace.command("ip");
    let mut child = command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// What is said of forged peers gives way, and nothing of those who really talk.
#[test]
fn a_flood_of_syns_costs_nobody_his_connections() {
    require_bpf!();
    require_admin!();
    const SYNS: u32 = 10_000;
    let (mut agent, pods) = on_a_node();
    // Answers go somewhere, too.
    pods.node.exec("ip", ["route", "add", "default", "via", &REMOTE.to_string()]);
    let mut server = Target::start(pods.node.command(built("target-conn")));
    let open = SocketAddrV4::new(UPLINK, 8080);
    assert_eq!(server.ask(&format!("listen {open}"))["id"], 1);
    let mut talk = Talk::begin(&pods);
    for to in [open, SocketAddrV4::new(UPLINK, 8081)] {
        talk.go_on();
        pods.remote.inside(|| flood::syns(to, SYNS));
        talk.go_on();
    }
    talk.is_on_edges(&agent);
    let (made, throttled) = eventually("counters that add up, and say that most were left out", || {
        let status = agent.status();
        let lost: u64 = status.item["events"]["lost"].as_object()?.values().filter_map(Value::as_u64).sum();
        let (made, delivered) = (status.number("/events/made"), status.number("/events/delivered"));
        let throttled = status.lost("packet_throttled");
        (made == delivered + lost && u64::from(SYNS) < throttled).then_some((made, throttled))
    });
    let status = agent.status();
    for reason in ["sock_ring_full", "packet_ring_full", "state_queue_full", "too_many_sockets"] {
        assert_eq!(status.lost(reason), 0, "{reason}");
    }
    let said = String::from_utf8(agent.run(["status"]).stdout).unwrap();
    assert!(said.lines().any(|it| it.starts_with("lost packet_throttled")), "{said}");
    println!("{} SYNs: {throttled} left out, {made} records of all", 2 * SYNS);
    agent.assert_alive();
}

#[test]
fn programs_of_others_before_ours_are_told() {
    require_bpf!();
    require_admin!();
    let (agent, pods) = on_a_node();
    let other = || {
        let mut command = pods.node.command(built("target-dropper"));
        command.arg("vha");
        Target::start(command)
    };
    let behind = || agent.status().number("/interfaces/behind");
    let said =
        |words: &str| agent.log().lines().any(|it| it.contains(words) && it.contains("interface=\"vha\""));
    let _first = other();
    eventually("a word about the first, which was passed", || {
        said("Programs of others came before ours, which is first again.").then_some(())
    });
    assert_eq!(behind(), 0);
    // Within a minute there is no second time.
    let second = other();
    eventually("a word about the second", || {
        said("Programs of others insist on being before ours").then_some(())
    });
    eventually("a number", || (behind() == 1).then_some(()));
    let status = String::from_utf8(agent.run(["status"]).stdout).unwrap();
    let line = status.lines().find(|it| it.starts_with("interfaces")).unwrap();
    println!("{line}");
    assert!(line.ends_with("4 looked at, 0 of unknown kinds, 1 behind programs of others"), "{line}");
    drop(second);
    eventually("nobody before ours", || (behind() == 0).then_some(()));
}
