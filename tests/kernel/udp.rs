//! UDP by edge: each byte once, whatever the packets pass on their way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use agent::{
    assemble::edge::{BothWays, Confidence, Edge, Peer, Transport, Vip},
    config::settings::TcMode,
    kernel::{Conntrack, Options},
    vitals::Vital,
};
use tests::{
    Assembled, Cluster, NetNs, Observer, Pods, Target,
    cluster::{BACKEND_PORT, SERVICE, Translation},
    eventually,
    paths::built,
    pods::{BRIDGE, MACVLAN, POD_A, POD_B, REMOTE, TUNNELLED, UPLINK},
    require_admin, require_bpf,
};

/// Of the first way; each has its own, for flows outlast the processes that made them.
const PORT: u16 = 7100;

/// What is attached besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    BridgeToo,
    AllHooks,
}

#[test]
fn each_byte_of_each_way_through_a_node_is_counted_once() {
    require_bpf!();
    require_admin!();
    let (sent, counted) = transfers(TcMode::Auto, Mutant::None);
    println!("{counted} of {sent} bytes");
    assert_eq!(counted, sent);
}

/// As a kernel has them that knows no links.
#[test]
fn filters_count_what_links_count() {
    require_bpf!();
    require_admin!();
    let (sent, counted) = transfers(TcMode::Clsact, Mutant::None);
    println!("{counted} of {sent} bytes");
    assert_eq!(counted, sent);
}

#[test]
fn more_hooks_would_count_more_than_once() {
    require_bpf!();
    require_admin!();
    for mutant in [Mutant::BridgeToo, Mutant::AllHooks] {
        let (sent, counted) = transfers(TcMode::Auto, mutant);
        println!("{mutant:?}: {counted} of {sent} bytes, {:.2}", counted as f64 / sent as f64);
        assert!(sent < counted, "{mutant:?}: {counted} of {sent}");
    }
}

/// A sender, and where it sends to.
struct Way<'a> {
    name: &'static str,
    from: &'a NetNs,
    source: Ipv4Addr,
    to: &'a NetNs,
    at: Ipv4Addr,
}

/// Sends over UDP and TCP in all ways; returns how much was sent, and how much is on edges. Without a mutant
/// each way must have its own edges, with the processes at both ends.
#[track_caller]
fn transfers(tc: TcMode, mutant: Mutant) -> (u64, u64) {
    let pods = Pods::new();
    pods.vxlan();
    let macvlan = pods.macvlan();
    let mut observer = Observer::with(Options { tc, ..Options::default() });
    let (_interfaces, hooked) = pods.hook(&mut observer);
    let refused: Vec<_> = hooked.iter().flat_map(|it| &it.refused).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let _more = more(mutant, &pods, &mut observer);
    let way = |name, from, source, to, at| Way { name, from, source, to, at };
    let (a, b, node, remote) = (&pods.a, &pods.b, &pods.node, &pods.remote);
    let ways = [
        way("pod a -> pod b", a, POD_A, b, POD_B),
        way("pod a -> host", a, POD_A, node, BRIDGE),
        way("pod a -> remote", a, POD_A, remote, REMOTE),
        way("pod a -> remote over VXLAN", a, POD_A, remote, TUNNELLED),
        way("host -> pod b", node, BRIDGE, b, POD_B),
        way("host -> remote", node, UPLINK, remote, REMOTE),
        way("host -> remote over VXLAN", node, Ipv4Addr::new(10, 77, 0, 1), remote, TUNNELLED),
        way("host -> host", node, Ipv4Addr::LOCALHOST, node, Ipv4Addr::LOCALHOST),
        way("macvlan pod -> remote", &macvlan, MACVLAN, remote, REMOTE),
    ];
    let mut sum = (0, 0);
    for (n, way) in ways.iter().enumerate() {
        let n_bytes = 100_000 + n as u64;
        let edges = transfer(&mut observer, way, node, (PORT + n as u16, n_bytes));
        let counted: u64 = edges.iter().map(|it| it.bytes.to_server).sum();
        println!("{}: {counted} of {} bytes on {} edges", way.name, n_bytes * 2, edges.len());
        if mutant == Mutant::None {
            assert_eq!(edges.len(), 2, "{}: {edges:?}", way.name);
        }
        sum.0 += n_bytes * 2;
        sum.1 += counted;
    }
    sum
}

#[track_caller]
fn more(mutant: Mutant, pods: &Pods, observer: &mut Observer) -> Vec<agent::kernel::Hook> {
    let (both, out): (&[&str], &[&str]) = match mutant {
        Mutant::None => (&[], &[]),
        Mutant::BridgeToo => (&["br0"], &[]),
        Mutant::AllHooks => (&["br0", "vx0", "up0", "lo"], &["vha", "vhb"]),
    };
    let links = |names: &[&str]| names.iter().map(|it| pods.link(it)).collect::<Vec<_>>();
    let (both, out) = (links(both), links(out));
    let kernel = &mut observer.kernel;
    pods.node.inside(|| {
        let both = both.iter().flat_map(|it| kernel.attach_workload(it).unwrap()).collect::<Vec<_>>();
        let out = out.iter().flat_map(|it| kernel.attach_egress(it).unwrap());
        both.into_iter().chain(out).collect()
    })
}

/// So many bytes over UDP and over TCP, by processes of their own; the edges between them.
#[track_caller]
fn transfer(observer: &mut Observer, way: &Way<'_>, node: &NetNs, (port, n_bytes): (u16, u64)) -> Vec<Edge> {
    let conn = built("target-conn");
    let mut server = Target::start(way.to.command(&conn));
    let mut client = Target::start(way.from.command(&conn));
    let pids = [client.pid(), server.pid()];
    let mut assembled = Assembled::new(&pids);
    assembled.within(netns_of(node), [IpAddr::V4(BRIDGE), IpAddr::V4(UPLINK)]);
    assembled.take(observer, &pids);
    let at = SocketAddr::from((way.at, port));
    let source = SocketAddr::from((way.source, 0));
    server.ask(&format!("udp 0.0.0.0:{port}"));
    client.ask(&format!("udp {source}"));
    let (n, size) = (100, n_bytes / 100);
    let rest = n_bytes - n * size;
    // In parts: the server's buffer does not hold all.
    for _ in 0..10 {
        assert_eq!(client.ask(&format!("send_to 1 {at} {} {size}", n / 10))["bytes"], n / 10 * size);
        assert_eq!(server.ask(&format!("recv_from 1 {}", n / 10))["bytes"], n / 10 * size);
    }
    client.ask(&format!("send_to 1 {at} 1 {rest}"));
    server.ask("recv_from 1 1");
    server.ask(&format!("listen 0.0.0.0:{port}"));
    client.ask(&format!("connect {at}"));
    server.ask("accept 2");
    client.tell(&format!("send 2 {n_bytes}"));
    assert_eq!(server.ask(&format!("recv 3 {n_bytes}"))["bytes"], n_bytes);
    client.json();
    let edges = eventually("the edges", || {
        assembled.take(observer, &pids);
        let edges: Vec<Edge> = assembled.edges(port).iter().map(|it| Edge::clone(it)).collect();
        let is_whole = |it: &Edge| n_bytes <= it.bytes.to_server;
        let has = |transport| edges.iter().any(|it| it.transport == transport && is_whole(it));
        (has(Transport::Tcp) && has(Transport::Udp)).then_some(edges)
    });
    for edge in &edges {
        assert!(matches!(&edge.client, Peer::Process(it) if it.tgid.0 == pids[0]), "{}: {edge:?}", way.name);
        assert!(matches!(&edge.server, Peer::Process(it) if it.tgid.0 == pids[1]), "{}: {edge:?}", way.name);
    }
    edges
}

#[track_caller]
fn netns_of(namespace: &NetNs) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(namespace.path()).unwrap().ino().try_into().unwrap()
}

/// Of each size, with the kernel cutting what is sent at once and without, and in pieces of what the wire takes.
#[test]
fn payload_and_packets_are_exact_whatever_the_wire_takes() {
    require_bpf!();
    require_admin!();
    for mtu in [1500, 9000] {
        let pods = Pods::new();
        for (namespace, link) in [
            (&pods.node, "vha"),
            (&pods.a, "eth0"),
            (&pods.node, "vhb"),
            (&pods.b, "eth0"),
            (&pods.node, "br0"),
        ] {
            namespace.exec("ip", ["link", "set", link, "mtu", &mtu.to_string()]);
        }
        let mut observer = Observer::load();
        let _hooks = pods.hook(&mut observer);
        // Datagrams, bytes of each, and the kernel's cut.
        for (n, size, segment) in
            [(1, 1, 0), (7, 100, 0), (3, 1400, 0), (2, 8900, 0), (1, 65_000, 0), (5, 60_000, 1200)]
        {
            let (bytes, packets) = (n * size, n * packets_of(size, segment, mtu));
            let edge = one_way(&pods, &mut observer, n, size, segment);
            let want = BothWays { to_server: bytes, to_client: 0 };
            assert_eq!(edge.bytes, want, "{n} of {size}, cut {segment}, mtu {mtu}");
            assert_eq!(edge.packets.to_server, packets, "{n} of {size}, cut {segment}, mtu {mtu}");
            println!("{n} of {size}, cut {segment}, mtu {mtu}: {bytes} bytes in {packets} packets");
        }
    }
}

/// The IP header takes 20 bytes, that of UDP 8; pieces but the last are multiples of 8.
fn packets_of(size: u64, segment: u64, mtu: u64) -> u64 {
    if segment != 0 {
        return size.div_ceil(segment);
    }
    let piece = (mtu - 20) / 8 * 8;
    if size + 28 <= mtu { 1 } else { (size + 8).div_ceil(piece) }
}

/// A process in each of two pods, the client's first.
#[track_caller]
fn ends(pods: &Pods, observer: &mut Observer) -> ([Target; 2], [u32; 2], Assembled) {
    let conn = built("target-conn");
    let ends = [&pods.a, &pods.b].map(|pod| Target::start(pod.command(&conn)));
    let pids = [ends[0].pid(), ends[1].pid()];
    let mut assembled = Assembled::new(&pids);
    assembled.take(observer, &pids);
    (ends, pids, assembled)
}

#[track_caller]
fn one_way(pods: &Pods, observer: &mut Observer, n: u64, size: u64, segment: u64) -> Edge {
    let ([mut client, mut server], pids, mut assembled) = ends(pods, observer);
    let local = server.ask("udp 0.0.0.0:0")["local"].as_str().unwrap().parse::<SocketAddr>().unwrap();
    let at = SocketAddr::from((POD_B, local.port()));
    client.ask(&format!("udp {POD_A}:0 {at}"));
    let cut = if segment == 0 { String::new() } else { segment.to_string() };
    assert_eq!(client.ask(format!("send_to 1 {at} {n} {size} {cut}").trim_end())["bytes"], n * size);
    let total = |edges: &[std::sync::Arc<Edge>]| edges.iter().map(|it| it.bytes.to_server).sum::<u64>();
    eventually("the edge", || {
        assembled.take(observer, &pids);
        let edges = assembled.edges(local.port());
        (n * size <= total(&edges)).then(|| {
            assert_eq!(edges.len(), 1, "{edges:?}");
            Edge::clone(&edges[0])
        })
    })
}

/// Of a server that talks to anybody, and of who was first.
#[test]
fn a_server_without_a_connection_has_its_process_and_its_role() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    let mut observer = Observer::load();
    let _hooks = pods.hook(&mut observer);
    let ([mut client, mut server], pids, mut assembled) = ends(&pods, &mut observer);
    let at = SocketAddr::from((POD_B, 53));
    server.ask("udp 0.0.0.0:53");
    client.ask(&format!("udp {POD_A}:0"));
    client.ask(&format!("send_to 1 {at} 1 40"));
    let from = server.ask("recv_from 1 1")["from"].as_str().unwrap().to_owned();
    server.ask(&format!("send_to 1 {from} 1 400"));
    assert_eq!(client.ask("recv_from 1 1")["from"], at.to_string());
    let edge = eventually("the edge", || {
        assembled.take(&mut observer, &pids);
        assembled.edges(53).into_iter().find(|it| it.bytes == BothWays { to_server: 40, to_client: 400 })
    });
    assert!(matches!(&edge.client, Peer::Process(it) if it.tgid.0 == pids[0]), "{edge:?}");
    assert!(matches!(&edge.server, Peer::Process(it) if it.tgid.0 == pids[1]), "{edge:?}");
    assert_eq!((edge.transport, edge.confidence), (Transport::Udp, Confidence::Service));
    assert_eq!(edge.packets, BothWays { to_server: 1, to_client: 1 });
    assert_eq!(observer.messages.len(), 2, "question and answer are copied, each once");
    println!("{} -> {}: {:?}, {:?}", pids[0], pids[1], edge.bytes, edge.confidence);
}

/// It is hit by none of the programs that see a process in its own calls.
#[test]
fn whoever_only_sends_is_found_among_the_open_files() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    let mut observer = Observer::load();
    let _hooks = pods.hook(&mut observer);
    let ([mut client, mut server], pids, mut assembled) = ends(&pods, &mut observer);
    let local = server.ask("udp 0.0.0.0:0")["local"].as_str().unwrap().parse::<SocketAddr>().unwrap();
    client.ask(&format!("udp {POD_A}:0"));
    client.ask(&format!("send_to 1 {} 3 40", SocketAddr::from((POD_B, local.port()))));
    let edge = eventually("the edge", || {
        assembled.take(&mut observer, &pids);
        assembled.edges(local.port()).into_iter().find(|it| it.bytes.to_server == 120)
    });
    assert!(matches!(&edge.client, Peer::Process(it) if it.tgid.0 == pids[0]), "{edge:?}");
    println!("{} -> {:?}: {:?}", pids[0], edge.server, edge.bytes);
}

/// A pod sends to the address of a service, a pod answers: both ways are met as they are sent and as they arrive,
/// under different addresses.
#[test]
fn a_service_over_udp_is_one_edge_with_its_server_and_each_byte_counts_once() {
    require_bpf!();
    require_admin!();
    let cluster = Cluster::new(Translation::Tracked);
    let mut observer = Observer::load();
    let _hooks = cluster.hook(&mut observer);
    let mut conntrack = cluster.node.inside(|| Conntrack::open().unwrap());
    let conn = built("target-conn");
    let mut server = Target::start(cluster.server.command(&conn));
    let mut client = Target::start(cluster.client.command(&conn));
    let pids = [client.pid(), server.pid()];
    let mut assembled = Assembled::new(&pids);
    assembled.within(netns_of(&cluster.node), [IpAddr::V4(BRIDGE), IpAddr::V4(UPLINK)]);
    assembled.servers_are_known();
    assembled.take(&mut observer, &pids);
    server.ask(&format!("udp 0.0.0.0:{BACKEND_PORT}"));
    client.ask(&format!("udp {POD_A}:0"));
    client.ask(&format!("send_to 1 {SERVICE} 3 100"));
    let from = server.ask("recv_from 1 3")["from"].as_str().unwrap().to_owned();
    server.ask(&format!("send_to 1 {from} 1 1400"));
    assert_eq!(client.ask("recv_from 1 1")["from"], SERVICE.to_string());
    let mut asked = 0;
    let want = BothWays { to_server: 300, to_client: 1400 };
    let vip = Some(Vip { ip: (*SERVICE.ip()).into(), backend_port: BACKEND_PORT });
    let edge = eventually("the edge", || {
        assembled.take(&mut observer, &pids);
        asked += assembled.answers(|it| agent::run::answer(&mut conntrack, it).unwrap());
        assembled.edges(SERVICE.port()).into_iter().find(|it| it.vip == vip && it.bytes == want)
    });
    assert!(matches!(&edge.client, Peer::Process(it) if it.tgid.0 == pids[0]), "{edge:?}");
    assert!(matches!(&edge.server, Peer::Process(it) if it.tgid.0 == pids[1]), "{edge:?}");
    assert_eq!(edge.packets, BothWays { to_server: 3, to_client: 1 });
    // No other edge has a part of it: neither the service's nor that of the masqueraded address.
    let others = [assembled.edges(SERVICE.port()).len(), assembled.edges(BACKEND_PORT).len()];
    assert_eq!((others, asked, assembled.vital(Vital::NatByConntrack)), ([1, 0], 1, 1));
    println!("{from} is the client to its server; {:?} on one edge", edge.bytes);
}
