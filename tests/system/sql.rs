//! What becomes of statements: spans below their requests, without what is private in them.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;
use tests::{
    Agent, Collector, Target,
    collector::{Kind, Span},
    eventually,
    paths::built,
    require_bpf,
};

const REQUESTS: u32 = 25;
/// In every literal of the target's statements.
const PRIVATE: [&str; 2] = ["hush", "4711"];

/// Path, and the statements of its request as they are shown; `#` is the id.
const FORMS: &[(&str, &[(&str, &str)])] = &[
    ("query", &[("SELECT items_#", "SELECT name FROM items_# WHERE card = ?")]),
    ("exec", &[("INSERT orders_#", "INSERT INTO orders_# (card) VALUES (?)")]),
    (
        "tx",
        &[
            ("SELECT stock_#", "SELECT n FROM stock_# WHERE hush = ? FOR UPDATE"),
            ("UPDATE stock_#", "UPDATE stock_# SET n = n - ?"),
        ],
    ),
    ("prepared", &[("SELECT prepared_#", "SELECT name FROM prepared_# WHERE card = $1")]),
    ("skipped", &[("DELETE skipped_#", "DELETE FROM skipped_# WHERE card = ?")]),
];

#[test]
fn statements_are_below_their_requests_and_tell_nothing_private() {
    require_bpf!();
    let Some(collector) = Collector::start() else { return };
    for name in ["sql", "sql-stripped"] {
        let server = server(name);
        let flags = ["--otlp-endpoint", &collector.grpc()].map(str::to_owned);
        let agent = Agent::start(crate::watch_targets().into_iter().chain(flags));
        let at = server.address();
        crate::wait_for_probes(&agent, server.pid());
        for (path, _) in FORMS {
            crate::http_client("load", &format!("http://{at}/{path}/"), REQUESTS, 1000).rest();
        }
        for (path, statements) in FORMS {
            for id in [1, REQUESTS] {
                check_trace(&agent, name, &format!("GET /{path}/{id}"), statements, id);
            }
        }
        check_exported(&collector, name);
    }
}

#[track_caller]
fn check_trace(agent: &Agent, service: &str, request: &str, statements: &[(&str, &str)], id: u32) {
    let spans = eventually(request, || {
        let traces = agent.items(["traces", "--service", service, "--limit", "1000"]);
        let is_it = |it: &&Value| {
            it["root"]["name"] == request && statements.len() < it["spans"].as_u64().unwrap_or(0) as usize
        };
        let id = traces.iter().find(is_it)?["trace_id"].as_str()?.to_owned();
        Some(agent.items(["traces", &id])[0]["spans"].as_array()?.clone())
    });
    let served = spans.iter().find(|it| it["service"] == service && it["kind"] == "server").unwrap();
    for (name, text) in statements {
        let [name, text] = [name, text].map(|it| it.replace('#', &id.to_string()));
        let is_it = |it: &&Value| it["name"] == name.as_str();
        let span = spans.iter().find(is_it).unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
        assert_eq!(span["parent_span_id"], served["span_id"], "{name}");
        let attribute = |key: &str| &span["attributes"][key];
        assert_eq!((&span["kind"], &span["status"]), (&"client".into(), &"ok".into()), "{name}");
        assert_eq!(attribute("db.system.name"), "postgresql", "{name}");
        assert_eq!(attribute("db.query.text"), text.as_str());
        assert_eq!(attribute("db.query.summary"), name.as_str());
        assert_eq!(attribute("taskscope.joined_by"), "goid");
    }
}

/// Each statement once, and what is private not even in part.
#[track_caller]
fn check_exported(collector: &Collector, service: &str) {
    let n_statements = 8 * REQUESTS as usize;
    let spans = eventually("all statements at the collector", || {
        let mut spans = collector.spans();
        spans.retain(|it| {
            it.resource["service.name"] == service && it.attributes.contains_key("db.query.text")
        });
        (n_statements <= spans.len()).then_some(spans)
    });
    assert_eq!(spans.len(), n_statements);
    for span in &spans {
        // Not its ids and times: their digits are anything.
        let Span { name, attributes, events, status_message, .. } = span;
        let shown = format!("{name} {attributes:?} {events:?} {status_message}").replace("WHERE hush =", "");
        assert!(!PRIVATE.iter().any(|it| shown.contains(it)), "{shown}");
        assert_eq!((span.kind, span.is_error), (Kind::Client, false));
        assert_eq!(span.attributes["db.query.summary"], span.name.as_str());
        let operation = span.attributes["db.operation.name"].as_str().unwrap();
        assert!(span.name.starts_with(operation), "{}", span.name);
    }
    let texts: BTreeSet<_> =
        spans.iter().map(|it| it.attributes["db.query.text"].as_str().unwrap()).collect();
    println!("{service}: {} statements, {} texts, nothing private", spans.len(), texts.len());
}

fn server(name: &str) -> Target {
    let mut command = Command::new(built(name));
    command.arg("127.0.0.1:0").env("OTEL_SERVICE_NAME", name);
    Target::start(command)
}
