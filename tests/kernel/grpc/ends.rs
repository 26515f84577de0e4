//! How calls end: codes, cancelled streams, deadlines, a server that dies.

use std::collections::BTreeSet;

use agent_common::{
    counter,
    event::http::{Call, joined_by, protocol, side},
    layout::point,
    limits::PATH_BYTES,
};
use rustix::process::Signal;
use tests::{Target, eventually, paths::built, require_bpf};

use super::{ANY_PORT, Run};
use crate::http::scene::{Calls, Scene, assert_joined, call, text};

const CANCELLED: u16 = 1;
const DEADLINE_EXCEEDED: u16 = 4;
const UNIMPLEMENTED: u16 = 12;
const UNAVAILABLE: u16 = 14;

#[test]
fn both_ends_know_the_code() {
    require_bpf!();
    const CODES: usize = 17;
    let seen = Run { kind: "E", n: 10 * CODES, ..Run::default() }.joins();
    for call in &seen.calls {
        let id: usize = text(call).strip_prefix("/truth.Test/E").unwrap().parse().unwrap();
        assert_eq!(usize::from(call.status), id % CODES, "{}", text(call));
    }
    let codes = seen.sum["codes"].as_object().unwrap();
    assert_eq!(codes.len(), CODES, "{codes:?}");
    assert!(codes.values().all(|it| *it == 10), "{codes:?}");
}

/// It ends more than once at both ends, and is one record at each.
#[test]
fn a_cancelled_stream_is_a_cancelled_call() {
    require_bpf!();
    let seen = Run { kind: "B", n: 1000, client: &["-c", "32", "-cancel"], ..Run::default() }.joins();
    assert_eq!(seen.sum["codes"]["Canceled"], 1000, "{}", seen.sum);
    let clients = seen.calls.iter().filter(|it| it.side == side::CLIENT);
    assert!(clients.clone().all(|it| it.status == CANCELLED));
}

#[test]
fn a_deadline_is_the_clients_word() {
    require_bpf!();
    let seen = Run { kind: "D", n: 200, client: &["-c", "32", "-timeout", "20ms"], ..Run::default() }.joins();
    assert_eq!(seen.sum["codes"]["DeadlineExceeded"], 200, "{}", seen.sum);
    for call in &seen.calls {
        // Whether the server hears of the deadline or of the reset first is a race.
        let is_told =
            call.status == DEADLINE_EXCEEDED || call.side == side::SERVER && call.status == CANCELLED;
        assert!(is_told, "{} of side {}", call.status, call.side);
    }
}

#[test]
fn a_server_killed_in_mid_call_fails_it() {
    require_bpf!();
    let args = ["server", "-listen", ANY_PORT];
    let mut scene = Scene::open("grpc", &args);
    let at = scene.server.address().to_string();
    let client = scene.client(&["-to", &at, "-kind", "D", "-n", "4", "-c", "4"]);
    let (server, observer) = (scene.server.pid(), &scene.observer);
    eventually("the calls to arrive", || {
        (observer.hits(server)[point::GRPC_SERVER_BEGIN] == 4).then_some(())
    });
    scene.server.signal(Signal::KILL);
    let calls = scene.observer.calls(4, &[client.pid(), server]);
    let ends: Vec<_> = calls.iter().map(|it| (it.header.tgid, it.side, it.status)).collect();
    assert_eq!(ends, [(client.pid(), side::CLIENT, UNAVAILABLE); 4]);
    Calls::new(&calls);
}

/// Connections come and go, and what stands for them in the process is soon used again.
#[test]
fn calls_outlive_their_connections() {
    require_bpf!();
    const N: usize = 3000;
    let client = &["-c", "16", "-pause", "3ms"];
    let seen = Run { n: N, server: &["-age", "10ms"], client, ..Run::default() }.go();
    assert_eq!(seen.sum["codes"]["OK"], N, "{}", seen.sum);
    let calls = Calls::new(&seen.calls);
    for server in calls.of(seen.scene.server.pid()) {
        assert_joined(calls.one(seen.client, side::CLIENT, text(server)), server);
    }
    let ports: BTreeSet<_> = seen.calls.iter().map(|it| it.local_port).collect();
    assert!(20 < ports.len(), "{} connections", ports.len());
    println!("{N} of {N} joined on {} connections", ports.len() - 1);
}

/// They are requests of HTTP/2, and not the calls of gRPC's own server.
#[test]
fn calls_served_by_net_http_are_none_of_ours() {
    require_bpf!();
    const N: usize = 100;
    let mut scene = Scene::open("grpc", &["server", "-listen", ANY_PORT, "-over-http"]);
    let at = scene.server.address().to_string();
    let client = scene.client(&["-to", &at, "-kind", "U", "-n", &N.to_string(), "-c", "8", "-tls"]);
    assert_eq!(client.json()["first"], true);
    assert_eq!(client.json()["codes"]["OK"], N);
    scene.observer.calls(N, &[client.pid()]);
    assert_eq!(scene.observer.counter(counter::GRPC_OTHER_TRANSPORT), N as u64);
    let is_served = |it: &Call| it.side == side::SERVER && it.protocol == protocol::GRPC;
    assert_eq!(scene.observer.events.iter().filter_map(call).filter(is_served).count(), 0);
}

#[test]
fn a_long_name_is_cut_and_counted() {
    require_bpf!();
    let mut scene = Scene::open("grpc", &["server", "-listen", ANY_PORT]);
    let at = scene.server.address().to_string();
    let kind = "U".repeat(200);
    let client = scene.client(&["-to", &at, "-kind", &kind, "-n", "1"]);
    let calls = scene.observer.calls(2, &[client.pid(), scene.server.pid()]);
    let name = format!("/truth.Test/{kind}");
    for it in &calls {
        assert_eq!((text(it), it.status), (&name[..PATH_BYTES], UNIMPLEMENTED));
    }
    assert_eq!(scene.observer.counter(counter::GRPC_METHOD_CUT), 2);
}

/// A client that nobody watches: the server's are roots, and none is taken for another's.
#[test]
fn the_calls_of_strangers_are_roots() {
    require_bpf!();
    let args = ["server", "-listen", ANY_PORT];
    let mut scene = Scene::open("grpc", &args);
    let at = scene.server.address().to_string();
    let mut client = Target::held(built("grpc"), ["client", "-to", &at, "-kind", "U", "-n", "100"]);
    client.tell("go");
    let calls = scene.observer.calls(100, &[scene.server.pid()]);
    assert!(calls.iter().all(|it| it.joined_by == joined_by::NOTHING && it.parent_span_id == [0; 8]));
    scene.assert_nothing_lost_or_left();
}
