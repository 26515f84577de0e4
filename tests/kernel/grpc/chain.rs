//! Calls that handlers make in turn, of gRPC and of HTTP.

use agent_common::event::http::{joined_by, side};
use tests::{Target, paths::built, require_bpf};

use super::ANY_PORT;
use crate::http::scene::{Calls, Scene, assert_joined};

const N: usize = 200;
const WORKERS: &str = "8";

/// HTTP -> gRPC: a front that asks, and what is behind it.
#[test]
fn a_handler_of_http_calls_grpc() {
    require_bpf!();
    let mut scene = Scene::open("grpc", &["server", "-listen", ANY_PORT]);
    let behind = scene.server.address().to_string();
    let front = scene.another(&["server", "-front", "-listen", ANY_PORT, "-to", &behind]);
    let url = format!("http://{}/echo/", front.address());
    let n = N.to_string();
    let mut client = Target::held(built("http"), ["client", "-quiet", "-url", &url, "-n", &n, "-c", WORKERS]);
    client.tell("go");
    assert_eq!(client.json()["errors"], 0);

    let pids = [front.pid(), scene.server.pid()];
    let calls = scene.observer.calls(3 * N, &pids);
    let calls = Calls::new(&calls);
    for id in 1..=N {
        let served = calls.one(pids[0], side::SERVER, &format!("/echo/{id}"));
        let asked = calls.one(pids[0], side::CLIENT, &format!("/truth.Test/U{id}"));
        let answered = calls.one(pids[1], side::SERVER, &format!("/truth.Test/U{id}"));
        assert_eq!((asked.joined_by, asked.parent_span_id), (joined_by::GOID, served.span_id));
        assert_eq!(asked.trace_id, served.trace_id);
        assert_joined(asked, answered);
    }
    scene.assert_nothing_lost_or_left();
    println!("{N} of {N} from HTTP to gRPC");
}

/// gRPC -> gRPC.
#[test]
fn a_handler_of_grpc_calls_grpc() {
    require_bpf!();
    let mut scene = Scene::open("grpc", &["server", "-listen", ANY_PORT]);
    let behind = scene.server.address().to_string();
    let middle = scene.another(&["server", "-listen", ANY_PORT, "-to", &behind]);
    let at = middle.address().to_string();
    let client = scene.client(&["-to", &at, "-kind", "F", "-n", &N.to_string(), "-c", WORKERS]);

    let pids = [client.pid(), middle.pid(), scene.server.pid()];
    let calls = scene.observer.calls(4 * N, &pids);
    let calls = Calls::new(&calls);
    for id in 1..=N {
        let (first, second) = (format!("/truth.Test/F{id}"), format!("/truth.Test/U{id}"));
        let asked = calls.one(pids[0], side::CLIENT, &first);
        let served = calls.one(pids[1], side::SERVER, &first);
        let forwarded = calls.one(pids[1], side::CLIENT, &second);
        let answered = calls.one(pids[2], side::SERVER, &second);
        assert_joined(asked, served);
        assert_eq!((forwarded.joined_by, forwarded.parent_span_id), (joined_by::GOID, served.span_id));
        assert_eq!(forwarded.trace_id, asked.trace_id);
        assert_joined(forwarded, answered);
    }
    scene.assert_nothing_lost_or_left();
    println!("{N} of {N} from gRPC to gRPC");
}

/// gRPC -> HTTP.
#[test]
fn a_handler_of_grpc_calls_http() {
    require_bpf!();
    let http = Target::spawn(built("http"), ["server", "-listen", ANY_PORT]);
    let url = format!("http://{}/echo/", http.address());
    let mut scene = Scene::open("grpc", &["server", "-listen", ANY_PORT, "-http", &url]);
    let at = scene.server.address().to_string();
    let client = scene.client(&["-to", &at, "-kind", "H", "-n", &N.to_string(), "-c", WORKERS]);

    let pids = [client.pid(), scene.server.pid()];
    let calls = scene.observer.calls(3 * N, &pids);
    let calls = Calls::new(&calls);
    for id in 1..=N {
        let method = format!("/truth.Test/H{id}");
        let served = calls.one(pids[1], side::SERVER, &method);
        let asked = calls.one(pids[1], side::CLIENT, &format!("/echo/{id}"));
        assert_joined(calls.one(pids[0], side::CLIENT, &method), served);
        assert_eq!((asked.joined_by, asked.parent_span_id), (joined_by::GOID, served.span_id));
        assert_eq!(asked.trace_id, served.trace_id);
    }
    scene.assert_nothing_lost_or_left();
    println!("{N} of {N} from gRPC to HTTP");
}
