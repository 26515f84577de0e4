//! What the manifest asks for is enough: the same tests once more, without the rest of root.

use std::{
    env,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use agent::config::settings::XdpMode;
use agent_common::event::{Event, packet::what};
use tests::{
    Observer, eventually,
    netns::{ADDRESS_A, ADDRESS_B, two_namespaces},
    observer, privileges, require_admin, require_bpf,
};

/// They need no capability of their own: no namespaces are made.
const TESTS: &[&str] = &[
    "sock::each_end_of_a_short_connection_has_its_own_process",
    "sock::what_is_older_than_the_agent_has_an_owner_after_the_first_dump",
    "ring::a_full_ring_is_counted",
    "http::each_request_is_joined_when_each_has_its_own_connection",
    "http::a_trace_goes_through_a_proxy",
];
/// Set for the half of a test that runs with few capabilities.
const INSIDE: &str = "TASKSCOPE_TESTS_INSIDE";
const OPEN_PORT: u16 = 8080;
const CLOSED_PORT: u16 = 8081;

#[test]
fn the_manifests_capabilities_are_enough() {
    require_bpf!();
    require_admin!();
    let caps = privileges::of_the_manifest();
    let mut tests = Command::new(env::current_exe().unwrap());
    tests.args(TESTS).args(["--exact", "--test-threads=1"]);
    let output = privileges::with(&caps, &tests).env("TASKSCOPE_TESTS_REQUIRE", "bpf").output().unwrap();
    let [out, errors] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success(), "{out}{errors}");
    assert!(out.contains(&format!("{} passed", TESTS.len())), "{out}");
    println!("{} tests with {caps:?}", TESTS.len());
}

/// Making namespaces takes more than the agent has: this half makes them and sends, the other looks.
#[test]
fn a_connection_and_a_packet_are_seen_with_the_manifests_capabilities() {
    require_bpf!();
    if env::var_os(INSIDE).is_some() {
        return look_from_inside();
    }
    require_admin!();
    let (a, b) = two_namespaces();
    let mut half = Command::new(env::current_exe().unwrap());
    half.arg("capabilities::a_connection_and_a_packet_are_seen_with_the_manifests_capabilities");
    half.args(["--exact", "--nocapture"]);
    // The namespace is entered with all of root's capabilities, the half begun with few.
    let few = privileges::with(&privileges::of_the_manifest(), &half);
    let mut few = b.wrap(&few);
    few.env(INSIDE, "1").env("TASKSCOPE_TESTS_REQUIRE", "bpf");
    let mut child = few.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    a.inside(|| {
        eventually("the end of the other half", || {
            for port in [OPEN_PORT, CLOSED_PORT] {
                // Refused until it listens.
                drop(TcpStream::connect_timeout(
                    &SocketAddr::from((ADDRESS_B, port)),
                    Duration::from_secs(1),
                ));
            }
            child.try_wait().unwrap()
        })
    });
    let output = child.wait_with_output().unwrap();
    let [out, errors] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success() && out.contains("1 passed"), "{out}{errors}");
    print!("{}", out.lines().filter(|it| it.starts_with("with ")).collect::<String>());
}

fn look_from_inside() {
    let mut observer = Observer::load();
    let hook = observer.kernel.attach_packets("b0", XdpMode::Native).unwrap().unwrap();
    let listener = TcpListener::bind((ADDRESS_B, OPEN_PORT)).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    drop((stream, listener));
    let end = eventually("the end of a connection", || {
        observer.drain();
        observer.events.iter().find_map(|event| match event {
            Event::Closed(it)
                if it.row.state.local_port == OPEN_PORT && it.row.state.remote_port == peer.port() =>
            {
                Some(*it)
            }
            _ => None,
        })
    });
    assert_eq!(end.row.state.tgid, std::process::id());
    let stray = eventually("a packet for a closed port", || {
        observer.drain();
        observer.events.iter().find_map(|event| match event {
            Event::Stray(it) if (it.what, it.local_port) == (what::SYN_UNANSWERED, CLOSED_PORT) => Some(*it),
            _ => None,
        })
    });
    assert_eq!(observer::address(stray.remote, 0).ip(), ADDRESS_A);
    println!(
        "with few capabilities: a connection of {peer}, a packet for port {CLOSED_PORT} by {}",
        hook.name()
    );
}
