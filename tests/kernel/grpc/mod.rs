//! Calls of gRPC in Go programs: every one is seen at both ends, and the ends find each other.
//!
//! The id of a call is in the name of its method, so a record says which call it is of.

mod chain;
mod ends;
mod versions;

use agent_common::event::http::{Call, end, joined_by, protocol, side};
use serde_json::Value;
use tests::{Observer, Target, paths::built, require_bpf};

use crate::http::scene::{Calls, Scene, assert_joined, call, text};

const ANY_PORT: &str = "127.0.0.1:0";

/// A watched server and clients of it.
struct Run<'a> {
    name: &'a str,
    kind: &'a str,
    n: usize,
    listen: &'a str,
    server: &'a [&'a str],
    client: &'a [&'a str],
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self { name: "grpc", kind: "U", n: 2000, listen: ANY_PORT, server: &[], client: &["-c", "64"] }
    }
}

/// What the client has seen, and the records of its calls and of the server's.
struct Seen {
    scene: Scene,
    at: String,
    sum: Value,
    client: u32,
    calls: Vec<Call>,
}

impl Run<'_> {
    #[track_caller]
    fn go(&self) -> Seen {
        let args = [&["server", "-listen", self.listen], self.server].concat();
        let mut scene = Scene::open_by(Observer::load(), self.name, &args);
        let (n, at) = (self.n.to_string(), scene.server.address().to_string());
        let args = [&["-to", &at, "-kind", self.kind, "-n", &n], self.client].concat();
        let client = scene.client(&args);
        assert_eq!(client.json()["first"], true);
        let sum = client.json();
        assert_eq!((&sum["calls"], &sum["wrong"]), (&self.n.into(), &0.into()), "{sum}");
        let pids = [scene.server.pid(), client.pid()];
        let calls = scene.observer.calls(2 * self.n, &pids);
        Seen { scene, at, sum, client: client.pid(), calls }
    }

    /// Every call is joined with its own server's, and with no other.
    #[track_caller]
    fn joins(&self) -> Seen {
        let seen = self.go();
        let calls = Calls::new(&seen.calls);
        for id in 1..=self.n {
            let method = format!("/truth.Test/{}{id}", self.kind);
            let client = calls.one(seen.client, side::CLIENT, &method);
            let server = calls.one(seen.scene.server.pid(), side::SERVER, &method);
            assert_eq!((client.joined_by, client.parent_span_id), (joined_by::NOTHING, [0; 8]));
            assert_joined(client, server);
            assert_eq!((client.seq, client.seq % 2), (server.seq, 1), "the stream of {method}");
            assert_eq!([client.end, server.end], [end::RETURNED; 2]);
            assert_eq!([client.protocol, server.protocol], [protocol::GRPC; 2]);
            assert!(client.began_ktime_ns <= server.began_ktime_ns);
            assert!(server.began_ktime_ns <= client.header.ktime_ns, "{method}");
        }
        seen.scene.assert_nothing_lost_or_left();
        let Self { name, kind, n, listen, server, client } = self;
        println!("{name} {kind} {listen} {server:?} {client:?}: {n} of {n} joined, {}", seen.sum);
        seen
    }
}

#[test]
fn each_unary_call_is_joined() {
    require_bpf!();
    for name in ["grpc", "grpc-stripped-pie"] {
        let seen = Run { name, n: 4000, ..Run::default() }.joins();
        assert!(seen.calls.iter().all(|it| it.status == 0));
        let client = seen.calls.iter().find(|it| it.side == side::CLIENT).unwrap();
        let host = std::str::from_utf8(&client.host[..usize::from(client.host_len)]).unwrap();
        assert_eq!(host, seen.at);
    }
}

#[test]
fn each_stream_is_a_call() {
    require_bpf!();
    for kind in ["C", "S", "B"] {
        Run { kind, ..Run::default() }.joins();
    }
}

#[test]
fn each_call_is_joined_on_many_connections_and_on_few_goroutines() {
    require_bpf!();
    Run { client: &["-c", "64", "-conns", "8"], ..Run::default() }.joins();
    Run { server: &["-workers", "4"], ..Run::default() }.joins();
}

/// A stream has no id as long as it waits.
#[test]
fn each_call_is_joined_when_they_wait_for_room() {
    require_bpf!();
    for kind in ["U", "B"] {
        Run { kind, server: &["-streams", "5"], ..Run::default() }.joins();
    }
}

#[test]
fn each_call_is_joined_over_ipv6_and_over_tls() {
    require_bpf!();
    Run { listen: "[::1]:0", n: 1000, ..Run::default() }.joins();
    Run { server: &["-tls"], client: &["-c", "16", "-tls"], n: 1000, ..Run::default() }.joins();
    Run { name: "grpc-stripped-pie", server: &["-tls"], client: &["-tls"], n: 200, ..Run::default() }.joins();
}

/// Connections are older than the probes, and calls are under way when they come.
#[test]
fn attached_in_mid_life_nothing_is_joined_wrongly() {
    require_bpf!();
    const N: usize = 4000;
    let n = N.to_string();
    let server = Target::spawn(built("grpc"), ["server", "-listen", ANY_PORT]);
    let at = server.address().to_string();
    let args = ["client", "-to", &at, "-kind", "B", "-n", &n, "-c", "16", "-pause", "5ms"];
    let mut client = Target::held(built("grpc"), args);
    client.tell("go");
    assert_eq!(client.json()["first"], true);
    let mut observer = Observer::load();
    let (_file, _) = observer.attach(server.pid());
    let pids = [client.pid(), server.pid()];
    for pid in pids {
        observer.watch(pid, Observer::plan(pid).process);
    }
    let sum = client.json();
    assert_eq!((&sum["calls"], &sum["wrong"]), (&N.into(), &0.into()), "{sum}");

    observer.drain();
    let calls: Vec<Call> =
        observer.events.iter().filter_map(call).filter(|it| pids.contains(&it.header.tgid)).collect();
    let calls = Calls::new(&calls);
    let served: Vec<&Call> = calls.of(pids[1]).collect();
    let mut n_joined = 0;
    for server in served.iter().filter(|it| it.joined_by == joined_by::CONNECTION) {
        assert_joined(calls.one(pids[0], side::CLIENT, text(server)), server);
        n_joined += 1;
    }
    // Those whose call was begun before the gate was open.
    let missed = served.len() - n_joined;
    assert!(missed <= 16, "{missed} of {} are roots", served.len());
    assert!(100 < served.len(), "{} is too late for a proof", served.len());
    println!("{n_joined} of {} joined, attached in mid-life", served.len());
}
