//! What the agent meets on a node that is not in order. It stays up, and what it loses is counted.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Command,
    thread,
};

use agent::{clock, targets::golang::GoBinary};
use serde_json::{Value, json};
use tests::{Agent, Status, Target, eventually, paths, require_bpf};

/// Of a debug build.
const MAX_RSS_BYTES: u64 = 100 << 20;

#[test]
fn a_binary_replaced_on_disk_keeps_its_spans() {
    require_bpf!();
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("server");
    fs::copy(paths::built("http"), &exe).unwrap();
    let agent = Agent::start(["--watch-exe", &dir.path().join("*").display().to_string()]);
    let old = serve(&exe);
    crate::wait_for_probes(&agent, old.0.pid());
    let next = dir.path().join("next");
    fs::copy(paths::built("http-stripped-pie"), &next).unwrap();
    fs::rename(&next, &exe).unwrap();
    let new = serve(&exe);
    crate::wait_for_probes(&agent, new.0.pid());
    for (server, url) in [&old, &new] {
        crate::http_client("client", &format!("{url}/echo/"), 20, 100).rest();
        let n_traces = traces_of(&agent, server, 20);
        println!("{}: {n_traces} of 20 requests have a trace", server.pid());
    }
    healthy(agent);
}

/// Its symbols and debug information are said to be where the file has ended.
#[test]
fn a_truncated_binary_that_still_runs_is_watched_or_refused() {
    require_bpf!();
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("server");
    let whole = fs::read(paths::built("http")).unwrap();
    let end = loaded_bytes(&whole);
    assert!(end < whole.len(), "there is something to cut");
    fs::write(&exe, &whole[..end]).unwrap();
    fs::set_permissions(&exe, fs::metadata(paths::built("http")).unwrap().permissions()).unwrap();
    let agent = Agent::start(["--watch-exe", &dir.path().join("*").display().to_string()]);
    let (server, _url) = serve(&exe);
    let target = eventually("a word about the truncated program", || {
        let targets = agent.items(["targets", &server.pid().to_string()]);
        let is_told = |it: &Value| [&it["probes"], &it["refused"]].iter().any(|it| it[0].is_object());
        targets.into_iter().find(is_told)
    });
    println!("{} bytes cut: binary {}, refused {}", whole.len() - end, target["binary"], target["refused"]);
    healthy(agent);
}

#[test]
fn a_program_of_an_old_go_is_told_with_its_version_and_refused() {
    require_bpf!();
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("server");
    fs::copy(paths::built("http"), &exe).unwrap();
    let new = GoBinary::open(&exe).unwrap().version.to_string();
    let old = new.replacen(new.split('.').nth(1).unwrap(), "19", 1);
    let mut bytes = fs::read(&exe).unwrap();
    let windows = bytes.windows(new.len()).enumerate();
    let places: Vec<_> = windows.filter(|(_, it)| *it == new.as_bytes()).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + old.len()].copy_from_slice(old.as_bytes());
    }
    fs::write(&exe, bytes).unwrap();
    let agent = Agent::start(["--watch-exe", &dir.path().join("*").display().to_string()]);
    let (server, _url) = serve(&exe);
    let target = eventually("a word about the old program", || {
        agent
            .items(["targets", &server.pid().to_string()])
            .into_iter()
            .find(|it| it["refused"][0].is_object())
    });
    assert_eq!(target["target"]["runtime"], json!({"kind": "go", "version": old}));
    assert_eq!(
        target["refused"][0]["reason"],
        format!("built with {old}; the oldest that can be watched is go1.21")
    );
    assert_eq!(target["probes"], json!([]));
    healthy(agent);
}

#[test]
fn processes_that_end_while_they_are_read_are_no_harm() {
    require_bpf!();
    let (server, url) = crate::http_server("server");
    // Every program is looked at here: that is the point.
    let agent = Agent::start(["--exclude-exe", "/nowhere"]);
    crate::wait_for_probes(&agent, server.pid());
    let load = crate::http_client("client", &format!("{url}/echo/"), 200, 100);
    for _ in 0..300 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    load.rest();
    let n_traces = traces_of(&agent, &server, 200);
    println!("{n_traces} of 200 requests have a trace");
    healthy(agent);
}

#[test]
fn every_refused_connect_of_a_storm_is_counted() {
    require_bpf!();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let agent = Agent::start(crate::watch_targets());
    let storm = Target::spawn(paths::built("target-conn"), ["connect-rate", &closed.to_string(), "2", "2"]);
    let sum: Value = serde_json::from_str(storm.rest().last().unwrap()).unwrap();
    let failed = sum["failed"].as_u64().unwrap();
    assert!(1000 < failed, "{sum}");
    let seen = eventually("every refusal on the edge, or among the losses", || {
        let edges = agent.items(["topology"]);
        let edge = edges.iter().find(|it| it["server"]["port"] == closed.port())?;
        let refused = edge["connections"]["refused"].as_u64()?;
        let status = agent.status();
        let lost = status.lost("sock_ring_full") + status.lost("state_queue_full");
        assert!(refused <= failed, "{refused} of {failed}");
        (failed <= refused + lost).then_some((refused, lost))
    });
    println!("{failed} refused connects: {} on the edge, {} counted as lost", seen.0, seen.1);
    healthy(agent);
}

#[test]
fn short_connections_are_counted_one_by_one() {
    require_bpf!();
    const CONNECTIONS: u64 = 5000;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 100];
            if stream.read_exact(&mut bytes).and_then(|()| stream.write_all(&bytes)).is_err() {
                return;
            }
        }
    });
    let agent = Agent::start(crate::watch_targets());
    let mut client = Target::spawn(paths::built("target-conn"), [""; 0]);
    for _ in 0..10 {
        let sum = client.ask(&format!("short {} {address}", CONNECTIONS / 10));
        assert_eq!(sum["failed"], 0, "{sum}");
    }
    let seen = eventually("every connection on the edge, or among the losses", || {
        let edges = agent.items(["topology", "--pid", &client.pid().to_string()]);
        let edge = edges.iter().find(|it| it["server"]["port"] == address.port())?;
        let opened = edge["connections"]["opened"].as_u64()?;
        let status = agent.status();
        let lost = status.lost("sock_ring_full") + status.lost("state_queue_full");
        assert!(opened <= CONNECTIONS, "{edge}");
        (CONNECTIONS <= opened + lost).then_some((opened, lost, edge["bytes"].clone()))
    });
    println!("{CONNECTIONS} connections: {} on the edge, {} lost, {}", seen.0, seen.1, seen.2);
    if seen.1 == 0 {
        assert_eq!(seen.2["to_server"], CONNECTIONS * 100);
        assert_eq!(seen.2["to_client"], CONNECTIONS * 100);
    }
    healthy(agent);
}

#[test]
fn a_collector_that_answers_errors_is_counted_and_survived() {
    require_bpf!();
    let endpoint = refusing_collector();
    let (server, url) = crate::http_server("server");
    let flags = ["--otlp-endpoint", &endpoint, "--otlp-protocol", "http/protobuf"].map(str::to_owned);
    let agent = Agent::start(crate::watch_targets().into_iter().chain(flags));
    crate::wait_for_probes(&agent, server.pid());
    crate::http_client("client", &format!("{url}/echo/"), 50, 100).rest();
    // The two numbers are not read in one moment: a batch may be refused in between.
    let is_told = |it: &Status| 50 <= it.spans("failed") && it.spans("failed") == it.lost("export_refused");
    let status = eventually("refused spans", || Some(agent.status()).filter(is_told));
    println!("{} spans refused, {} sent", status.spans("failed"), status.spans("sent"));
    assert_eq!(status.spans("sent"), 0);
    healthy(agent);
}

/// How soon is for `cargo xtask bench` to judge, with a release and an idle machine.
#[test]
fn a_new_go_process_is_watched() {
    require_bpf!();
    let agent = Agent::start(crate::watch_targets());
    // The binary is known from here on; what is measured is the process.
    let (first, _url) = crate::http_server("first");
    crate::wait_for_probes(&agent, first.pid());
    let begin = clock::now();
    let (second, _url) = crate::http_server("second");
    crate::wait_for_probes(&agent, second.pid());
    let took = clock::now().since(begin);
    println!("from spawn to probes in the list: {took:?}");
}

fn serve(exe: &Path) -> (Target, String) {
    let server = Target::spawn(exe, ["server", "-listen", "127.0.0.1:0"]);
    let url = format!("http://{}", server.address());
    (server, url)
}

/// Waits for that many traces with a span of the server.
#[track_caller]
fn traces_of(agent: &Agent, server: &Target, want: usize) -> usize {
    let (pid, limit) = (server.pid().to_string(), (2 * want).to_string());
    eventually("a trace of each request", || {
        let n_traces = agent.items(["traces", "--pid", &pid, "--limit", &limit]).len();
        assert!(n_traces <= want, "{n_traces} traces of {want} requests");
        (n_traces == want).then_some(n_traces)
    })
}

/// It lives, it is small, and its counters add up.
#[track_caller]
fn healthy(mut agent: Agent) {
    agent.assert_alive();
    let (made, delivered, lost, rss_bytes) = eventually("counters that add up", || {
        let status = agent.status();
        let lost: u64 = status.item["events"]["lost"].as_object()?.values().filter_map(Value::as_u64).sum();
        let (made, delivered) = (status.number("/events/made"), status.number("/events/delivered"));
        (made == delivered + lost).then(|| (made, delivered, lost, status.number("/rss_bytes")))
    });
    println!("made {made} = delivered {delivered} + lost {lost}; RSS {} MiB", rss_bytes >> 20);
    assert!(0 < made);
    assert!(rss_bytes < MAX_RSS_BYTES, "{rss_bytes}");
    let ended = agent.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}

/// Bytes of an ELF file that the kernel loads: what comes after them is for others.
fn loaded_bytes(elf: &[u8]) -> usize {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()));
    let u64_at =
        |at: usize| usize::try_from(u64::from_le_bytes(elf[at..at + 8].try_into().unwrap())).unwrap();
    const PT_LOAD: usize = 1;
    let (headers, size, n_headers) = (u64_at(0x20), u16_at(0x36), u16_at(0x38));
    (0..n_headers)
        .map(|n| headers + n * size)
        .filter(|at| u16_at(*at) == PT_LOAD)
        .map(|at| u64_at(at + 8) + u64_at(at + 32))
        .max()
        .unwrap()
}

/// Takes every request to its end and answers that it is bad.
fn refusing_collector() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| 2 < n) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let _read = std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink());
            let _gone = reader
                .get_mut()
                .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    endpoint
}
