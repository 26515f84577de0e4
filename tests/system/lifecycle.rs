//! Start, end, and everything that can go wrong with either.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixDatagram,
    },
    process::{Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::{Agent, PATIENCE, eventually, has_admin, paths, require_bpf, residue, skip, taskscope};

const NOBODY: &str = "65534";

#[test]
fn sigterm_ends_it_within_five_seconds_and_leaves_nothing() {
    require_bpf!();
    let (server, url) = crate::http_server("server");
    let agent = Agent::start(crate::watch_targets());
    crate::wait_for_probes(&agent, server.pid());
    crate::http_client("client", &format!("{url}/echo/"), 50, 100).rest();
    let held = held(&agent);
    let socket = agent.socket().to_owned();
    let ended = agent.terminate();
    println!("ended with {} after {:?}; it held {} objects", ended.status, ended.took, held.len());
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    assert!(!socket.exists());
    eventually("an empty kernel", || residue::remaining(&held).is_empty().then_some(()));
}

#[test]
fn sigkill_leaves_nothing_in_the_kernel_and_targets_run_on() {
    require_bpf!();
    let (server, url) = crate::http_server("server");
    let mut dead = Agent::start(crate::watch_targets());
    crate::wait_for_probes(&dead, server.pid());
    crate::http_client("client", &format!("{url}/echo/"), 50, 100).rest();
    let held = held(&dead);
    dead.kill();
    let left = residue::remaining(&held);
    eventually("an empty kernel", || residue::remaining(&held).is_empty().then_some(()));
    println!("it held {} objects, {} were still there when it was reaped, now none", held.len(), left.len());

    let lines = crate::http_client("client", &format!("{url}/echo/"), 100, 200).rest();
    let sum: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!((&sum["requests"], &sum["errors"]), (&100.into(), &0.into()));

    assert!(dead.socket().exists(), "it had no time to take it away");
    let next = Agent::start_on(dead.socket(), crate::watch_targets());
    assert!(next.log().contains("Replacing the socket"), "{}", next.log());
    assert_eq!(next.terminate().status.code(), Some(0));
}

/// What systemd does for a unit of `Type=notify`.
#[test]
fn a_service_manager_is_told_of_the_start_and_of_the_end() {
    require_bpf!();
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut message = [0; 64];
        let n_bytes = manager.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..n_bytes]).trim().to_owned()
    };
    let mut agent = agent_command();
    agent.env("NOTIFY_SOCKET", dir.path().join("notify")).arg("--socket").arg(dir.path().join("agent.sock"));
    let mut agent = agent.stderr(Stdio::null()).spawn().unwrap();
    let first = told();
    assert!(dir.path().join("agent.sock").exists(), "who is told may ask at once");
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    assert_eq!([first, told()], ["READY=1", "STOPPING=1"]);
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    require_bpf!();
    let mut first = Agent::start(crate::watch_targets());
    let second = agent_command().arg("--socket").arg(first.socket()).output().unwrap();
    let errors = said(&second);
    println!("{errors}");
    assert_eq!(second.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&format!("pid {}", first.pid())), "{errors}");
    first.assert_alive();
    first.status();
}

#[test]
fn all_parts_beat() {
    require_bpf!();
    let agent = Agent::start(crate::watch_targets().into_iter().chain([
        "--otlp-endpoint".to_owned(),
        // Nobody listens: a part that waits for a collector beats all the same.
        "http://127.0.0.1:9".to_owned(),
    ]));
    let beats = || -> Vec<(String, String)> {
        let status = agent.status();
        let beat = |it: &Value| Some((it["name"].as_str()?.to_owned(), it["last_beat"].as_str()?.to_owned()));
        status.item["components"].as_array().unwrap().iter().filter_map(beat).collect()
    };
    let before = eventually("a beat of each", || Some(beats()).filter(|it| it.len() == 8));
    // Times are as long as each other, so they sort as text.
    let after = eventually("a second beat of each", || {
        Some(beats()).filter(|after| before.iter().zip(after).all(|(before, after)| before.1 < after.1))
    });
    println!("{after:?}");
}

#[test]
fn what_was_typed_wrong_is_told_before_anything_starts() {
    let check = |args: &[&str], want: &str| {
        let output = agent_command().args(args).output().unwrap();
        let errors = said(&output);
        println!("{}", errors.lines().next().unwrap_or_default());
        assert_eq!(output.status.code(), Some(64), "{args:?}: {errors}");
        assert!(errors.contains(want), "{args:?}: {errors}");
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("taskscope.yaml");
    fs::write(&file, "otlp_endpiont: http://127.0.0.1:4317\n").unwrap();
    check(&["--config", file.to_str().unwrap()], "otlp_endpoint");
    check(&["--otlp-endpiont", "http://127.0.0.1:4317"], "--otlp-endpoint");
    check(&["--window", "soon"], "soon");
}

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    require_bpf!();
    let dir = tempfile::tempdir().unwrap();
    // The build may be where others cannot go.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = dir.path().join("taskscope");
    fs::copy(paths::built("taskscope"), &binary).unwrap();
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]).arg("--clear-groups");
        command.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(&binary).args(args);
        command
            .env_remove("TASKSCOPE_TARGETS")
            .env_remove("TASKSCOPE_BIN")
            .env_remove("TASKSCOPE_OTELCOL")
            .env_remove("TASKSCOPE_TEMPO_1");
        command.current_dir(&dir).stdin(Stdio::null()).output().unwrap()
    };
    let refused = as_nobody(&["agent", "--xdp", "off", "--socket", "agent.sock"]);
    let errors = said(&refused);
    println!("{}", errors.lines().last().unwrap_or_default());
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(["CAP_BPF", "CAP_PERFMON", "taskscope doctor"].iter().all(|it| errors.contains(it)), "{errors}");
    assert!(!dir.path().join("agent.sock").exists());

    let doctor = as_nobody(&["doctor", "-o", "json"]);
    assert_eq!(doctor.status.code(), Some(0), "{}", said(&doctor));
    let answer: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    crate::schema::assert_valid("doctor", &answer);
    let missing: Vec<_> =
        answer["items"].as_array().unwrap().iter().filter(|it| it["state"] == "missing").collect();
    println!("{} features are missing", missing.len());
    assert!(!missing.is_empty(), "{answer}");
    for check in missing {
        assert!(check["remedy"].as_str().is_some_and(|it| !it.is_empty()), "{check}");
    }
}

/// A link in the way is no agent, and no file to be taken away.
#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("precious"), dir.path().join("agent.sock"));
    fs::write(&file, "precious").unwrap();
    symlink(&file, &link).unwrap();
    let output = agent_command().arg("--socket").arg(&link).output().unwrap();
    println!("{}", said(&output));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&link).unwrap(), "precious");
}

/// Programs, maps and links: a check for what is left of nothing would prove nothing.
#[track_caller]
fn held(agent: &Agent) -> std::collections::BTreeSet<residue::Object> {
    let held = residue::held_by(agent.pid());
    for kind in ["program", "map", "link"] {
        assert!(held.iter().any(|it| it.kind == kind), "no {kind} in {held:?}");
    }
    assert_eq!(residue::remaining(&held).len(), held.len(), "all of them are listed while it lives");
    held
}

/// The kernel's process ids would be taken for others.
#[test]
fn in_a_pid_namespace_of_its_own_it_does_not_start() {
    require_bpf!();
    if !has_admin() {
        return skip("needs CAP_SYS_ADMIN for a pid namespace");
    }
    let (agent, mut command) = (agent_command(), Command::new("unshare"));
    command.args(["--pid", "--fork", "--mount-proc"]).arg(agent.get_program()).args(agent.get_args());
    let output = command.output().unwrap();
    let errors = said(&output);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("hostPID: true"), "{errors}");
}

fn agent_command() -> Command {
    let mut command = taskscope();
    command.args(["agent", "--xdp", "off"]);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
