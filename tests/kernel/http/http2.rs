//! HTTP/2: many requests are under way on one connection, and each finds its own call.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
};

use agent::{kernel::Options, targets::process::Tgid};
use agent_common::{
    counter,
    event::{
        Event,
        http::{Call, end, joined_by, protocol, side},
    },
    layout::point,
};
use rustix::process::Signal;
use tests::{Observer, Target, eventually, has_admin, paths::built, require_bpf};

use super::{
    OLDER_FORMS, Run, joins,
    scene::{Calls, Scene, assert_joined, call, text},
};

const CLIENT: &[&str] = &["-http2", "-c", "50", "-conns", "1"];
const TLS: Run<'_> = Run { server: &["-http2", "-tls"], client: CLIENT, scheme: "https", ..Run::PLAIN };
const CLEARTEXT: Run<'_> = Run { server: &["-http2"], client: CLIENT, ..Run::PLAIN };

#[test]
fn each_stream_is_joined_with_the_call_that_opened_it() {
    require_bpf!();
    for name in ["http", "http-stripped-pie"] {
        of_one_connection(&joins(&Run { name, n: 5000, ..TLS }), 5000);
    }
    of_one_connection(&joins(&CLEARTEXT), CLEARTEXT.n);
    of_one_connection(&joins(&Run { listen: "[::1]:0", n: 500, ..CLEARTEXT }), 500);
}

#[test]
fn each_stream_is_joined_when_each_has_its_own_connection() {
    require_bpf!();
    let client = &["-http2", "-keepalive=false"];
    let calls = joins(&Run { n: 500, client, ..CLEARTEXT });
    let ports: BTreeSet<u16> = clients(&calls).map(|it| it.local_port).collect();
    assert!(400 < ports.len(), "{} connections", ports.len());
    assert!(calls.iter().all(|it| it.seq == 1), "the first stream of each");
}

fn of_one_connection(calls: &[Call], n: usize) {
    assert!(calls.iter().all(|it| it.protocol == protocol::HTTP2));
    let ports: BTreeSet<u16> = clients(calls).map(|it| it.local_port).collect();
    let streams: BTreeSet<u32> = clients(calls).map(|it| it.seq).collect();
    assert_eq!((ports.len(), streams.len()), (1, n), "one connection, and a stream for each");
    let served = calls.iter().filter(|it| it.side == side::SERVER).map(|it| it.seq);
    assert_eq!(served.collect::<BTreeSet<u32>>(), streams);
}

fn clients(calls: &[Call]) -> impl Iterator<Item = &Call> {
    calls.iter().filter(|it| it.side == side::CLIENT)
}

/// The oldest and the newest compiler, with and without debug information; client and server are one process.
#[test]
fn each_stream_is_joined_in_every_version() {
    require_bpf!();
    const N: usize = 2000;
    for name in [
        "http-both",
        "http-both-stripped-pie",
        "http-both-go1.21-cgo-pie",
        "http-both-go1.27",
        "http-both-go1.27-stripped",
    ] {
        let mut target = Target::spawn(built(name), ["http2", &N.to_string(), "50"]);
        let mut observer = Observer::load();
        let (_file, plan) = observer.attach(target.pid());
        observer.watch(target.pid(), plan.process);
        target.tell("go");
        assert_eq!(target.line(), "0", "{name}: failed requests");
        let calls = observer.calls(2 * N, &[target.pid()]);
        let (asked, served): (Vec<&Call>, Vec<&Call>) = calls.iter().partition(|it| it.side == side::CLIENT);
        let asked: BTreeMap<&str, &Call> = asked.iter().map(|it| (text(it), *it)).collect();
        assert_eq!((asked.len(), served.len()), (N, N), "{name}");
        for server in served {
            let client =
                asked.get(text(server)).unwrap_or_else(|| panic!("{name}: nobody asked for {server:?}"));
            assert_joined(client, server);
            assert_eq!([client.status, server.status], [200; 2], "{name}");
            assert_eq!((client.seq, client.protocol), (server.seq, protocol::HTTP2), "{name}");
            let host = &server.host[..usize::from(server.host_len)];
            assert_eq!(host, format!("127.0.0.1:{}", server.local_port).as_bytes(), "{name}");
            assert_eq!(&server.method[..usize::from(server.method_len)], b"GET", "{name}");
        }
        println!("{name}: {N} of {N} joined");
    }
}

/// The connection begins with what looks like a request of the method PRI, and is none.
#[test]
fn each_stream_of_the_separate_package_is_joined() {
    require_bpf!();
    separate("http-separate", Options::default());
    separate("http-separate-stripped", Options::default());
    if has_admin() {
        // A probe has its cookie there, too.
        separate("http-separate", Options { forms: Some(OLDER_FORMS), ..Options::default() });
    }
}

#[track_caller]
fn separate(name: &str, options: Options) {
    const N: usize = 2000;
    let mut scene = Scene::open_by(Observer::with(options), name, &["server"]);
    let url = format!("http://{}/echo/", scene.server.address());
    let client = scene.client(&["-url", &url, "-n", &N.to_string(), "-c", "50"]);
    assert_eq!(client.line(), "0", "failed requests");
    let pids = [client.pid(), scene.server.pid()];
    let calls = scene.observer.calls(2 * N, &pids);
    assert!(calls.iter().all(|it| it.protocol == protocol::HTTP2));
    let calls = Calls::new(&calls);
    for server in calls.of(pids[1]) {
        let client = calls.one(pids[0], side::CLIENT, text(server));
        assert_joined(client, server);
        assert_eq!(([client.status, server.status], client.seq), ([200; 2], server.seq));
    }
    let [asked, served] = pids.map(|pid| scene.observer.hits(pid));
    assert_eq!(served[point::HTTP2_SERVER_BEGIN + point::SEPARATE], N as u64);
    assert_eq!(asked[point::SEPARATE_CLIENT_BEGIN], N as u64);
    assert_eq!(scene.observer.counter(counter::HTTP2_SERVED), 0);
    scene.assert_nothing_lost_or_left();
    println!("{name}: {N} of {N} joined");
}

#[test]
fn each_way_to_end_is_told_apart() {
    require_bpf!();
    for cleartext in [false, true] {
        let args: &[&str] = if cleartext { &["-http2"] } else { &["-http2", "-tls"] };
        let mut scene = Scene::open("http", &[&["server", "-listen", "127.0.0.1:0"], args].concat());
        let at = scene.server.address();
        let scheme = if cleartext { "http" } else { "https" };
        for (path, served, asked) in [
            ("echo/1", (end::RETURNED, 200), (end::RETURNED, 200)),
            ("status/404/2", (end::RETURNED, 404), (end::RETURNED, 404)),
            ("status/503/3", (end::RETURNED, 503), (end::RETURNED, 503)),
            ("none/4", (end::RETURNED, 0), (end::RETURNED, 200)),
            ("panic/5", (end::ABORTED, 0), (end::FAILED, 0)),
            ("abort/6", (end::ABORTED, 0), (end::FAILED, 0)),
            ("big/7", (end::RETURNED, 200), (end::RETURNED, 200)),
            ("slow/8?d=8s", (end::RETURNED, 0), (end::FAILED, 0)),
            ("exit/9", (end::ABORTED, 0), (end::FAILED, 0)),
            // The connection is taken over in HTTP/1 only.
            ("hijack/10", (end::RETURNED, 500), (end::RETURNED, 500)),
        ] {
            let (stem, query) = path.split_once('?').unwrap_or((path, ""));
            let (dir, id) = stem.rsplit_once('/').unwrap();
            let url = format!("{scheme}://{at}/{dir}/?{query}");
            let client = scene.client(&["-http2", "-url", &url, "-n", "1", "-base", id, "-timeout", "500ms"]);
            let pids = [client.pid(), scene.server.pid()];
            let uri = format!("/{path}");
            let calls = scene.observer.wait_for(2, path, |event| match event {
                Event::Call(it)
                    if pids.contains(&it.header.tgid)
                        && [uri.as_str(), &uri[..=stem.len()]].contains(&text(it)) =>
                {
                    Some(*it)
                }
                _ => None,
            });
            let calls = Calls::new(&calls);
            let client = calls.one(pids[0], side::CLIENT, &uri[..=stem.len()]);
            let server = calls.one(pids[1], side::SERVER, &uri);
            assert_eq!((server.end, server.status), served, "{path}");
            assert_eq!((client.end, client.status), asked, "{path}");
            assert_joined(client, server);
        }
        scene.assert_nothing_lost_or_left();
    }
}

/// As with a deadline in the client: most streams end early, the others are not disturbed.
#[test]
fn streams_that_are_given_up_leave_the_others_alone() {
    require_bpf!();
    const N: usize = 1000;
    let mut scene = Scene::open("http", &["server", "-listen", "127.0.0.1:0", "-http2"]);
    let n = N.to_string();
    let slow = format!("http://{}/slow/?d=20ms", scene.server.address());
    let args = ["-url", &slow, "-n", &n, "-c", "50", "-timeout", "20ms", "-quiet", "-http2", "-conns", "1"];
    let client = scene.client(&args);
    let failed = client.json()["errors"].as_u64().unwrap() as usize;
    let observer = &mut scene.observer;
    observer.drain();
    let asked = observer.calls(N, &[client.pid()]);
    assert_eq!(asked.iter().filter(|it| it.end == end::FAILED).count() + returned(&asked), N);
    let calls = Calls::new(&asked);
    let server = scene.server.pid();
    eventually("handlers to end", || {
        observer.drain();
        let served = observer.events.iter().filter_map(call).filter(|it| it.header.tgid == server);
        let (hits, n) = (observer.hits(server), served.count() as u64);
        (n == hits[point::HTTP2_SERVER_BEGIN]).then_some(())
    });
    let served: Vec<Call> =
        observer.events.iter().filter_map(call).filter(|it| it.header.tgid == server).collect();
    for served in &served {
        let (path, _) = text(served).split_once('?').unwrap();
        assert_joined(calls.one(client.pid(), side::CLIENT, path), served);
    }
    println!("{failed} of {N} given up, {} of {} served joined", served.len(), served.len());
    scene.assert_nothing_lost_or_left();
}

fn returned(calls: &[Call]) -> usize {
    calls.iter().filter(|it| it.end == end::RETURNED && it.status == 200).count()
}

#[test]
fn a_server_killed_in_mid_request_fails_every_call() {
    require_bpf!();
    const N: usize = 20;
    let mut scene = Scene::open("http", &["server", "-listen", "127.0.0.1:0", "-http2", "-tls"]);
    let url = format!("https://{}/slow/?d=8s", scene.server.address());
    let client = scene.client(&["-http2", "-conns", "1", "-url", &url, "-n", "20", "-c", "20"]);
    let server = scene.server.pid();
    let observer = &scene.observer;
    let begun = || observer.hits(server)[point::HTTP2_SERVER_BEGIN] == N as u64;
    eventually("the requests to arrive", || begun().then_some(()));
    scene.server.signal(Signal::KILL);
    let calls = scene.observer.calls(N, &[client.pid(), server]);
    assert!(calls.iter().all(|it| (it.header.tgid, it.end) == (client.pid(), end::FAILED)), "{calls:?}");
}

/// The server refuses what is more than it wants before the client has heard how much that is; the client tries again.
#[test]
fn a_stream_that_is_refused_and_opened_again_is_one_call() {
    require_bpf!();
    const N: usize = 50;
    let mut n_again = 0;
    // Whether the client hears of it in time is chance.
    for _ in 0..20 {
        let args = ["server", "-listen", "127.0.0.1:0", "-http2", "-streams", "2"];
        let mut scene = Scene::open("http", &args);
        let (n, url) = (N.to_string(), format!("http://{}/echo/", scene.server.address()));
        let client = scene.client(&["-http2", "-conns", "1", "-url", &url, "-n", &n, "-c", &n, "-quiet"]);
        let errors = client.json()["errors"].as_u64().unwrap();
        let calls = scene.observer.calls(2 * N - errors as usize, &[client.pid(), scene.server.pid()]);
        let calls = Calls::new(&calls);
        for server in calls.of(scene.server.pid()) {
            let client = calls.one(client.pid(), side::CLIENT, text(server));
            assert_joined(client, server);
            assert_eq!((client.status, client.seq), (200, server.seq));
        }
        let sent = scene.observer.hits(client.pid())[point::HTTP2_CLIENT_SENT];
        n_again += sent - N as u64;
        scene.assert_nothing_lost_or_left();
        if 20 < n_again {
            break;
        }
    }
    println!("{n_again} streams opened again");
    assert_ne!(n_again, 0);
}

/// The first call of a connection has stream 1, as that of the one before it from the same port. Its context is still
/// there, because the server that it went to is not watched.
#[test]
fn a_port_that_is_used_again_does_not_join_with_what_it_was_used_for() {
    require_bpf!();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let args = ["server", "-listen", &at, "-http2"];
    let mut scene = Scene::open("http", &args);
    scene.observer.kernel.unwatch(Tgid(scene.server.pid()));
    let url = format!("http://{at}/echo/");
    let ask = ["-http2", "-local", &port, "-url", &url, "-n", "5", "-quiet"];
    let client = scene.client(&ask);
    assert_eq!(client.json()["errors"], 0);
    let asked = scene.observer.calls(5, &[client.pid()]);
    drop(client);

    scene.watch(scene.server.pid());
    let mut stranger = Target::held(built("http"), [&["client"][..], &ask].concat());
    // A port may be used again when the clock of timestamps has gone on, which is a second at most (`tcp_tw_reuse`).
    eventually("the port to be free", || {
        stranger.tell("go");
        let is_free = stranger.json()["errors"] == 0;
        if !is_free {
            stranger = Target::held(built("http"), [&["client"][..], &ask].concat());
        }
        is_free.then_some(())
    });
    let served = scene.observer.calls(5, &[scene.server.pid()]);
    for (served, asked) in served.iter().zip(&asked) {
        assert_eq!((served.seq, served.remote_port), (asked.seq, asked.local_port));
        assert_eq!((served.joined_by, served.parent_span_id), (joined_by::NOTHING, [0; 8]));
    }
}

#[test]
fn attached_in_mid_life_nothing_is_joined_wrongly() {
    require_bpf!();
    const N: usize = 2000;
    let server = Target::spawn(built("http"), ["server", "-listen", "127.0.0.1:0", "-http2", "-tls"]);
    let url = format!("https://{}/echo/", server.address());
    let n = N.to_string();
    let args = ["client", "-url", &url, "-n", &n, "-rps", "500", "-c", "8", "-http2", "-conns", "1"];
    let mut client = Target::held(built("http"), args);
    client.tell("go");
    let first = client.json();
    assert_eq!(first["status"], 200);
    let mut observer = Observer::load();
    let (_file, plan) = observer.attach(server.pid());
    let pids = [client.pid(), server.pid()];
    for pid in pids {
        observer.watch(pid, plan.process);
    }
    assert_eq!(client.rest().len(), N, "{N} requests and their sum, without the first");

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
    assert!(missed <= 8, "{missed} of {} are roots", served.len());
    assert!(100 < served.len(), "{} is too late for a proof", served.len());
    println!("{n_joined} of {} joined, attached in mid-life", served.len());
}
