//! Programs of others on the same interfaces: before ours and after, by TCX, by clsact and on XDP.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use agent::{
    clock::Ktime,
    config::settings::XdpMode,
    kernel::{Interfaces, Outcome},
};
use agent_common::event::udp::{FlowRow, place};
use tests::{
    Observer, Pods, eventually,
    pods::{CARD, POD_B, UPLINK},
    require_admin, require_bpf,
};

use crate::{
    attach::counted,
    foreign::{Foreign, Order, Verdict},
};

/// A pod that talks to another, behind `vha`.
struct Talk {
    pods: Pods,
    observer: Observer,
    from: UdpSocket,
    to: UdpSocket,
}

impl Talk {
    #[track_caller]
    fn new() -> Self {
        let pods = Pods::new();
        let from = pods.a.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        let to = pods.b.inside(|| UdpSocket::bind((POD_B, 0)).unwrap());
        to.set_nonblocking(true).unwrap();
        Self { pods, observer: Observer::load(), from, to }
    }

    #[track_caller]
    fn others(&self, verdict: Verdict, order: Order) -> Foreign {
        let ifindex = self.pods.link("vha").index;
        self.pods.node.inside(|| Foreign::new(ifindex, verdict, order))
    }

    /// Of 10 bytes, how many were counted and how many arrived.
    #[track_caller]
    fn say(&mut self, what: &str) -> (u64, usize) {
        let before = counted(&mut self.observer);
        self.from.send_to(&[0; 10], self.to.local_addr().unwrap()).unwrap();
        // Between namespaces of one host it is there when it is sent, or never.
        let arrived = self.to.recv(&mut [0; 100]).unwrap_or(0);
        let counted = counted(&mut self.observer) - before;
        println!("{what}: {counted} of 10 bytes counted, {arrived} arrived");
        (counted, arrived)
    }

    /// What is found at all interfaces, `secs` after the begin.
    #[track_caller]
    fn look(&mut self, interfaces: &mut Interfaces, secs: u64) -> Vec<String> {
        let kernel = &mut self.observer.kernel;
        let now = Ktime(0).plus(Duration::from_secs(secs));
        let rounds = 0..2 * interfaces.n_hooked() + 2;
        let found =
            self.pods.node.inside(|| rounds.flat_map(|_| interfaces.look(kernel, now)).collect::<Vec<_>>());
        let mut told = Vec::new();
        for it in &found {
            assert_eq!(it.programs.len(), 1, "{it:?}");
            told.push(format!("{} {} {}", it.interface, it.hook, name(&it.outcome)));
        }
        println!("{secs} s: {told:?}, {} behind", interfaces.n_behind());
        told
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::First => "first",
        Outcome::Behind => "behind",
        Outcome::Gone => "gone",
        Outcome::Lost(_) => "lost",
    }
}

#[test]
fn who_comes_before_ours_is_passed_and_who_insists_is_told() {
    require_bpf!();
    require_admin!();
    let mut talk = Talk::new();
    let (mut interfaces, _) = talk.pods.hook(&mut talk.observer);
    assert_eq!(talk.say("alone"), (10, 10));
    assert!(talk.look(&mut interfaces, 1).is_empty());
    let mut other = talk.others(Verdict::Drop, Order::First);
    assert_eq!(talk.say("another came before ours"), (0, 0));
    assert_eq!(talk.look(&mut interfaces, 7), ["vha tcx, ingress first", "vha tcx, egress first"]);
    assert_eq!(talk.say("ours is first again, and theirs runs on"), (10, 0));
    assert!(talk.look(&mut interfaces, 13).is_empty());

    talk.pods.node.inside(|| other.attach(Order::First));
    assert_eq!(talk.say("it came again"), (0, 0));
    assert_eq!(talk.look(&mut interfaces, 19), ["vha tcx, ingress behind", "vha tcx, egress behind"]);
    assert!(talk.look(&mut interfaces, 3600).is_empty(), "it is told once, and two do not fight");
    assert_eq!((interfaces.n_behind(), interfaces.n_hooked()), (1, 4));
    assert_eq!(talk.say("it insists"), (0, 0));

    drop(other);
    assert!(talk.look(&mut interfaces, 3606).is_empty());
    assert_eq!(interfaces.n_behind(), 0);
    assert_eq!(talk.say("it went"), (10, 10));
}

/// Each agent wants to be first, and each moves once.
#[test]
fn two_agents_do_not_fight() {
    require_bpf!();
    require_admin!();
    let mut talk = Talk::new();
    let mut second = Observer::load();
    let (mut ours, _) = talk.pods.hook(&mut talk.observer);
    let (mut theirs, _) = talk.pods.hook(&mut second);
    let (mut moves, mut n_behind) = (0, 0);
    for secs in (0..600).step_by(6) {
        for (interfaces, observer) in [(&mut ours, &mut talk.observer), (&mut theirs, &mut second)] {
            let now = Ktime(0).plus(Duration::from_secs(secs));
            let look = || interfaces.look(&mut observer.kernel, now);
            let found = talk.pods.node.inside(look);
            moves += found.iter().filter(|it| matches!(it.outcome, Outcome::First)).count();
        }
        n_behind = ours.n_behind() + theirs.n_behind();
    }
    println!("{moves} moves in 10 minutes, {n_behind} interfaces of one are behind the other's");
    // Of the four interfaces the pods' two have two hooks each.
    assert_eq!((moves, n_behind), (2 * 6, 4));
    assert_eq!(talk.say("two agents"), (10, 10));
}

#[test]
fn programs_of_others_run_before_and_after_ours() {
    require_bpf!();
    require_admin!();
    let mut talk = Talk::new();
    let there_before = talk.others(Verdict::Accept, Order::First);
    let (interfaces, _) = talk.pods.hook(&mut talk.observer);
    assert_eq!(talk.say("another was there and accepts all"), (10, 10));
    let there_after = talk.others(Verdict::Accept, Order::Last);
    assert_eq!(talk.say("another came and accepts all"), (10, 10));
    drop(there_before);
    let drops = talk.others(Verdict::Drop, Order::Last);
    assert_eq!(talk.say("the one after ours takes all"), (10, 10), "another accepts it before");
    drop(there_after);
    assert_eq!(talk.say("the one after ours takes all"), (10, 0));
    drop(drops);

    let node = &talk.pods.node;
    let tc = |words: &str| node.exec("tc", words.split(' '));
    tc("qdisc add dev vha clsact");
    for words in ["link add sink type veth peer name drain", "link set drain up", "link set sink up"] {
        node.exec("ip", words.split(' '));
    }
    let redirect = "protocol ip u32 match u32 0 0 action mirred egress redirect dev sink";
    tc(&format!("filter add dev vha ingress prio 1 {redirect}"));
    assert_eq!(talk.say("a filter of priority 1 takes all"), (10, 0));
    drop(interfaces);
    let node = &talk.pods.node;
    let filters = node.exec("tc", ["-s", "filter", "show", "dev", "vha", "ingress"]);
    assert!(filters.contains("pref 1 ") && filters.contains(" 1 pkt"), "{filters}");
    let qdiscs = node.exec("tc", ["qdisc", "show", "dev", "vha"]);
    assert!(qdiscs.contains("clsact"), "it is not ours to remove: {qdiscs}");
}

#[test]
fn where_another_has_xdp_the_same_is_seen_by_tcx() {
    require_bpf!();
    require_admin!();
    let mut talk = Talk::new();
    let mut first = Observer::load();
    let kernel = &mut first.kernel;
    let xdp = talk.pods.node.inside(|| kernel.attach_packets(CARD, XdpMode::Native)).unwrap().unwrap();
    assert_eq!(xdp.name(), "xdp, native");
    let (_interfaces, hooked) = talk.pods.hook(&mut talk.observer);
    let card = hooked.iter().find(|it| it.interface == CARD).unwrap();
    assert_eq!(card.hooks, ["tcx, ingress", "tcx, egress"]);
    let outside = talk.pods.remote.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let inside = talk.pods.node.inside(|| UdpSocket::bind((UPLINK, 0)).unwrap());
    outside.send_to(&[0; 123], inside.local_addr().unwrap()).unwrap();
    assert_eq!(inside.recv(&mut [0; 200]).unwrap(), 123);
    let seen = [from_outside(&mut first), from_outside(&mut talk.observer)];
    println!("{seen:?} bytes seen by XDP and by TCX");
    assert_eq!(seen, [123, 123]);
}

/// Payload that came in at the card for the node's own address.
#[track_caller]
fn from_outside(observer: &mut Observer) -> u64 {
    let is_meant = |row: &FlowRow| {
        row.key.place == place::FROM_OUTSIDE
            && tests::observer::address(row.key.destination, 0) == SocketAddr::from((UPLINK, 0))
    };
    eventually("a packet from outside", || {
        let mut bytes = 0;
        observer.kernel.flows(|row| bytes += if is_meant(&row) { row.count.bytes } else { 0 }).unwrap();
        (bytes != 0).then_some(bytes)
    })
}
