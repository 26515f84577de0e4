//! Failed connects as log events and as edge metrics, in a real Collector; also over an outage.

use std::time::Duration;

use tests::{
    Agent, Collector, Status, Target,
    collector::{Log, Metric},
    eventually,
    paths::built,
    require_bpf, within,
};

const CONNECTS: u64 = 50;
/// Those after the first are told together, so long after it.
const INTERVAL: Duration = Duration::from_secs(15);
/// The pauses between tries grow to 30 s.
const NEXT_TRY: Duration = Duration::from_secs(40);

#[test]
fn a_storm_of_refusals_is_two_events_over_grpc() {
    require_bpf!();
    let Some(collector) = Collector::start() else { return };
    let endpoint = collector.grpc();
    storm(&collector, &["--otlp-endpoint", &endpoint]);
}

#[test]
fn a_storm_of_refusals_is_two_events_over_http() {
    require_bpf!();
    let Some(collector) = Collector::start() else { return };
    let endpoint = collector.http();
    storm(&collector, &["--otlp-endpoint", &endpoint, "--otlp-protocol", "http/protobuf"]);
}

#[track_caller]
fn storm(collector: &Collector, flags: &[&str]) {
    let more = ["--metrics-interval", "1s", "--node", "node-of-the-test"];
    let watch = crate::watch_targets();
    let agent = Agent::start(watch.iter().map(String::as_str).chain(flags.iter().copied()).chain(more));
    let client = refused((0..CONNECTS).map(|_| "127.77.0.1:9".to_owned()));

    let first = eventually("the first event", || of_client(collector, &client).first().cloned());
    assert_eq!(first.attributes["taskscope.event.count"], 1, "it does not wait for others: {first:?}");
    let logs = within(INTERVAL, "all refusals", || {
        let logs = of_client(collector, &client);
        (count(&logs) == CONNECTS).then_some(logs)
    });
    println!("{} refusals in {} events: {:?}", count(&logs), logs.len(), logs[1].body);
    assert_eq!(logs.len(), 2);
    logs.iter().for_each(|it| check_log(it, client.pid()));
    let status = eventually("all that was sent", || {
        let status = agent.status();
        (of_logs(&status, "sent") == collector.logs().len() as u64).then_some(status)
    });
    assert_eq!(of_logs(&status, "failed") + of_logs(&status, "dropped"), 0);
    let metrics = eventually("metrics with the last refusals", || {
        let metrics = collector.metrics();
        metrics.iter().any(|it| is_failures(it) && it.value == CONNECTS as f64).then_some(metrics)
    });
    check_metrics(&metrics);
    assert_eq!(agent.terminate().status.code(), Some(0));
}

fn check_log(log: &Log, client: u32) {
    assert_eq!(log.event_name, "taskscope.connect.failed");
    assert_eq!(log.severity, 13, "a warning");
    assert_eq!(log.resource["service.name"], "target-conn");
    assert_eq!(log.resource["process.pid"], client);
    assert_eq!(log.resource["host.name"], "node-of-the-test");
    let of = |key: &str| &log.attributes[key];
    assert_eq!(of("error.type"), "refused");
    for address in ["server.address", "network.peer.address"] {
        assert_eq!(of(address), "127.77.0.1");
    }
    for port in ["server.port", "network.peer.port"] {
        assert_eq!(of(port), 9);
    }
    assert_eq!((of("network.transport"), of("network.type")), (&"tcp".into(), &"ipv4".into()));
    assert_eq!(of("taskscope.connect.syns"), 1);
    let lasted = of("taskscope.connect.duration").as_f64().unwrap();
    assert!((0.0..1.0).contains(&lasted), "{lasted}");
    let body = log.body.as_str().unwrap();
    assert!(body.starts_with("a connect to 127.77.0.1:9 was refused after 0."), "{body}");
    assert!(0 < log.time_ns && log.time_ns <= log.observed_ns);
}

/// The edge in our own words, and once in those of the service graph.
fn check_metrics(metrics: &[Metric]) {
    let failures = metrics.iter().rfind(|it| is_failures(it)).unwrap();
    assert_eq!((&failures.attributes["error.type"], failures.value), (&"refused".into(), CONNECTS as f64));
    let time_ns = failures.time_ns;
    let is_line = |it: &&Metric| {
        it.name == "traces_service_graph_connection_info"
            && it.time_ns == time_ns
            && it.attributes["server"] == "127.77.0.1"
    };
    let lines: Vec<_> = metrics.iter().filter(is_line).collect();
    let [line] = lines[..] else { panic!("{lines:?}") };
    assert_eq!((line.value, line.unit.as_str()), (1.0, ""));
    assert_eq!(line.attributes["client"], "target-conn");
    assert_eq!(line.attributes["connection_type"], "virtual_node");
    assert_eq!(line.attributes["virtual_node"], "server");
}

const LOSSES: [&str; 5] =
    ["log_way_full", "too_many_log_events", "log_queue_full", "log_refused", "log_shutdown"];

/// Each event that was made is received, or counted as lost.
#[test]
fn an_outage_is_outlasted_and_an_end_during_one_is_counted() {
    const DURING: u64 = 40;
    const AT_THE_END: u64 = 20;
    require_bpf!();
    let Some(mut collector) = Collector::start() else { return };
    let flags = ["--otlp-endpoint", &collector.grpc(), "--metrics-interval", "1s"].map(str::to_owned);
    let agent = Agent::start(crate::watch_targets().into_iter().chain(flags));
    collector.stop();
    let client = refused((1..=DURING).map(|n| format!("127.77.1.{n}:9")));
    eventually("all of them to wait", || (DURING <= of_logs(&agent.status(), "queued")).then_some(()));
    collector.restart();
    within(NEXT_TRY, "the events of the outage", || {
        (of_client(&collector, &client).len() as u64 == DURING).then_some(())
    });
    // Of all processes of the machine: who waits for the collector fails, too.
    let (made, sent) = within(NEXT_TRY, "an account that is even", || {
        let status = agent.status();
        let lost: u64 = LOSSES.iter().map(|it| status.lost(it)).sum();
        let made = made(&collector.metrics());
        let (received, sent) = (collector.logs().len() as u64, of_logs(&status, "sent"));
        (lost == 0 && DURING <= made && made == sent && sent == received).then_some((made, sent))
    });
    println!("{DURING} of {made} made in an outage, {sent} sent and received, none lost");
    let of_agent = |it: &Log| it.resource["process.pid"] == agent.pid();
    assert!(!collector.logs().iter().any(of_agent), "its own tries to reach the collector are no news");

    collector.stop();
    let _client = refused((1..=AT_THE_END).map(|n| format!("127.77.2.{n}:9")));
    eventually("those to wait", || (AT_THE_END <= of_logs(&agent.status(), "queued")).then_some(()));
    let ended = agent.terminate();
    assert_eq!(ended.status.code(), Some(0));
    let (_, rest) = ended.log.split_once("These were not sent before the end. signal=Logs items=").unwrap();
    let lost: u64 = rest.split_whitespace().next().unwrap().parse().unwrap();
    println!("{lost} lost at the end, and told");
    assert!((AT_THE_END..AT_THE_END + 10).contains(&lost), "{lost}");
}

#[test]
fn who_wants_no_events_gets_none() {
    require_bpf!();
    let Some(collector) = Collector::start() else { return };
    let flags = ["--otlp-endpoint", &collector.grpc(), "--metrics-interval", "1s", "--no-network-events"];
    let agent = Agent::start(crate::watch_targets().into_iter().chain(flags.map(str::to_owned)));
    let _client = refused((0..CONNECTS).map(|_| "127.77.0.1:9".to_owned()));
    eventually("metrics with the refusals", || {
        let metrics = collector.metrics();
        metrics.iter().any(|it| is_failures(it) && it.value == CONNECTS as f64).then_some(())
    });
    assert_eq!(agent.status().item["export"].as_array().map(Vec::len), Some(2));
    assert_eq!(agent.terminate().status.code(), Some(0));
    assert_eq!(collector.logs(), [], "of nobody");
}

/// Connects, each to where nobody listens.
#[track_caller]
fn refused(to: impl IntoIterator<Item = String>) -> Target {
    let mut client = Target::spawn(built("target-conn"), [""; 0]);
    for address in to {
        let answer = client.ask(&format!("connect {address}"));
        assert!(answer["errno"].is_i64(), "{answer}");
    }
    client
}

/// The agent sees the whole machine.
fn of_client(collector: &Collector, client: &Target) -> Vec<Log> {
    let logs = collector.logs().into_iter();
    logs.filter(|it| it.resource.get("process.pid").is_some_and(|pid| *pid == client.pid())).collect()
}

/// On the edge of [`refused`].
fn is_failures(metric: &Metric) -> bool {
    metric.name == "taskscope.edge.connect.failures"
        && metric.attributes.get("server.address").is_some_and(|it| it == "127.77.0.1")
}

/// By the agent's own telemetry, as of late.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
fn made(metrics: &[Metric]) -> u64 {
    metrics.iter().rfind(|it| it.name == "taskscope.log_events_made").map_or(0, |it| it.value as u64)
}

/// How many failures the events stand for.
fn count(logs: &[Log]) -> u64 {
    logs.iter().filter_map(|it| it.attributes["taskscope.event.count"].as_u64()).sum()
}

#[track_caller]
fn of_logs(status: &Status, what: &str) -> u64 {
    status.number(&format!("/export/2/{what}"))
}
