//! The agent with what the manifest gives it, and with one capability less: what `doctor` says is lost is
//! lost, and nothing else is.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;
use tests::{
    Agent, NetNs, Target, eventually,
    netns::{ADDRESS_B, two_namespaces},
    paths::built,
    privileges, require_admin, require_bpf, taskscope,
};

const REQUESTS: u64 = 20;
const OPEN_PORT: u16 = 8080;
const CLOSED_PORT: u16 = 8081;
/// For a service whose environment another user may not read.
const NOBODY: &str = "65534";

/// Features that a capability may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Works {
    topology: bool,
    packets: bool,
    spans: bool,
}

/// So all tests of the whole program show what a node gets with them.
#[test]
fn the_agent_of_each_test_has_what_the_manifest_asks_for_and_no_more() {
    require_bpf!();
    require_admin!();
    let namespace = NetNs::new();
    // include/uapi/linux/capability.h
    let bit = |name: &String| match name.as_str() {
        "net_admin" => 12,
        "sys_ptrace" => 19,
        "perfmon" => 38,
        "bpf" => 39,
        name => panic!("{name} is new in the manifest"),
    };
    let asked = privileges::of_the_manifest();
    let want: u64 = asked.iter().map(|it| 1 << bit(it)).sum();
    for agent in [Agent::start(crate::watch_targets()), Agent::start_in(&namespace, ["--no-http-spans"])] {
        let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let line = status.lines().find_map(|it| it.strip_prefix(set)).unwrap();
            assert_eq!(u64::from_str_radix(line.trim(), 16).unwrap(), want, "{set} of {status}");
        }
    }
    println!("{asked:?}");
}

#[test]
fn without_a_capability_that_is_lost_which_doctor_says() {
    require_bpf!();
    require_admin!();
    let all = privileges::of_the_manifest();
    let everything = Works { topology: true, packets: true, spans: true };
    assert_eq!(check(&all), everything, "{all:?}");
    for missing in &all {
        let caps: Vec<_> = all.iter().filter(|it| *it != missing).cloned().collect();
        let works = check(&caps);
        println!("without {missing}: {works:?}");
        assert_ne!(works, everything, "{missing} is asked for, and nothing needs it");
    }
}

/// What works with these, which is what doctor says.
#[track_caller]
fn check(caps: &[String]) -> Works {
    let (a, b) = two_namespaces();
    let told = told(&b, caps);
    let mut command = taskscope();
    command.args(["agent", "--xdp", "native", "--interface", "b0"]).args(crate::watch_targets());
    let agent = match Agent::attempt(&b.wrap(&privileges::with(caps, &command))) {
        Ok(agent) => agent,
        Err(ended) => {
            assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
            assert!(!told.topology && !told.packets && !told.spans, "{told:?}: {}", ended.log);
            return told;
        }
    };
    packets(&agent, &a, told.packets);
    if told.topology {
        requests(&agent, &b, told.spans);
    } else {
        assert!(agent.log().contains("A feature does not work here."), "{}", agent.log());
        assert!(!told.spans && agent.items(["topology"]).is_empty(), "{told:?}");
    }
    told
}

/// By `taskscope doctor`, asked with the same capabilities.
fn told(namespace: &NetNs, caps: &[String]) -> Works {
    let works = |feature: &str| doctor(namespace, caps, feature) != "missing";
    Works { topology: works("topology"), packets: works("packets"), spans: works("http spans") }
}

fn doctor(namespace: &NetNs, caps: &[String], feature: &str) -> String {
    let mut command = taskscope();
    command.args(["doctor", "-o", "json"]);
    let output = namespace.wrap(&privileges::with(caps, &command)).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = answer["items"].as_array().unwrap().iter().find(|it| it["feature"] == feature).unwrap();
    check["state"].as_str().unwrap().to_owned()
}

/// A SYN for a port where nobody listens is known from the packet program alone.
#[track_caller]
fn packets(agent: &Agent, from: &NetNs, works: bool) {
    let said = if works { "Packets are looked at." } else { "Packets are not looked at here." };
    let is_said = |line: &str| line.contains(said) && line.contains("interface=\"b0\"");
    eventually("a word about packets", || agent.log().lines().any(is_said).then_some(()));
    let mut client = Target::start(from.command(built("target-conn")));
    let refused = client.ask(&format!("connect {ADDRESS_B}:{CLOSED_PORT}"));
    assert!(refused["errno"].is_i64(), "{refused}");
    let is_seen = || {
        let edges = agent.items(["topology"]);
        edges.iter().any(|it| it["role_confidence"] == "packet" && it["server"]["port"] == CLOSED_PORT)
    };
    if works {
        eventually("the edge of a packet", || is_seen().then_some(()));
    } else {
        assert!(!is_seen());
    }
}

#[track_caller]
fn requests(agent: &Agent, inside: &NetNs, spans: bool) {
    let http = built("http");
    let mut command = inside.command(&http);
    command.args(["server", "-listen", "127.0.0.1:0"]);
    let server = Target::start(command);
    let at = server.address();
    let url = format!("http://{at}/echo/");
    if spans {
        crate::wait_for_probes(agent, server.pid());
    }
    let mut command = inside.command("sh");
    command.args(["-c", "echo ready; exec \"$0\" \"$@\""]).arg(&http);
    command.args(["client", "-url", &url, "-n", &REQUESTS.to_string(), "-rps", "100"]);
    Target::start(command).rest();
    let port = at.port();
    let edge = eventually("the edge of the requests, with all its bytes", || {
        let edges = agent.items(["topology"]);
        let edge = edges.into_iter().find(|it| it["server"]["port"] == port)?;
        (edge["connections"]["opened"] != 0 && edge["connections"]["active"] == 0).then_some(edge)
    });
    let of_server = || {
        let edges = agent.items(["topology"]);
        edges.iter().find(|it| it["server"]["port"] == port)?["requests"]["count"].as_u64()
    };
    if spans {
        eventually("all requests", || (of_server() == Some(REQUESTS)).then_some(()));
    } else {
        assert_eq!(of_server(), None, "{edge}");
    }
}

/// The component `service-names` adds the one capability that reads what other users' processes were told.
#[test]
fn names_in_environments_of_other_users_take_one_more() {
    require_bpf!();
    require_admin!();
    let (_a, b) = two_namespaces();
    let dir = tempfile::tempdir().unwrap();
    // The build may be where others cannot go.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = dir.path().join("program-of-nobody");
    fs::copy(built("target-conn"), &program).unwrap();
    let few = privileges::of_the_manifest();
    let more = [few.as_slice(), &["dac_read_search".to_owned()]].concat();
    for (caps, state, want) in [(few, "degraded", "program-of-nobody"), (more, "ok", "named-by-its-owner")] {
        assert_eq!(doctor(&b, &caps, "container names"), state);
        let mut command = taskscope();
        command.args(["agent", "--xdp", "off"]).args(crate::watch_targets());
        let agent = Agent::attempt(&b.wrap(&privileges::with(&caps, &command))).unwrap();
        let mut server = Target::start(b.command(built("target-conn")));
        let at = format!("{ADDRESS_B}:{OPEN_PORT}");
        assert_eq!(server.ask(&format!("listen {at}"))["id"], 1);
        let mut client = b.command("setpriv");
        client.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]).arg(&program);
        client.env("OTEL_SERVICE_NAME", "named-by-its-owner");
        let mut client = Target::start(client);
        assert_eq!(client.ask(&format!("connect {at}"))["peer"], at);
        let edge = eventually("the edge of a process of nobody", || {
            agent.items(["topology"]).into_iter().find(|it| it["client"]["pid"] == client.pid())
        });
        println!("with {caps:?}: {}", edge["client"]["service"]);
        assert_eq!(edge["client"]["service"], want, "{edge}");
    }
}
