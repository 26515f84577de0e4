//! What targets say of themselves is what other tests compare with, so it is compared here first.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::{Target, paths};

#[test]
fn a_preforked_connection_belongs_to_a_worker_and_never_to_the_listener() {
    const CONNECTIONS: usize = 200;
    let server = Target::spawn(paths::built("prefork"), ["-w", "3", "-l", "127.0.0.1:0"]);
    let mut client = Target::spawn(paths::built("target-conn"), [""; 0]);
    let answer = client.ask(&format!("short {CONNECTIONS} {}", server.address()));
    assert_eq!(answer["done"], CONNECTIONS);

    let parent = Value::from(server.pid());
    let mut peers = BTreeSet::new();
    for _ in 0..CONNECTIONS {
        let line = server.json();
        assert_ne!(line["pid"], parent);
        assert_eq!(line["bytes"], 100);
        peers.insert(line["peer"].to_string());
    }
    assert_eq!(peers.len(), CONNECTIONS);
}

#[test]
fn client_and_server_of_http_agree_on_each_request() {
    let http = paths::built("http");
    let server = Target::spawn(&http, ["server", "-listen", "127.0.0.1:0", "-log"]);
    let address = server.address();
    let answers = |path: &str| {
        let url = format!("http://{address}/{path}");
        let output =
            std::process::Command::new(&http).args(["client", "-n", "3", "-url", &url]).output().unwrap();
        let lines: Vec<Value> = std::str::from_utf8(&output.stdout)
            .unwrap()
            .lines()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect();
        lines
    };
    for (path, seen, handled) in [("echo/", 200, 200), ("status/503/", 503, 503), ("panic/", 0, 0)] {
        let lines = answers(path);
        assert_eq!(lines.len(), 4, "three requests and their sum");
        for line in &lines[..3] {
            let log = server.json();
            assert_eq!((&line["id"], &line["status"]), (&log["id"], &Value::from(seen)), "{path}");
            assert_eq!(log["status"], handled, "{path}");
            if seen != 0 {
                assert_eq!(line["local"], log["remote"], "{path}");
            }
        }
    }
}
