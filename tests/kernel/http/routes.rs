//! Which pattern of its mux a request matched.

use std::net::SocketAddr;

use agent_common::event::http::side;
use tests::require_bpf;

use super::scene::{Calls, Scene, route, text};

#[test]
fn of_nested_muxes_the_innermost_that_matched_names_the_route() {
    require_bpf!();
    let long = format!("inner/{}", "long/".repeat(16));
    for name in ["http", "http-stripped-pie"] {
        let mut scene = Scene::open(name, &["server", "-listen", "127.0.0.1:0"]);
        let at = scene.server.address();
        check(&mut scene, at, "inner/found/", "GET /inner/found/{id}");
        check(&mut scene, at, "inner/nothing/", "/inner/");
        // Its pattern is longer than what is copied, and half a pattern would be another one's.
        check(&mut scene, at, &long, "/inner/");
        check(&mut scene, at, "nothing/", "");
        scene.assert_nothing_lost_or_left();
    }
}

/// As programs have it whose go.mod says a Go before 1.22.
#[test]
fn the_mux_of_go_1_21_has_routes_as_well() {
    require_bpf!();
    let env = [("GODEBUG", "httpmuxgo121=1")];
    let mut scene = Scene::open_in(&env, "http", &["server", "-listen", "127.0.0.1:0"]);
    let at = scene.server.address();
    check(&mut scene, at, "inner/nothing/", "/inner/");
    // To it braces are no wildcard.
    check(&mut scene, at, "echo/", "");
    scene.assert_nothing_lost_or_left();
}

#[track_caller]
fn check(scene: &mut Scene, at: SocketAddr, path: &str, want: &str) {
    let url = format!("http://{at}/{path}");
    let client = scene.client(&["-url", &url, "-n", "1"]);
    let (asks, serves) = (client.pid(), scene.server.pid());
    let calls = scene.observer.calls(2, &[asks, serves]);
    let calls = Calls::new(&calls);
    let served = calls.one(serves, side::SERVER, &format!("/{path}1"));
    assert_eq!(route(served), want, "{}", text(served));
    scene.observer.events.clear();
}
