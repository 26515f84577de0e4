//! How requests end, and whose are not seen at all.

use std::net::TcpListener;

use agent::targets::process::Tgid;
use agent_common::{
    event::{
        Event,
        http::{end, joined_by, side},
    },
    layout::point,
};
use rustix::process::Signal;
use tests::{Target, eventually, paths::built, require_bpf};

use super::scene::{Calls, Scene, assert_joined, call, route, text};

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
        let pattern = if dir.starts_with("status/") { "status/{code}" } else { dir };
        assert_eq!((route(client), route(server)), ("", &*format!("/{pattern}/{{id}}")), "{path}");
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
    let all: Vec<u32> = scene.observer.events.iter().filter_map(call).map(|it| it.header.tgid).collect();
    assert_eq!(all, vec![scene.server.pid(); 100]);
    scene.assert_nothing_lost_or_left();
}
