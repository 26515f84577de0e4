//! Requests of Go programs: every one is seen at both ends, and the ends find each other.

use std::{collections::BTreeMap, net::TcpListener, path::PathBuf, process::Command};

use agent::{kernel::AttachedFile, targets::process::Tgid};
use agent_common::{
    counter,
    event::{
        Event,
        http::{Call, end, joined_by, side},
    },
    layout::{GoProcess, point},
};
use rustix::process::Signal;
use tests::{Observer, Target, eventually, has_admin, own_maps, paths::built, require_bpf};

const WORKERS: &str = "8";

#[test]
fn each_request_is_joined_with_the_call_that_made_it() {
    require_bpf!();
    for name in ["http", "http-stripped-pie"] {
        joins(&Run { name, ..Run::default() });
    }
}

#[test]
fn each_request_is_joined_when_each_has_its_own_connection() {
    require_bpf!();
    joins(&Run { n: 500, client: &["-keepalive=false"], ..Run::default() });
}

#[test]
fn each_request_is_joined_over_ipv6_and_over_tls() {
    require_bpf!();
    joins(&Run { n: 200, listen: "[::1]:0", ..Run::default() });
    joins(&Run { n: 200, server: &["-tls"], scheme: "https", ..Run::default() });
}

struct Run<'a> {
    name: &'a str,
    n: usize,
    listen: &'a str,
    server: &'a [&'a str],
    client: &'a [&'a str],
    scheme: &'a str,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self { name: "http", n: 2000, listen: "127.0.0.1:0", server: &[], client: &[], scheme: "http" }
    }
}

#[track_caller]
fn joins(run: &Run<'_>) {
    let mut scene = Scene::open(run.name, &[&["server", "-listen", run.listen], run.server].concat());
    let (n, at) = (run.n.to_string(), scene.server.address());
    let url = format!("{}://{at}/echo/", run.scheme);
    let args = ["-quiet", "-url", &url, "-n", &n, "-c", WORKERS];
    let client = scene.client(&[&args, run.client].concat());
    assert_eq!(client.json()["errors"], 0);

    let calls = scene.observer.calls(2 * run.n, &[scene.server.pid(), client.pid()]);
    let calls = Calls::new(&calls);
    for id in 1..=run.n {
        let path = format!("/echo/{id}");
        let client = calls.one(client.pid(), side::CLIENT, &path);
        let server = calls.one(scene.server.pid(), side::SERVER, &path);
        assert_eq!((client.joined_by, client.parent_span_id), (joined_by::NOTHING, [0; 8]));
        assert_joined(client, server);
        assert_eq!((client.status, server.status), (200, 200));
        assert_eq!([client.end, server.end], [end::RETURNED; 2]);
        assert!(client.began_ktime_ns <= server.began_ktime_ns);
    }
    scene.assert_nothing_lost_or_left();
    println!("{} {:?} {:?}: {n} of {n} joined", run.name, run.server, run.client);
}

#[test]
fn a_trace_goes_through_a_proxy() {
    require_bpf!();
    const N: usize = 200;
    for (prefix, rule) in [("", joined_by::GOID), ("/bg", joined_by::PARENT_GOID)] {
        let mut scene = Scene::open("http", &["server", "-listen", "127.0.0.1:0"]);
        let to = format!("http://{}", scene.server.address());
        let proxy = Target::spawn(built("http"), ["proxy", "-listen", "127.0.0.1:0", "-to", &to]);
        scene.watch(proxy.pid());
        let url = format!("http://{}{prefix}/echo/", proxy.address());
        let client = scene.client(&["-quiet", "-url", &url, "-n", &N.to_string(), "-c", WORKERS]);
        assert_eq!(client.json()["errors"], 0);

        let pids = [client.pid(), proxy.pid(), scene.server.pid()];
        let calls = scene.observer.calls(4 * N, &pids);
        let calls = Calls::new(&calls);
        for id in 1..=N {
            let (front, back) = (format!("{prefix}/echo/{id}"), format!("/echo/{id}"));
            let asked = calls.one(pids[0], side::CLIENT, &front);
            let served = calls.one(pids[1], side::SERVER, &front);
            let forwarded = calls.one(pids[1], side::CLIENT, &back);
            let answered = calls.one(pids[2], side::SERVER, &back);
            assert_joined(asked, served);
            assert_eq!((forwarded.joined_by, forwarded.parent_span_id), (rule, served.span_id), "{back}");
            assert_eq!(forwarded.trace_id, asked.trace_id);
            assert_joined(forwarded, answered);
        }
        scene.assert_nothing_lost_or_left();
        println!("{N} of {N} through the proxy by rule {rule}");
    }
}

#[test]
fn each_way_to_end_is_told_apart() {
    require_bpf!();
    let mut scene = Scene::open("http", &["server", "-listen", "127.0.0.1:0"]);
    let at = scene.server.address();
    for (path, served, asked) in [
        ("echo/1", (end::RETURNED, 200), (end::RETURNED, 200)),
        ("status/404/2", (end::RETURNED, 404), (end::RETURNED, 404)),
        ("status/503/3", (end::RETURNED, 503), (end::RETURNED, 503)),
        ("none/4", (end::RETURNED, 0), (end::RETURNED, 200)),
        ("panic/5", (end::ABORTED, 0), (end::FAILED, 0)),
        ("abort/6", (end::ABORTED, 0), (end::FAILED, 0)),
        ("hijack/7", (end::HIJACKED, 101), (end::RETURNED, 200)),
        ("slow/8?d=8s", (end::RETURNED, 0), (end::FAILED, 0)),
    ] {
        let (stem, query) = path.split_once('?').unwrap_or((path, ""));
        let (dir, id) = stem.rsplit_once('/').unwrap();
        let url = format!("http://{at}/{dir}/?{query}");
        let client = scene.client(&["-url", &url, "-n", "1", "-base", id, "-timeout", "500ms"]);
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

#[test]
fn a_refused_dial_is_a_call_without_connection() {
    require_bpf!();
    let mut scene = Scene::open("http", &["server", "-listen", "127.0.0.1:0"]);
    // Where somebody has just listened it is likely that nobody does now.
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = scene.client(&["-url", &format!("http://{at}/echo/"), "-n", "1"]);
    let calls = scene.observer.calls(1, &[client.pid()]);
    let call = &calls[0];
    assert_eq!((call.side, text(call)), (side::CLIENT, "/echo/1"));
    assert_eq!((call.end, call.status), (end::NO_CONNECTION, 0));
    assert_eq!((call.local_port, call.remote_port), (0, 0));
    scene.assert_nothing_lost_or_left();
}

#[test]
fn a_server_killed_in_mid_request_fails_the_call() {
    require_bpf!();
    let mut scene = Scene::open("http", &["server", "-listen", "127.0.0.1:0"]);
    let url = format!("http://{}/slow/?d=8s", scene.server.address());
    let client = scene.client(&["-url", &url, "-n", "1"]);
    let server = scene.server.pid();
    let observer = &scene.observer;
    eventually("the request to arrive", || (observer.hits(server)[point::SERVER_BEGIN] == 1).then_some(()));
    scene.server.signal(Signal::KILL);
    let calls = scene.observer.calls(1, &[client.pid(), server]);
    assert_eq!((calls[0].header.tgid, calls[0].end), (client.pid(), end::FAILED));
}

#[test]
fn a_process_that_is_not_watched_leaves_no_record() {
    require_bpf!();
    let mut scene = Scene::open("http", &["server", "-listen", "127.0.0.1:0"]);
    let other = Target::spawn(built("http"), ["server", "-listen", "127.0.0.1:0"]);
    let (at, other_at) = (scene.server.address(), other.address());
    let args = |at, n: &str| {
        let url = format!("http://{at}/echo/");
        ["client", "-quiet", "-url", &url, "-n", n].map(str::to_owned)
    };
    let mut stranger = Target::held(built("http"), args(other_at, "100"));
    stranger.tell("go");
    assert_eq!(stranger.json()["errors"], 0);
    // The watched server's client is a stranger, too: its requests are roots.
    let mut stranger = Target::held(built("http"), args(at, "100"));
    stranger.tell("go");
    assert_eq!(stranger.json()["errors"], 0);

    let calls = scene.observer.calls(100, &[scene.server.pid()]);
    assert!(calls.iter().all(|it| it.joined_by == joined_by::NOTHING && it.parent_span_id == [0; 8]));
    scene.observer.kernel.unwatch(Tgid(scene.server.pid()));
    let mut stranger = Target::held(built("http"), args(at, "100"));
    stranger.tell("go");
    assert_eq!(stranger.json()["errors"], 0);
    scene.observer.drain();
    let all: Vec<u32> = scene.observer.events.iter().filter_map(tgid_of_call).collect();
    assert_eq!(all, vec![scene.server.pid(); 100]);
    scene.assert_nothing_lost_or_left();
}

/// Requests are under way when the probes come, and connections are older than they.
#[test]
fn attached_in_mid_life_nothing_is_joined_wrongly() {
    require_bpf!();
    const N: usize = 1000;
    let server = Target::spawn(built("http"), ["server", "-listen", "127.0.0.1:0"]);
    let url = format!("http://{}/echo/", server.address());
    let n = N.to_string();
    let mut client =
        Target::held(built("http"), ["client", "-url", &url, "-n", &n, "-rps", "500", "-c", WORKERS]);
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
    let joined = served.iter().filter(|it| it.joined_by == joined_by::CONNECTION);
    let mut n_joined = 0;
    for server in joined {
        assert_joined(calls.one(pids[0], side::CLIENT, text(server)), server);
        n_joined += 1;
    }
    // Those whose call was begun before the gate was open.
    let missed = served.len() - n_joined;
    assert!(missed <= 8, "{missed} of {} are roots", served.len());
    assert!(N / 4 < served.len(), "{} is too late for a proof", served.len());
    println!("{n_joined} of {} joined, attached in mid-life", served.len());
}

fn call(event: &Event) -> Option<Call> {
    match event {
        Event::Call(it) => Some(*it),
        _ => None,
    }
}

fn tgid_of_call(event: &Event) -> Option<u32> {
    call(event).map(|it| it.header.tgid)
}

/// A watched server, and what clients of the same file need to be watched.
struct Scene {
    observer: Observer,
    server: Target,
    exe: PathBuf,
    process: GoProcess,
    _file: AttachedFile,
}

impl Scene {
    #[track_caller]
    fn open(name: &str, args: &[&str]) -> Self {
        let exe = built(name);
        // Without randomisation all processes of a file have their tables at the same addresses, so that
        // clients can be watched before they run.
        let mut command = Command::new("setarch");
        command.arg("-R").arg(&exe).args(args);
        let server = Target::start(command);
        let mut observer = Observer::load();
        let (file, plan) = observer.attach(server.pid());
        observer.watch(server.pid(), plan.process);
        Self { observer, server, exe, process: plan.process, _file: file }
    }

    #[track_caller]
    fn watch(&mut self, pid: u32) {
        self.observer.watch(pid, self.process);
    }

    /// Starts a client that is watched from its first request on.
    #[track_caller]
    fn client(&mut self, args: &[&str]) -> Target {
        let exe = self.exe.to_str().expect("paths of targets are UTF-8");
        let mut client = Target::held("setarch", [&["-R", exe, "client"], args].concat());
        self.watch(client.pid());
        client.tell("go");
        client
    }

    #[track_caller]
    fn assert_nothing_lost_or_left(&self) {
        for slot in [
            counter::HTTP_RING_FULL,
            counter::HTTP_NOT_KEPT,
            counter::HTTP_NO_IDENTITY,
            counter::HTTP_END_WITHOUT_BEGIN,
            counter::USER_READ_FAILED,
        ] {
            assert_eq!(self.observer.counter(slot), 0, "{}", counter::TABLE[slot as usize].1);
        }
        // Maps are opened by number, which takes more than the agent needs.
        let maps: &[&str] = if has_admin() { &["SERVED", "SENT"] } else { &[] };
        for requests in maps {
            assert_eq!(own_maps::len::<16, { size_of::<Call>() }>(requests), 0, "{requests}");
        }
    }
}

/// By process, side and path.
struct Calls<'a>(BTreeMap<(u32, u8, &'a str), &'a Call>);

impl<'a> Calls<'a> {
    #[track_caller]
    fn new(calls: &'a [Call]) -> Self {
        let mut by_path = BTreeMap::new();
        for call in calls {
            let again = by_path.insert((call.header.tgid, call.side, text(call)), call);
            assert!(again.is_none(), "two records of {}", text(call));
        }
        Self(by_path)
    }

    #[track_caller]
    fn one(&self, tgid: u32, side: u8, path: &str) -> &'a Call {
        self.0.get(&(tgid, side, path)).unwrap_or_else(|| panic!("no record of {path} by {tgid}"))
    }

    fn of(&self, tgid: u32) -> impl Iterator<Item = &'a Call> {
        self.0.iter().filter(move |(key, _)| key.0 == tgid).map(|(_, call)| *call)
    }
}

#[track_caller]
fn assert_joined(client: &Call, server: &Call) {
    let path = text(server);
    assert_eq!(server.joined_by, joined_by::CONNECTION, "{path}");
    assert_eq!((server.parent_span_id, server.trace_id), (client.span_id, client.trace_id), "{path}");
    assert_eq!((server.local, server.local_port), (client.remote, client.remote_port), "{path}");
    assert_eq!((server.remote, server.remote_port), (client.local, client.local_port), "{path}");
}

fn text(call: &Call) -> &str {
    std::str::from_utf8(&call.path[..usize::from(call.path_len)]).expect("our paths are ASCII")
}
