//! Payload by edge is what the sockets themselves have counted, each byte once.

use std::sync::Arc;

use agent::assemble::edge::{BothWays, Confidence, Peer};
use serde_json::Value;
use tests::{
    Assembled, NetNs, Observer, Target, eventually, netns::two_namespaces, paths::built, require_admin,
    require_bpf,
};

/// Bytes to the server and back, of one connection each.
const SIZES: &[(u64, u64)] = &[(1, 1), (100, 0), (0, 100), (70_000, 1), (10_000_000, 10_000_000), (0, 0)];

#[test]
fn payload_is_exact_with_segmentation_offload_and_without() {
    require_bpf!();
    require_admin!();
    for offload in [true, false] {
        let (a, b) = two_namespaces();
        if !offload {
            a.exec("ip", ["link", "set", "a0", "gso_max_segs", "1"]);
            b.exec("ip", ["link", "set", "b0", "gso_max_segs", "1"]);
        }
        check(&a, &b);
        println!("exact, offload {offload}");
    }
}

/// Who resets its own connection makes the kernel forget what it has counted, before the socket is gone.
#[test]
fn payload_is_exact_of_connections_that_their_own_program_resets() {
    const SENT: u64 = 70_000;
    const RECEIVED: u64 = 300;
    require_bpf!();
    require_admin!();
    let (a, b) = two_namespaces();
    let conn = built("target-conn");
    let mut server = Target::start(b.command(&conn));
    let mut client = Target::start(a.command(&conn));
    let pids = [client.pid(), server.pid()];
    let mut observer = Observer::load();
    let mut assembled = Assembled::new(&pids);
    server.ask("listen 10.77.0.2:8080");
    // The last one: a program that lingers, and ends in order.
    let ways =
        [&["reset"] as &[&str], &["shutdown", "reset"], &["disconnect", "close"], &["linger", "close"]];
    for (n, way) in ways.iter().enumerate() {
        let (here, there) = (n + 1, n + 2);
        assert_eq!(client.ask("connect 10.77.0.2:8080")["id"], here);
        server.ask("accept 1");
        transfer((&mut client, here), (&mut server, there), SENT);
        transfer((&mut server, there), (&mut client, here), RECEIVED);
        for command in *way {
            assert_eq!(client.ask(&format!("{command} {here}")), serde_json::json!({}), "{way:?}");
        }
        server.ask(&format!("recv {there} 1"));
        server.ask(&format!("close {there}"));
        let edge = eventually("the end of both sockets", || {
            assembled.take(&mut observer, &pids);
            let edges = assembled.edges(8080);
            let edge = edges.first().filter(|it| it.connections.active == 0)?;
            (edge.connections.opened == here as u64).then(|| Arc::clone(edge))
        });
        let want = BothWays { to_server: SENT * here as u64, to_client: RECEIVED * here as u64 };
        let closed = edge.faults.closed;
        println!(
            "{way:?}: {:?}, {} reset by the client, {} in order",
            edge.bytes, closed.reset_by_client, closed.fin
        );
        assert_eq!(edge.bytes, want, "{way:?}");
        assert_eq!(closed.reset_by_client + closed.fin, here as u64, "{way:?}: {closed:?}");
    }
    let edges = assembled.edges(8080);
    let closed = edges[0].faults.closed;
    assert_eq!((closed.reset_by_client, closed.fin), (3, 1), "{closed:?}");
}

#[track_caller]
fn check(a: &NetNs, b: &NetNs) {
    let conn = built("target-conn");
    let mut server = Target::start(b.command(&conn));
    let mut client = Target::start(a.command(&conn));
    let pids = [client.pid(), server.pid()];
    let mut observer = Observer::load();
    server.ask("listen 10.77.0.2:8080");
    let mut assembled = Assembled::new(&pids);
    let mut truth = BothWays::default();
    for (n, (up, down)) in SIZES.iter().enumerate() {
        let (here, there) = (n + 1, n + 2);
        assert_eq!(client.ask("connect 10.77.0.2:8080")["id"], here);
        server.ask("accept 1");
        transfer((&mut client, here), (&mut server, there), *up);
        // In mid-life the figures are in a dump, later in the record of the end.
        assembled.take(&mut observer, &pids);
        transfer((&mut server, there), (&mut client, here), *down);
        let stats = [client.ask(&format!("stats {here}")), server.ask(&format!("stats {there}"))];
        let [up_sent, down_sent] =
            [0, 1].map(|it| figure(&stats[it], "bytes_sent") - figure(&stats[it], "bytes_retrans"));
        let received = [0, 1].map(|it| figure(&stats[it], "bytes_received"));
        assert_eq!(([up_sent, down_sent], received), ([*up, *down], [*down, *up]));
        truth = BothWays { to_server: truth.to_server + up_sent, to_client: truth.to_client + down_sent };
        // The last connection stays open.
        if n + 1 < SIZES.len() {
            client.ask(&format!("close {here}"));
            server.ask(&format!("recv {there} 1"));
            server.ask(&format!("close {there}"));
        }
    }
    let edge = eventually("all but the last connection to end", || {
        assembled.take(&mut observer, &pids);
        let edges = assembled.edges(8080);
        let [edge] = &edges[..] else { panic!("{edges:?}") };
        (edge.connections.active == 1).then(|| Arc::clone(edge))
    });
    assert!(matches!(&edge.client, Peer::Process(it) if it.tgid.0 == pids[0]), "{edge:?}");
    assert!(matches!(&edge.server, Peer::Process(it) if it.tgid.0 == pids[1]), "{edge:?}");
    assert_eq!((edge.bytes, edge.confidence), (truth, Confidence::Exact));
    assert_eq!((edge.connections.opened, edge.connections.active), (SIZES.len() as u64, 1));
    assert_eq!((edge.connections.failed, edge.connections.reset), (0, 0));
}

#[track_caller]
fn transfer(from: (&mut Target, usize), to: (&mut Target, usize), n_bytes: u64) {
    from.0.tell(&format!("send {} {n_bytes}", from.1));
    assert_eq!(to.0.ask(&format!("recv {} {n_bytes}", to.1))["bytes"], n_bytes);
    assert_eq!(from.0.json()["bytes"], n_bytes);
}

#[track_caller]
fn figure(stats: &Value, name: &str) -> u64 {
    stats[name].as_u64().unwrap_or_else(|| panic!("{stats} has no {name}"))
}
