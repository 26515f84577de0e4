//! What a real Collector receives, also over an outage.

use std::{collections::BTreeSet, time::Duration};

use agent::clock;
use tests::{
    Agent, Collector, Status,
    collector::{Kind, Metric, Span},
    eventually, require_bpf, within,
};

const REQUESTS: u32 = 200;
/// The pauses between tries grow to 30 s.
const NEXT_TRY: Duration = Duration::from_secs(40);
/// Figures that did not change for so long are the last ones: a batch of spans waits for one second.
const STILL: Duration = Duration::from_millis(2500);

#[test]
fn spans_and_metrics_follow_the_conventions_over_grpc() {
    require_bpf!();
    let Some(collector) = Collector::start() else { return };
    check_conventions(&collector, &collector.grpc(), "grpc");
}

#[test]
fn spans_and_metrics_follow_the_conventions_over_http() {
    require_bpf!();
    let Some(collector) = Collector::start() else { return };
    check_conventions(&collector, &collector.http(), "http/protobuf");
}

/// The queue holds what is made while nobody listens.
#[test]
fn an_outage_that_the_queue_outlasts_loses_nothing() {
    require_bpf!();
    // 30 s.
    let during = 30 * PER_SECOND;
    let Some(account) = outage("8192", during) else { return };
    assert_eq!(account.lost, 0, "{account:?}");
    let n_requests = BEFORE_OUTAGE + during + AFTER_OUTAGE;
    assert_eq!(account.of_server, u64::from(n_requests), "every request has its server span");
}

/// The oldest go, and each is counted.
#[test]
fn an_outage_that_the_queue_does_not_outlast_is_counted() {
    require_bpf!();
    let Some(account) = outage("64", 10 * PER_SECOND) else { return };
    assert!(100 < account.lost, "the queue was never full: {account:?}");
}

#[track_caller]
fn check_conventions(collector: &Collector, endpoint: &str, protocol: &str) {
    let (server, url) = crate::http_server("truth-server");
    let flags = ["--otlp-endpoint", endpoint, "--otlp-protocol", protocol, "--otlp-compression", "zstd"];
    let more = ["--metrics-interval", "1s", "--node", "node-of-the-test"];
    let agent = Agent::start(crate::watch_targets().iter().map(String::as_str).chain(flags).chain(more));
    crate::wait_for_probes(&agent, server.pid());
    let client = crate::http_client("truth-client", &format!("{url}/status/503/"), REQUESTS, 100);
    let client_pid = client.pid();
    client.rest();
    // The two ends of a request may come in different batches.
    let spans = eventually("all server spans, and their parents", || {
        let spans = collector.spans();
        let ids: BTreeSet<_> = spans.iter().map(|it| &it.span_id).collect();
        let of_server: Vec<_> = spans.iter().filter(|it| it.kind == Kind::Server).collect();
        let has_parent = |it: &&Span| it.parent_span_id.as_ref().is_none_or(|id| ids.contains(id));
        let is_all = of_server.len() == REQUESTS as usize && of_server.iter().all(has_parent);
        is_all.then_some(spans)
    });
    let (of_server, of_client): (Vec<_>, Vec<_>) = spans.iter().partition(|it| it.kind == Kind::Server);
    println!("{protocol}: {} server spans, {} client spans", of_server.len(), of_client.len());
    for span in &of_server {
        check_span(span, "truth-server", server.pid());
        assert_eq!(span.attributes["url.path"].as_str().map(|it| it.starts_with("/status/503/")), Some(true));
    }
    assert!(!of_client.is_empty());
    for span in &of_client {
        assert_eq!(span.kind, Kind::Client);
        check_span(span, "truth-client", client_pid);
        assert_eq!(span.attributes["server.address"], "127.0.0.1");
    }
    check_parents(&of_server, &of_client);
    let metrics = eventually("metrics of all kinds", || {
        let metrics = collector.metrics();
        let has = |name: &str| metrics.iter().any(|it| it.name == name);
        let wanted = ["http.server.request.duration", "http.client.request.duration", "taskscope.edge.bytes"];
        (wanted.into_iter().all(has) && last(&metrics, "http.server.request.duration") == u64::from(REQUESTS))
            .then_some(metrics)
    });
    check_metrics(&metrics);
    assert_eq!(agent.terminate().status.code(), Some(0));
}

fn check_span(span: &Span, service: &str, pid: u32) {
    assert_eq!(span.resource["service.name"], service);
    assert_eq!(span.resource["process.pid"], pid);
    assert_eq!(span.resource["host.name"], "node-of-the-test");
    assert_eq!(span.resource["telemetry.distro.name"], "taskscope");
    assert_eq!(span.attributes["http.request.method"], "GET");
    assert_eq!(span.attributes["http.response.status_code"], 503);
    assert_eq!(span.attributes["error.type"], "503");
    // A path is no name: it would be a new one for each request.
    let route = (span.kind == Kind::Server).then_some("/status/{code}/{id}");
    assert_eq!(span.attributes.get("http.route").and_then(|it| it.as_str()), route);
    assert_eq!(span.name, route.map_or_else(|| "GET".to_owned(), |it| format!("GET {it}")));
    assert!(span.is_error);
    assert!(span.start_ns < span.end_ns);
}

/// A server span's parent is the client span of the same request, which has none.
fn check_parents(of_server: &[&Span], of_client: &[&Span]) {
    let mut n_joined = 0;
    for span in of_server {
        let Some(parent) = &span.parent_span_id else { continue };
        let client = of_client.iter().find(|it| it.span_id == *parent).unwrap();
        assert_eq!(client.trace_id, span.trace_id);
        assert_eq!(client.parent_span_id, None);
        assert_eq!(client.attributes["url.path"], span.attributes["url.path"]);
        n_joined += 1;
    }
    assert_eq!(n_joined, of_client.len(), "each client span is a parent");
}

fn check_metrics(metrics: &[Metric]) {
    let duration = metrics.iter().rfind(|it| it.name == "http.server.request.duration").unwrap();
    assert_eq!((duration.unit.as_str(), &duration.resource["service.name"]), ("s", &"truth-server".into()));
    assert_eq!(duration.attributes["http.response.status_code"], 503);
    // Tempo draws this edge of its spans.
    let newest = metrics.iter().filter(|it| it.name == "taskscope.edge.bytes").map(|it| it.time_ns).max();
    let of_newest = metrics.iter().filter(|it| Some(it.time_ns) == newest);
    let drawn = of_newest.filter(|it| it.name == "traces_service_graph_connection_info");
    let twice = drawn.filter(|it| it.attributes["client"] == "truth-client");
    assert_eq!(twice.count(), 0, "an edge with spans is not drawn twice");
    let own = metrics.iter().rfind(|it| it.name == "taskscope.spans_made").unwrap();
    assert_eq!(own.resource["service.name"], "taskscope");
    assert_eq!(own.resource["host.name"], "node-of-the-test");
}

/// Requests of a steady load.
const PER_SECOND: u32 = 50;
const BEFORE_OUTAGE: u32 = 100;
const AFTER_OUTAGE: u32 = 400;

#[derive(Debug)]
struct Account {
    /// Distinct spans that the Collector wrote.
    received: u64,
    duplicates: u64,
    of_server: u64,
    sent: u64,
    lost: u64,
    made: u64,
}

/// Stops the Collector in the middle of a steady load, for so many requests. What was made is what arrived
/// and each counted loss. `None`: there is no Collector here.
#[track_caller]
fn outage(queue: &str, during: u32) -> Option<Account> {
    let mut collector = Collector::start()?;
    let (server, url) = crate::http_server("truth-server");
    let flags = ["--otlp-endpoint", &collector.grpc(), "--export-queue", queue, "--metrics-interval", "1s"]
        .map(str::to_owned);
    let agent = Agent::start(crate::watch_targets().into_iter().chain(flags));
    crate::wait_for_probes(&agent, server.pid());
    let n_requests = BEFORE_OUTAGE + during + AFTER_OUTAGE;
    let load = crate::http_client("truth-client", &format!("{url}/echo/"), n_requests, PER_SECOND);
    (0..BEFORE_OUTAGE).for_each(|_| drop(load.line()));
    collector.stop();
    (0..during).for_each(|_| drop(load.line()));
    collector.restart();
    load.rest();

    let status = settled(&agent);
    let lost = ["export_queue_full", "export_refused", "shutdown"].map(|it| status.lost(it)).iter().sum();
    assert_eq!(agent.terminate().status.code(), Some(0));
    let received = collector.received();
    let ids: BTreeSet<_> = received.spans.iter().map(|it| &it.span_id).collect();
    let of_server: BTreeSet<_> =
        received.spans.iter().filter(|it| it.kind == Kind::Server).map(|it| &it.span_id).collect();
    let account = Account {
        received: ids.len() as u64,
        duplicates: (received.spans.len() - ids.len()) as u64,
        of_server: of_server.len() as u64,
        sent: status.spans("sent"),
        lost,
        made: last(&received.metrics, "taskscope.spans_made"),
    };
    println!(
        "{} s, queue of {queue}: {} spans received, {} twice; {account:?}",
        during / PER_SECOND,
        account.received,
        account.duplicates
    );
    assert_eq!(account.sent + account.lost, account.made, "{account:?}");
    assert_eq!(account.received, account.sent, "{account:?}");
    assert_eq!(status.spans("dropped"), status.lost("export_queue_full"));
    Some(account)
}

/// The status when nothing waits any more and nothing new comes.
#[track_caller]
fn settled(agent: &Agent) -> Status {
    let figures = |it: &Status| ["queued", "sent", "failed", "dropped"].map(|what| it.spans(what));
    within(NEXT_TRY, "the first spans after the outage", || {
        (agent.status().spans("queued") == 0).then_some(())
    });
    let mut seen = (figures(&agent.status()), clock::now());
    eventually("the last spans", || {
        let status = agent.status();
        if figures(&status) != seen.0 {
            seen = (figures(&status), clock::now());
        }
        (seen.0[0] == 0 && STILL < clock::now().since(seen.1)).then_some(status)
    })
}

/// The last value of a sum, or how many values a histogram has, over all its series.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "these are counts")]
fn last(metrics: &[Metric], name: &str) -> u64 {
    let mut newest: Vec<&Metric> = metrics.iter().filter(|it| it.name == name).collect();
    newest.sort_by_key(|it| it.time_ns);
    let Some(at) = newest.last().map(|it| it.time_ns) else { return 0 };
    let of_histogram = |it: &&Metric| it.name.ends_with(".duration");
    newest
        .iter()
        .filter(|it| it.time_ns == at)
        .map(|it| if of_histogram(it) { it.count } else { it.value as u64 })
        .sum()
}
