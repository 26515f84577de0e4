//! Filters of clsact qdiscs, which older kernels have instead of links: what they see, and what stays of them.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::{Value, json};
use tests::{
    Agent, Pods, Target, eventually,
    paths::built,
    pods::{BRIDGE, CARD, POD_A, POD_B},
    require_admin, require_bpf, residue, taskscope,
};

/// The hooks of an agent on a node with two pods, without those that XDP has.
const PLACES: [(&str, &str); 6] = [
    ("vha", "ingress"),
    ("vha", "egress"),
    ("vhb", "ingress"),
    ("vhb", "egress"),
    ("lo", "egress"),
    (CARD, "egress"),
];
const INTERFACES: [&str; 4] = ["vha", "vhb", "lo", CARD];

#[track_caller]
fn on(pods: &Pods, tc: &str) -> Agent {
    let flags = ["--interface", CARD, "--no-http-spans", "--tc", tc];
    let agent = Agent::start_in(&pods.node, flags);
    eventually("programs on all interfaces", || {
        (agent.status().number("/interfaces/watched") == 4).then_some(())
    });
    agent
}

#[track_caller]
fn tc(pods: &Pods, words: &str) -> String {
    pods.node.exec("tc", words.split(' '))
}

/// Our filters, as `tc` shows them; each hook has one at most.
#[track_caller]
fn filters(pods: &Pods) -> Vec<String> {
    let shown = |(link, side)| tc(pods, &format!("filter show dev {link} {side}"));
    let all: Vec<_> = PLACES.map(shown).concat().lines().map(str::to_owned).collect();
    all.into_iter().filter(|it| it.contains("taskscope_")).collect()
}

#[track_caller]
fn qdiscs(pods: &Pods) -> usize {
    INTERFACES.iter().filter(|it| tc(pods, &format!("qdisc show dev {it}")).contains("clsact")).count()
}

/// Two processes that send each other datagrams.
struct Talk {
    client: Target,
    server: Target,
}

impl Talk {
    const AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(POD_B), 7008);

    #[track_caller]
    fn begin(pods: &Pods) -> Self {
        let conn = built("target-conn");
        let mut server = Target::start(pods.b.command(&conn));
        let mut client = Target::start(pods.a.command(&conn));
        server.ask(&format!("udp 0.0.0.0:{}", Self::AT.port()));
        client.ask(&format!("udp {POD_A}:0"));
        Self { client, server }
    }

    /// 11 datagrams one way and 1 the other.
    #[track_caller]
    fn go_on(&mut self) {
        assert_eq!(self.client.ask(&format!("send_to 1 {} 11 100", Self::AT))["bytes"], 1100);
        let heard = self.server.ask("recv_from 1 11");
        assert_eq!(heard["bytes"], 1100, "they pass");
        let from = heard["from"].as_str().unwrap().to_owned();
        self.server.ask(&format!("send_to 1 {from} 1 1400"));
        assert_eq!(self.client.ask("recv_from 1 1")["bytes"], 1400);
    }

    #[track_caller]
    fn edge(&self, agent: &Agent, (to_server, to_client): (u64, u64)) -> Value {
        eventually("the edge, both ways", || {
            let edges = agent.items(["topology", "--pid", &self.client.pid().to_string()]);
            let edge = edges.into_iter().find(|it| it["server"]["port"] == Self::AT.port())?;
            let bytes = json!({ "to_client": to_client, "to_server": to_server });
            (edge["bytes"] == bytes).then_some(edge)
        })
    }
}

/// Bytes and packets of UDP, and the name that a pod's process asked for.
#[track_caller]
fn seen(pods: &Pods, agent: &Agent) -> Value {
    let mut talk = Talk::begin(pods);
    talk.go_on();
    let edge = talk.edge(agent, (1100, 1400));
    assert_eq!(edge["server"]["pid"], talk.server.pid(), "{edge}");
    let resolver = format!("{BRIDGE}:53");
    let mut serve = pods.node.command(built("target-dns"));
    serve.args(["serve", &resolver]);
    let _resolver = Target::start(serve);
    let mut asking = Target::start(pods.a.command(built("target-dns")));
    for _ in 0..5 {
        asking.ask(&format!("{resolver} fail.test"));
    }
    let finding = eventually("a finding", || {
        let items = agent.items(["findings"]);
        items.into_iter().find(|it| it["kind"] == "dns_server_failures" && it["evidence"]["lookups"] == 5)
    });
    assert_eq!(finding["target"]["pid"], asking.pid(), "{finding}");
    json!([edge["bytes"], edge["packets"], finding["evidence"]["last_name"]])
}

#[test]
fn filters_see_what_links_see() {
    require_bpf!();
    require_admin!();
    let [by_links, by_filters] = ["tcx", "clsact"].map(|way| {
        let pods = Pods::new();
        let agent = on(&pods, way);
        let log = agent.log();
        assert!(log.contains(&format!("{way}, ingress; {way}, egress")), "{log}");
        let is_clsact = way == "clsact";
        assert_eq!(filters(&pods).len(), if is_clsact { PLACES.len() } else { 0 });
        assert_eq!(agent.status().number("/interfaces/clsact"), if is_clsact { 4 } else { 0 });
        let status = String::from_utf8(agent.run(["status"]).stdout).unwrap();
        assert_eq!(status.contains("4 looked at (4 by clsact: "), is_clsact, "{status}");
        seen(&pods, &agent)
    });
    println!("{by_filters}");
    assert_eq!(by_filters, by_links);
    assert_eq!(by_filters[1], json!({ "to_client": 1, "to_server": 11 }));
}

#[test]
fn a_killed_agent_leaves_only_doors_to_nowhere_which_the_next_one_takes_away() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    let mut dead = on(&pods, "clsact");
    let mut talk = Talk::begin(&pods);
    talk.go_on();
    talk.edge(&dead, (1100, 1400));
    let held = residue::held_by(dead.pid());
    dead.kill();
    // Two doors and the array that they lead into: a card with XDP has no third.
    let left = eventually("what is left", || {
        let left = residue::remaining(&held);
        (left.len() == 3).then_some(left)
    });
    assert_eq!(names(&left), ["DOORS", "taskscope_from", "taskscope_to"]);
    let shown = filters(&pods);
    println!(
        "{} objects were held; {} and {} filters are left: {}",
        held.len(),
        left.len(),
        shown.len(),
        shown[0]
    );
    assert_eq!(shown.len(), PLACES.len(), "{shown:?}");
    assert!(shown.iter().all(|it| it.contains("direct-action") && it.contains("+clsact")), "{shown:?}");
    sink(&pods);
    mirror(&pods, "vha", 7);
    talk.go_on();
    let count = mirrored(&pods, "vha");
    println!("a filter behind the door: {count}");
    assert!(!count.contains(" 0 pkt"), "who comes after is asked: {count}");
    tc(&pods, "filter delete dev vha ingress prio 7");

    let next = on(&pods, "clsact");
    assert!(next.log().contains("An agent was killed; its filters are taken off."), "{}", next.log());
    assert_eq!(filters(&pods).len(), PLACES.len());
    eventually("the dead one's last objects to go", || residue::remaining(&held).is_empty().then_some(()));
    talk.go_on();
    talk.edge(&next, (1100, 1400));
    let held = residue::held_by(next.pid());
    let ended = next.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    println!("ended after {:?}", ended.took);
    // The marks of the dead one said that the qdiscs are an agent's.
    assert_eq!((filters(&pods).len(), qdiscs(&pods)), (0, 0));
    eventually("an empty kernel", || residue::remaining(&held).is_empty().then_some(()));
    talk.go_on();
}

#[test]
fn what_doctor_says_takes_the_filters_away() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    on(&pods, "clsact").kill();
    assert_eq!(filters(&pods).len(), PLACES.len());
    let mut doctor = taskscope();
    let doctor = doctor.args(["doctor", "-o", "json"]).env("TASKSCOPE_TC", "clsact").output().unwrap();
    let answer: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let items = answer["items"].as_array().unwrap();
    let packets = items.iter().find(|it| it["feature"] == "packets").unwrap();
    let command = packets["remedy"].as_str().unwrap().split('`').nth(1).unwrap();
    println!("{command}");
    // It fails where there is nothing to take away.
    let done = pods.node.command("sh").args(["-c", command]).output().unwrap();
    assert_eq!(filters(&pods), Vec::<String>::new(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A kernel that got links, or a user who chose them.
#[test]
fn an_agent_with_links_takes_filters_of_a_killed_one_away() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    on(&pods, "clsact").kill();
    assert_eq!((filters(&pods).len(), qdiscs(&pods)), (PLACES.len(), INTERFACES.len()));
    let _next = on(&pods, "auto");
    assert_eq!((filters(&pods).len(), qdiscs(&pods)), (0, 0));
}

/// Names of programs and maps.
#[track_caller]
fn names(objects: &[residue::Object]) -> Vec<String> {
    let ids = |kind| objects.iter().filter(|it| it.kind == kind).map(|it| it.id).collect::<BTreeSet<_>>();
    let (programs, maps) = (ids("program"), ids("map"));
    let programs = aya::programs::loaded_programs().flatten().filter(|it| programs.contains(&it.id()));
    let programs = programs.map(|it| it.name_as_str().unwrap_or_default().to_owned());
    let maps = aya::maps::loaded_maps().flatten().filter(|it| maps.contains(&it.id()));
    let maps = maps.map(|it| it.name_as_str().unwrap_or_default().to_owned());
    let mut names: Vec<_> = programs.chain(maps).collect();
    names.sort();
    names
}

/// An interface to nowhere.
#[track_caller]
fn sink(pods: &Pods) {
    for words in ["link add sink type veth peer name drain", "link set drain up", "link set sink up"] {
        pods.node.exec("ip", words.split(' '));
    }
}

/// A filter of somebody else that copies all packets to another interface, and lets them pass.
#[track_caller]
fn mirror(pods: &Pods, dev: &str, priority: u16) {
    let action = "protocol ip u32 match u32 0 0 action mirred egress mirror dev sink";
    tc(pods, &format!("filter add dev {dev} ingress prio {priority} {action}"));
}

#[track_caller]
fn mirrored(pods: &Pods, dev: &str) -> String {
    let shown = tc(pods, &format!("-s filter show dev {dev} ingress"));
    let line = shown.lines().find(|it| it.contains(" pkt "));
    line.unwrap_or_else(|| panic!("no count in {shown}")).trim().to_owned()
}

#[test]
fn what_others_have_there_is_left_alone() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    sink(&pods);
    // One has the first place, one has a qdisc only, and one comes later.
    tc(&pods, "qdisc add dev vha clsact");
    mirror(&pods, "vha", 1);
    tc(&pods, "qdisc add dev lo clsact");
    let flags = ["--interface", CARD, "--no-http-spans", "--tc", "clsact"];
    let agent = Agent::start_in(&pods.node, flags);
    let refusal = eventually("a word about the first place", || {
        let log = agent.log();
        log.lines().find(|it| it.contains("Packets are not looked at here.")).map(str::to_owned)
    });
    println!("{refusal}");
    assert!(refusal.contains("vha has a filter of priority 1 already"), "{refusal}");
    eventually("the others", || (agent.status().number("/interfaces/watched") == 3).then_some(()));
    mirror(&pods, "vhb", 7);
    let mut talk = Talk::begin(&pods);
    talk.go_on();
    talk.edge(&agent, (0, 1400));
    for dev in ["vha", "vhb"] {
        let count = mirrored(&pods, dev);
        println!("{dev}: {count}");
        assert!(!count.contains(" 0 pkt"), "{dev}: {count}");
    }
    let ended = agent.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(filters(&pods), Vec::<String>::new());
    for (dev, is_left) in [("vha", true), ("vhb", true), ("lo", true), (CARD, false)] {
        let qdisc = tc(&pods, &format!("qdisc show dev {dev}"));
        assert_eq!(qdisc.contains("clsact"), is_left, "{dev}: {qdisc}");
    }
    talk.go_on();
    for dev in ["vha", "vhb"] {
        assert!(!mirrored(&pods, dev).contains(" 0 pkt"), "{dev}");
    }
}
