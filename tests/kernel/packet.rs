//! Control packets that no socket of the host can tell about, on XDP and on TCX.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use agent::{config::settings::XdpMode, kernel::Hook};
use agent_common::{
    counter,
    event::{
        Event,
        packet::{Stray, what},
    },
    limits::NEW_PEERS_PER_SECOND,
};
use tests::{
    NetNs, Observer, Target, eventually, flood,
    netns::{ADDRESS_A, ADDRESS_B, Refusal, two_namespaces},
    observer,
    paths::built,
    require_admin, require_bpf,
};

#[test]
fn packets_without_a_socket_are_reported_on_xdp_and_on_tcx() {
    require_bpf!();
    require_admin!();
    let (a, b) = two_namespaces();
    let addresses = [IpAddr::V4(ADDRESS_A), IpAddr::V4(ADDRESS_B)];
    let mut first = Observer::load();
    let xdp = attach(&mut first, &b, XdpMode::Native).unwrap();
    assert!(matches!(xdp, Hook::Xdp(_)), "{}", xdp.name());
    report(&mut first, &a, &b, addresses);

    // With an XDP link there already, ours is refused and the next best is taken.
    let mut second = Observer::load();
    let refused = attach(&mut second, &b, XdpMode::Native).unwrap_err();
    assert!(refused.contains("b0 has an XDP program already"), "{refused}");
    let tcx = attach(&mut second, &b, XdpMode::Auto).unwrap();
    assert!(matches!(tcx, Hook::Tc(..)), "{}", tcx.name());
    report(&mut second, &a, &b, addresses);
    // The first one saw the same packets: both let them pass.
    let known = strays(&mut first, addresses[0]);
    let syns = known.iter().filter(|it| it.what == what::SYN_UNANSWERED);
    assert_eq!(syns.map(|it| it.count - it.count / 2).sum::<u64>(), 2, "{known:?}");
}

/// Each packet is the first of its peer, which must leave room in the ring for all the others.
#[test]
fn a_flood_of_forged_sources_is_throttled() {
    require_bpf!();
    require_admin!();
    const PACKETS: u32 = 20_000;
    let (a, b) = two_namespaces();
    let mut observer = Observer::load();
    let _xdp = attach(&mut observer, &b, XdpMode::Native).unwrap();
    a.inside(|| flood::syns(SocketAddrV4::new(ADDRESS_B, 8081), PACKETS));
    let counted =
        |observer: &Observer, slots: &[u32]| slots.iter().map(|it| observer.counter(*it)).sum::<u64>();
    eventually("most packets to be throttled", || {
        let twice = u64::from(PACKETS) * 2;
        (twice / 2 < counted(&observer, &[counter::PACKET_THROTTLED])).then_some(())
    });
    observer.drain();
    let reported = observer.events.iter().filter(|it| matches!(it, Event::Stray(_))).count() as u64;
    let seconds_and_cpus = 64;
    assert!((1..NEW_PEERS_PER_SECOND * seconds_and_cpus).contains(&reported), "{reported}");
    assert_eq!(counted(&observer, &[counter::PACKET_RING_FULL, counter::SOCK_RING_FULL]), 0);
    println!("{reported} of {PACKETS} reported, {} throttled", observer.counter(counter::PACKET_THROTTLED));
}

/// New flows from outside must not push out those of the node's own workloads.
#[test]
fn a_flood_of_datagrams_is_throttled() {
    require_bpf!();
    require_admin!();
    const PACKETS: u64 = 20_000;
    let (a, b) = two_namespaces();
    let mut observer = Observer::load();
    let _xdp = attach(&mut observer, &b, XdpMode::Native).unwrap();
    a.inside(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        for n in 0..PACKETS {
            let port = 1024 + u16::try_from(n).unwrap();
            socket.send_to(b"x", SocketAddr::new(ADDRESS_B.into(), port)).unwrap();
        }
    });
    let throttled = eventually("all packets", || {
        let flows = observer.kernel.flows(|_| ()).unwrap().unwrap().flows;
        let throttled = observer.counter(counter::FLOW_THROTTLED);
        (flows + throttled == PACKETS).then_some(throttled)
    });
    assert!(PACKETS / 2 < throttled, "{throttled}");
    println!("{throttled} of {PACKETS} datagrams throttled");
}

#[test]
fn packets_of_ipv6_are_read() {
    require_bpf!();
    require_admin!();
    let (a, b) = two_namespaces();
    for (namespace, link, address) in [(&a, "a0", "fd77::1/64"), (&b, "b0", "fd77::2/64")] {
        namespace.exec("ip", ["address", "add", address, "dev", link, "nodad"]);
    }
    let mut observer = Observer::load();
    let _xdp = attach(&mut observer, &b, XdpMode::Native).unwrap();
    report(&mut observer, &a, &b, ["fd77::1", "fd77::2"].map(|it| it.parse().unwrap()));
}

#[test]
fn an_interface_may_go_away_under_the_hook() {
    require_bpf!();
    require_admin!();
    let (a, b) = two_namespaces();
    let (mut on_xdp, mut on_tcx) = (Observer::load(), Observer::load());
    let xdp = attach(&mut on_xdp, &b, XdpMode::Auto).unwrap();
    let tcx = attach(&mut on_tcx, &b, XdpMode::Auto).unwrap();
    assert_eq!([xdp.name(), tcx.name()], ["xdp, native", "tcx, ingress"]);
    a.exec("ip", ["link", "delete", "a0"]);
    drop((xdp, tcx));
    let error = attach(&mut on_xdp, &b, XdpMode::Auto).unwrap_err();
    assert!(error.contains("b0"), "{error}");
}

/// To `b0`, which has this name only in its own namespace.
fn attach(observer: &mut Observer, namespace: &NetNs, mode: XdpMode) -> Result<Hook, String> {
    let hook = namespace.inside(|| observer.kernel.attach_packets("b0", mode));
    hook.map(|it| it.expect("it is not switched off")).map_err(|it| it.to_string())
}

/// An open port, a closed one, and a segment for a connection that does not exist.
#[track_caller]
fn report(observer: &mut Observer, a: &NetNs, b: &NetNs, [from, to]: [IpAddr; 2]) {
    let at = |port| SocketAddr::new(to, port);
    let conn = built("target-conn");
    let mut server = Target::start(b.command(&conn));
    let mut client = Target::start(a.command(&conn));
    assert_eq!(server.ask(&format!("listen {}", at(8080)))["id"], 1);
    let open = client.ask(&format!("connect {}", at(8080)));
    assert_eq!(open["peer"], at(8080).to_string());
    server.ask("accept 1");
    client.ask("send 1 1000");
    assert_eq!(server.ask("recv 2 1000")["bytes"], 1000, "packets pass");
    let closed = client.ask(&format!("connect {}", at(8081)));
    assert!(closed["errno"].is_i64(), "{closed}");
    // The server's end goes without a word to the client, whose RST then finds nobody.
    let local: SocketAddr = open["local"].as_str().unwrap().parse().unwrap();
    a.refuse(local.port(), Refusal::Drop);
    server.ask("reset 2");
    drop(server);
    a.accept_all();
    client.ask("reset 1");

    let found = eventually("a stray RST", || {
        let found = strays(observer, from);
        found.iter().any(|it| it.what == what::RST_UNMATCHED).then_some(found)
    });
    let told: Vec<_> = found.iter().map(|it| (it.what, it.count, it.local_port)).collect();
    let want = [(what::SYN_UNANSWERED, 1, 8081), (what::RST_UNMATCHED, 1, 8080)];
    assert_eq!(told, want);
    assert_eq!(observer.counter(counter::PACKET_NEW_PEERS), 1);
    for stray in &found {
        assert_eq!(observer::address(stray.local, 0).ip(), to);
    }
    assert_eq!(observer::address(found[1].remote, found[1].remote_port), local);
    println!("{from} -> {to}: {told:?}");
}

/// What came from an address so far.
#[track_caller]
fn strays(observer: &mut Observer, from: IpAddr) -> Vec<Stray> {
    observer.drain();
    let of_peer = |event: &Event| match event {
        Event::Stray(it) if observer::address(it.remote, it.remote_port).ip() == from => Some(*it),
        _ => None,
    };
    observer.events.iter().filter_map(of_peer).collect()
}
