//! One edge in full, and edges that become one: held against what the two ends say of themselves.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::{Agent, Target, eventually, paths, require_bpf, taskscope};

use crate::schema::assert_valid;

/// Bytes to the server and back of each client's connections; the last one is reset.
const CONNECTIONS: [(u64, u64); 3] = [(100, 7), (70_000, 1), (3, 0)];

/// One service of two programs, so of two edges.
struct Callers {
    server: Target,
    clients: [Target; 2],
    address: String,
    /// Client's address, bytes each way, how it ended; of each client.
    truth: [Vec<Value>; 2],
    _program: tempfile::TempDir,
}

impl Callers {
    #[track_caller]
    fn start() -> Self {
        let program = tempfile::tempdir().unwrap();
        let other = program.path().join("other-conn");
        fs::copy(paths::built("target-conn"), &other).unwrap();
        let mut server = named(&paths::built("target-conn"), "told-server");
        let clients = [named(&paths::built("target-conn"), "told-client"), named(&other, "told-client")];
        let listener = server.ask("listen 127.0.0.1:0");
        let address = listener["local"].as_str().unwrap().to_owned();
        let mut callers = Self { server, clients, address, truth: Default::default(), _program: program };
        for which in 0..2 {
            for (n, bytes) in CONNECTIONS.into_iter().enumerate() {
                let outcome = if n + 1 == CONNECTIONS.len() { "reset" } else { "closed" };
                callers.connect(which, &listener["id"], bytes, outcome);
            }
        }
        callers
    }

    #[track_caller]
    fn connect(&mut self, which: usize, listener: &Value, (there, back): (u64, u64), outcome: &str) {
        let (server, client) = (&mut self.server, &mut self.clients[which]);
        let own = client.ask(&format!("connect {}", self.address));
        let accepted = server.ask(&format!("accept {listener}"))["accepted"][0].take();
        let bring = |from: &mut Target, from_id: &Value, to: &mut Target, to_id: &Value, bytes: u64| {
            assert_eq!(from.ask(&format!("send {from_id} {bytes}"))["bytes"], bytes);
            assert_eq!(to.ask(&format!("recv {to_id} {bytes}"))["bytes"], bytes);
        };
        if outcome == "reset" {
            // What nobody has read when its socket is closed is answered with a reset.
            assert_eq!(client.ask(&format!("send {} {there}", own["id"]))["bytes"], there);
            server.ask(&format!("close {}", accepted["id"]));
            client.ask(&format!("close {}", own["id"]));
        } else {
            bring(client, &own["id"], server, &accepted["id"], there);
            bring(server, &accepted["id"], client, &own["id"], back);
            client.ask(&format!("close {}", own["id"]));
            server.ask(&format!("close {}", accepted["id"]));
        }
        self.truth[which].push(json!([own["local"], there, back, outcome]));
    }

    /// The edges of these clients to this server.
    #[track_caller]
    fn edges(&self, agent: &Agent, by: &str) -> Vec<Value> {
        let mut edges = agent.items(["topology", "--by", by]);
        let port: Value = self.address.rsplit(':').next().unwrap().parse::<u64>().unwrap().into();
        edges.retain(|it| it["server"]["port"] == port && it["server"]["pid"] == self.server.pid());
        edges
    }
}

#[test]
fn each_connection_of_an_edge_is_told_with_its_figures() {
    require_bpf!();
    let agent = Agent::start(crate::watch_targets());
    let callers = Callers::start();
    let edges = eventually("both edges with all connections", || {
        let edges = callers.edges(&agent, "process");
        let opened: u64 = edges.iter().filter_map(|it| it["connections"]["opened"].as_u64()).sum();
        let active: u64 = edges.iter().filter_map(|it| it["connections"]["active"].as_u64()).sum();
        ((opened, active) == (6, 0)).then_some(edges)
    });
    assert_eq!(edges.len(), 2);
    for edge in &edges {
        let which = callers.clients.iter().position(|it| edge["client"]["pid"] == it.pid()).unwrap();
        let answer = agent.ask(["topology", "--edge", edge["id"].as_str().unwrap()]);
        assert_valid("topology --edge ID", &answer);
        let page = &answer["items"][0];
        assert_eq!(told(page), callers.truth[which]);
        println!("{}: {}", edge["client"]["exe"], page["recent_connections"]);
        for it in page["recent_connections"].as_array().unwrap() {
            let pids = (&it["client_pid"], &it["server_pid"]);
            assert_eq!(pids, (&callers.clients[which].pid().into(), &callers.server.pid().into()));
            assert!(0.0 < it["lasted_seconds"].as_f64().unwrap(), "{it}");
        }
    }
}

#[test]
fn edges_of_one_service_become_one_with_the_sum_of_all() {
    require_bpf!();
    let agent = Agent::start(crate::watch_targets());
    let callers = Callers::start();
    let [parts, whole] = eventually("an edge of the service", || {
        // The parts last: whatever the whole has is in them by then.
        let [whole, parts] = ["service", "process"].map(|by| callers.edges(&agent, by));
        let is_whole = |it: &Value| it["connections"]["opened"] == 6 && it["connections"]["active"] == 0;
        (whole.len() == 1 && is_whole(&whole[0])).then_some([parts, whole])
    });
    let whole = &whole[0];
    assert_eq!((&whole["client_name"], &whole["by"]), (&"told-client".into(), &"service".into()));
    for number in ["/bytes/to_server", "/bytes/to_client", "/packets/to_server", "/connections/reset"] {
        let get = |it: &Value| it.pointer(number).unwrap().as_u64().unwrap();
        println!("{number}: {:?} make {}", parts.iter().map(get).collect::<Vec<_>>(), get(whole));
        assert_eq!(parts.iter().map(get).sum::<u64>(), get(whole));
    }
    let bytes: u64 = CONNECTIONS.iter().map(|(there, _)| there * 2).sum();
    assert_eq!(whole["bytes"]["to_server"], bytes);

    let page = agent.items(["topology", "--edge", whole["id"].as_str().unwrap()]).remove(0);
    assert_eq!((&page["merged"], &page["id"]), (&2.into(), &whole["id"]));
    assert_eq!(told(&page).len(), 6);
    let mut pids: Vec<_> =
        page["clients"].as_array().unwrap().iter().filter_map(|it| it["pid"].as_u64()).collect();
    pids.sort_unstable();
    let mut want = callers.clients.each_ref().map(|it| u64::from(it.pid()));
    want.sort_unstable();
    assert_eq!(pids, want);
    // Their files are two.
    assert_eq!(callers.edges(&agent, "workload").len(), 2);
}

/// What the page says to type next can be typed.
#[test]
fn the_page_of_a_failing_edge_leads_on() {
    require_bpf!();
    let agent = Agent::start(crate::watch_targets());
    let mut client = named(&paths::built("target-conn"), "told-client");
    // Nobody listens on the port of a listener that is closed.
    let listener = client.ask("listen 127.0.0.1:0");
    client.ask(&format!("close {}", listener["id"]));
    let address = listener["local"].as_str().unwrap();
    for _ in 0..20 {
        assert!(client.ask(&format!("connect {address}"))["error"].is_string());
    }
    let page = eventually("a page of 20 failures", || {
        let edges = agent.items(["topology", "--pid", &client.pid().to_string()]);
        let edge = edges.into_iter().find(|it| it["connections"]["refused"] == 20)?;
        Some(agent.run(["topology", "--edge", edge["id"].as_str().unwrap()]))
    });
    let page = String::from_utf8(page.stdout).unwrap();
    println!("{page}");
    assert_eq!(page.matches("refused").count(), 1 + 16, "the fault, and the last of its connections");
    let steps: Vec<&str> = page.lines().skip_while(|it| !it.starts_with("NEXT")).skip(1).collect();
    assert!(2 <= steps.len());
    for step in steps {
        let command = step.split("  ").next().unwrap();
        let words = command.strip_prefix("taskscope ").unwrap().split(' ').filter(|it| *it != "--watch");
        let output = agent.run(words);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{command}: {output:?}");
    }
}

#[test]
fn whoever_stops_watching_is_not_told_off() {
    require_bpf!();
    let agent = Agent::start(crate::watch_targets());
    let _callers = Callers::start();
    eventually("an edge", || (!agent.items(["topology"]).is_empty()).then_some(()));
    let watch = || {
        let mut command = taskscope();
        command.args(["topology", "--watch=100ms", "--socket"]).arg(agent.socket());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut interrupted = watch();
    let mut lines = BufReader::new(interrupted.stdout.take().unwrap()).lines();
    let mut frame = || lines.by_ref().map(Result::unwrap).find(|it| it.contains(" edges")).unwrap();
    assert!(frame().contains("comes with the next frame"));
    // Before the agent's state is published again, the first frame comes again.
    eventually("a frame with rates", || frame().contains("; within the last ").then_some(()));
    let pid = i32::try_from(interrupted.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::INT).unwrap();

    let mut left = watch();
    drop(left.stdout.take());
    for (how, child) in [("Ctrl-C", interrupted), ("a closed pipe", left)] {
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]), "{how}");
    }
}

fn named(program: &Path, service: &str) -> Target {
    let mut command = Command::new(program);
    command.env("OTEL_SERVICE_NAME", service);
    Target::start(command)
}

/// As [`Callers::truth`], the oldest first.
fn told(page: &Value) -> Vec<Value> {
    let recent = page["recent_connections"].as_array().unwrap().iter().rev();
    recent
        .map(|it| {
            let client = format!("{}:{}", it["client_address"].as_str().unwrap(), it["client_port"]);
            json!([client, it["bytes"]["to_server"], it["bytes"]["to_client"], it["outcome"]])
        })
        .collect()
}
