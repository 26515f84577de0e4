//! Requests of Go programs: every one is seen at both ends, and the ends find each other.

mod attach;
mod ends;
mod http2;
mod routes;
pub(crate) mod scene;

use agent::kernel::{Forms, Options};
use agent_common::event::http::{Call, end, joined_by, protocol, side};
use tests::{Observer, Target, has_admin, paths::built, require_bpf, skip};

use self::scene::{Calls, Scene, assert_joined, call, text};

const WORKERS: &str = "8";

#[test]
fn each_request_is_joined_with_the_call_that_made_it() {
    require_bpf!();
    for name in ["http", "http-stripped-pie"] {
        joins(&Run { name, ..Run::PLAIN });
    }
}

#[test]
fn each_request_is_joined_when_each_has_its_own_connection() {
    require_bpf!();
    joins(&Run { n: 500, client: &["-keepalive=false"], ..Run::PLAIN });
}

#[test]
fn each_request_is_joined_over_ipv6_and_over_tls() {
    require_bpf!();
    joins(&Run { n: 200, listen: "[::1]:0", ..Run::PLAIN });
    joins(&Run { n: 200, server: &["-tls"], scheme: "https", ..Run::PLAIN });
}

/// Perf events instead of links of many uprobes, XDP on single pages: kernels before 6.6 and 5.18.
const OLDER_FORMS: Forms = Forms { uprobe_multi: false, xdp_frags: false, tcx: true, received: false };

#[test]
fn each_request_is_joined_in_the_forms_of_older_kernels() {
    require_bpf!();
    if !has_admin() {
        return skip("perf events on uprobes need CAP_SYS_ADMIN");
    }
    let options = Options { forms: Some(OLDER_FORMS), ..Options::default() };
    joins(&Run { n: 500, options: Some(options), ..Run::PLAIN });
}

struct Run<'a> {
    name: &'a str,
    n: usize,
    listen: &'a str,
    server: &'a [&'a str],
    client: &'a [&'a str],
    scheme: &'a str,
    options: Option<Options>,
}

impl Run<'_> {
    const PLAIN: Self = Self {
        name: "http",
        n: 2000,
        listen: "127.0.0.1:0",
        server: &[],
        client: &[],
        scheme: "http",
        options: None,
    };
}

/// All calls of both ends.
#[track_caller]
fn joins(run: &Run<'_>) -> Vec<Call> {
    let observer = Observer::with(run.options.unwrap_or_default());
    let mut scene =
        Scene::open_by(observer, run.name, &[&["server", "-listen", run.listen], run.server].concat());
    let (n, at) = (run.n.to_string(), scene.server.address());
    let url = format!("{}://{at}/echo/", run.scheme);
    let args = ["-quiet", "-url", &url, "-n", &n, "-c", WORKERS];
    let client = scene.client(&[&args, run.client].concat());
    assert_eq!(client.json()["errors"], 0);

    let all = scene.observer.calls(2 * run.n, &[scene.server.pid(), client.pid()]);
    let calls = Calls::new(&all);
    for id in 1..=run.n {
        let path = format!("/echo/{id}");
        let client = calls.one(client.pid(), side::CLIENT, &path);
        let server = calls.one(scene.server.pid(), side::SERVER, &path);
        assert_eq!((client.joined_by, client.parent_span_id), (joined_by::NOTHING, [0; 8]));
        assert_joined(client, server);
        assert_eq!((client.status, server.status), (200, 200));
        assert_eq!([client.end, server.end], [end::RETURNED; 2]);
        assert!(client.began_ktime_ns <= server.began_ktime_ns);
        let minor = if client.protocol == protocol::HTTP1 { 1 + 1 } else { 0 };
        assert_eq!([client.minor, server.minor], [minor; 2], "HTTP/1.1, or another protocol");
    }
    scene.assert_nothing_lost_or_left();
    if all.iter().all(|it| it.protocol == protocol::HTTP2) {
        scene.assert_each_stream_was_taken();
    }
    println!("{} {:?} {:?}: {n} of {n} joined", run.name, run.server, run.client);
    all
}

#[test]
fn a_trace_goes_through_a_proxy() {
    require_bpf!();
    for protocol in [&[][..], &["-http2"]] {
        through_a_proxy(protocol, "", joined_by::GOID);
        through_a_proxy(protocol, "/bg", joined_by::PARENT_GOID);
    }
}

#[track_caller]
fn through_a_proxy(protocol: &[&str], prefix: &str, rule: u8) {
    const N: usize = 200;
    let mut scene = Scene::open("http", &[&["server", "-listen", "127.0.0.1:0"], protocol].concat());
    let to = format!("http://{}", scene.server.address());
    let args = ["proxy", "-listen", "127.0.0.1:0", "-to", &to];
    let proxy = Target::spawn(built("http"), [&args, protocol].concat());
    scene.watch(proxy.pid());
    let url = format!("http://{}{prefix}/echo/", proxy.address());
    let (n, args) = (N.to_string(), ["-quiet", "-c", WORKERS]);
    let client = scene.client(&[&args, protocol, &["-url", &url, "-n", &n]].concat());
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
        assert_eq!(&served.method[..usize::from(served.method_len)], b"GET");
        assert_eq!((forwarded.joined_by, forwarded.parent_span_id), (rule, served.span_id), "{back}");
        assert_eq!(forwarded.trace_id, asked.trace_id);
        assert_joined(forwarded, answered);
    }
    scene.assert_nothing_lost_or_left();
    println!("{N} of {N} through the proxy by rule {rule} {protocol:?}");
}

/// Requests are under way when the probes come, and connections are older than they.
#[test]
fn attached_in_mid_life_nothing_is_joined_wrongly() {
    require_bpf!();
    const N: usize = 2000;
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
    assert!(100 < served.len(), "{} is too late for a proof", served.len());
    println!("{n_joined} of {} joined, attached in mid-life", served.len());
}
