//! What an edge says of a long way.

use std::{net::Ipv4Addr, time::Duration};

use tests::{Agent, NetNs, Target, eventually, paths, require_admin, require_bpf};

const LEFT: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);
const EACH_WAY: Duration = Duration::from_micros(2500);
const QUESTIONS: u32 = 50;
/// What the server answers at once.
const BYTES: u32 = 100;

/// How long the way is in truth the sender's own socket says: on a busy machine each packet may take longer.
#[test]
fn the_round_trip_of_an_edge_is_that_of_its_way() {
    require_bpf!();
    require_admin!();
    let (a, wire, b) = (NetNs::new(), NetNs::new(), NetNs::new());
    let _delay = link(&a, &wire, &b);
    let agent = Agent::start(crate::watch_targets());
    let mut server = b.command(paths::built("target-conn"));
    server.args(["answer", &format!("{RIGHT}:0"), "1", "always"]);
    let server = Target::start(server);
    let mut client = Target::start(a.command(paths::built("target-conn")));
    assert_eq!(client.ask(&format!("connect {}", server.address()))["id"], 1);
    for _ in 0..QUESTIONS {
        assert_eq!(client.ask(&format!("send 1 {BYTES}"))["bytes"], BYTES);
        assert_eq!(client.ask(&format!("recv 1 {BYTES}"))["bytes"], BYTES);
    }
    let truth = client.ask("stats 1")["rtt_us"].as_f64().unwrap() / 1e6;
    let pid = client.pid().to_string();
    let rtt = eventually("an edge with the round trip of its socket", || {
        let edge = agent.items(["topology", "--pid", &pid]).into_iter().next()?;
        edge["network"]["rtt_seconds"].as_f64().filter(|it| (0.8..1.2).contains(&(it / truth)))
    });
    println!("{:.2} ms, by the socket {:.2} ms", rtt * 1e3, truth * 1e3);
    assert!((2 * EACH_WAY).as_secs_f64() <= rtt, "no packet is quicker than its link: {rtt}");
}

/// `a` and `b`, each with one end of a link that takes its time; who makes it take it is in `wire`.
#[track_caller]
fn link(a: &NetNs, wire: &NetNs, b: &NetNs) -> Target {
    let mut delay = wire.command(paths::built("target-delay"));
    delay.args(["left", "right", &EACH_WAY.as_micros().to_string()]);
    let delay = Target::start(delay);
    for (namespace, link, own, other) in [(a, "left", LEFT, RIGHT), (b, "right", RIGHT, LEFT)] {
        wire.exec("ip", ["link", "set", link, "netns", namespace.name()]);
        namespace.exec("ip", ["address", "add", &own.to_string(), "peer", &other.to_string(), "dev", link]);
        namespace.exec("ip", ["link", "set", link, "up"]);
    }
    delay
}
