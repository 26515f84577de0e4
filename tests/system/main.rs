//! Whole programs, end to end.

#![expect(clippy::unwrap_used, reason = "tests panic, and so do their helpers")]
#![expect(clippy::print_stdout, reason = "each test says what it measured")]

mod bad_input;
mod capabilities;
mod clsact;
mod collector;
mod delay;
mod dns;
mod edge;
mod export;
mod interfaces;
mod lifecycle;
mod logs;
mod many;
mod nat;
mod schema;
mod shop;
mod sql;
mod stalls;
mod standstill;
mod tempo;
mod topology;
mod traces;
mod udp;

use std::process::Command;

use tests::{Agent, Target, eventually};

/// Flags that keep probes off the programs of others.
fn watch_targets() -> [String; 2] {
    let targets = tests::paths::built("http");
    ["--watch-exe".into(), targets.with_file_name("*").display().to_string()]
}

/// An HTTP server in Go of that service name; and where it is.
fn http_server(service: &str) -> (Target, String) {
    let mut command = Command::new(tests::paths::built("http"));
    command.args(["server", "-listen", "127.0.0.1:0"]).env("OTEL_SERVICE_NAME", service);
    let server = Target::start(command);
    let url = format!("http://{}", server.address());
    (server, url)
}

/// Asks for `path` and a number; prints a line for each answer, and the sum as the last.
fn http_client(service: &str, url: &str, requests: u32, per_second: u32) -> Target {
    Target::start(http_client_command(service, url, requests, per_second))
}

fn http_client_command(service: &str, url: &str, requests: u32, per_second: u32) -> Command {
    // It does not say that it is ready.
    let mut command = Command::new("sh");
    command.args(["-c", "echo ready; exec \"$0\" \"$@\""]).arg(tests::paths::built("http"));
    command.args(["client", "-url", url, "-n", &requests.to_string(), "-rps", &per_second.to_string()]);
    command.env("OTEL_SERVICE_NAME", service);
    command
}

/// Until the agent has put its probes on a process.
#[track_caller]
fn wait_for_probes(agent: &Agent, pid: u32) {
    eventually("probes on a process", || {
        let targets = agent.items(["targets", &pid.to_string()]);
        let probes = targets.first()?["probes"].as_array()?;
        (!probes.is_empty()).then_some(())
    });
}
