//! What goes wrong on a connection stands on the span of the request that suffered from it.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tests::{
    Agent, Collector, NetNs, Target,
    collector::{Attributes, Kind, Log, Span},
    eventually,
    lossy::Lossy,
    netns::{ADDRESS_A, ADDRESS_FAR},
    paths::built,
    require_admin, require_bpf, within,
};

const PORT: u16 = 8080;
/// As long as nobody stops it.
const REQUESTS: u32 = 100_000;
const PER_SECOND: u32 = 20;
/// A segment, its tail loss probe, and what the timer sends when it fires first.
const LOST: &str = "data 1 3";
/// Failures after the first are told together, so long after it.
const INTERVAL: std::time::Duration = std::time::Duration::from_secs(40);

/// The link loses what `a` sends.
#[test]
fn a_request_that_got_lost_says_so_itself() {
    require_bpf!();
    require_admin!();
    let Some(collector) = Collector::start() else { return };
    let mut link = Lossy::new();
    let server = serve(&link.b, ADDRESS_FAR);
    let client = ask(&link.a, ADDRESS_FAR);
    let (span, log) = stalled(&collector, &mut link, &server, &client, &client);
    assert_eq!(span.events[0].1["taskscope.edge.direction"], "to_server");
    assert_eq!(log.attributes["server.address"], ADDRESS_FAR.to_string());
}

#[test]
fn a_request_whose_answer_got_lost_says_so_and_so_does_its_server() {
    require_bpf!();
    require_admin!();
    let Some(collector) = Collector::start() else { return };
    let mut link = Lossy::new();
    let server = serve(&link.a, ADDRESS_A);
    let client = ask(&link.b, ADDRESS_A);
    let (span, log) = stalled(&collector, &mut link, &server, &client, &server);
    assert_eq!(span.events[0].1["taskscope.edge.direction"], "to_client");
    assert_eq!(log.attributes["client.address"], ADDRESS_FAR.to_string());
}

/// The span of the client, and the log event of the process that sent again.
#[track_caller]
fn stalled(
    collector: &Collector,
    link: &mut Lossy,
    server: &Target,
    client: &Target,
    sender: &Target,
) -> (Span, Log) {
    let endpoint = collector.grpc();
    let watch = crate::watch_targets();
    let agent = Agent::start(watch.iter().map(String::as_str).chain(["--otlp-endpoint", &endpoint]));
    [server, client].iter().for_each(|it| crate::wait_for_probes(&agent, it.pid()));
    let of = |span: &Span| span.resource["process.pid"] == client.pid();
    eventually("spans before anything is lost", || collector.spans().iter().any(of).then_some(()));
    let mut spans: Vec<Span> = Vec::new();
    // Two segments each time. Of the third time-out no number of segments is a power of two, but it is told of, too.
    for n in 1..=3 {
        let _ = link.lose(LOST);
        // On a machine that stands still for a moment a timer may fire without a loss, but once.
        let is_ours =
            |span: &Span| span.events.iter().any(|(_, it)| 2 <= number(it, "taskscope.rto.timeouts"));
        let span = eventually(&format!("span {n} with a time-out"), || {
            let mut new = collector.spans().into_iter().filter(|it| of(it) && is_ours(it));
            new.find(|it| spans.iter().all(|before| before.span_id != it.span_id))
        });
        let (_, n_lost) = link.lose("nothing");
        println!("{n_lost} segments lost: {:?}", span.events);
        assert_eq!((n_lost, span.kind), (3, Kind::Client));
        spans.push(span);
    }
    let span = spans.swap_remove(0);
    let (name, attributes) = &span.events[0];
    assert_eq!(name, "taskscope.rto_episode");
    assert!(0.0 < attributes["taskscope.rto.duration"].as_f64().unwrap());
    let log = eventually("the log event", || {
        let mut logs = collector.logs().into_iter();
        logs.find(|it| (&it.trace_id, &it.span_id) == (&span.trace_id, &span.span_id))
    });
    assert_eq!(
        (log.event_name.as_str(), &log.resource["process.pid"]),
        ("taskscope.rto_episode", &json!(sender.pid()))
    );
    assert_eq!(log.attributes["taskscope.rto.duration"], attributes["taskscope.rto.duration"]);
    (span, log)
}

#[test]
fn a_failed_connect_is_told_with_the_request_that_wanted_it() {
    require_bpf!();
    let Some(collector) = Collector::start() else { return };
    let endpoint = collector.grpc();
    let watch = crate::watch_targets();
    let agent = Agent::start(watch.iter().map(String::as_str).chain(["--otlp-endpoint", &endpoint]));
    let client = crate::http_client("refused", "http://127.77.0.1:9/", REQUESTS, PER_SECOND);
    crate::wait_for_probes(&agent, client.pid());
    let log = within(INTERVAL, "a failed connect with ids", || {
        collector.logs().into_iter().find(|it| {
            it.event_name == "taskscope.connect.failed"
                && it.resource["process.pid"] == client.pid()
                && !it.trace_id.is_empty()
        })
    });
    let span = eventually("its span", || collector.spans().into_iter().find(|it| it.span_id == log.span_id));
    println!("{} {:?}", span.name, span.attributes);
    assert_eq!((&span.trace_id, span.kind), (&log.trace_id, Kind::Client));
    assert_eq!(span.attributes["error.type"], "connect_failed");
    assert_eq!(span.attributes["taskscope.cause.kind"], "connect");
    let (name, event) = &span.events[0];
    assert_eq!((name.as_str(), &event["error.type"]), ("taskscope.connect.failed", &"refused".into()));
    assert_eq!(event["taskscope.connect.duration"], log.attributes["taskscope.connect.duration"]);
    let share = event["taskscope.cause.share"].as_f64().unwrap();
    assert!(0.0 < share && share <= 1.0, "{event:?}");
    let listed = agent.items(["traces", "--cause", "connect"]);
    assert!(listed.iter().any(|it| it["trace_id"] == span.trace_id.as_str()), "{listed:?}");
    assert!(agent.items(["traces", "--cause", "rto"]).is_empty());
    assert!(span.start_ns < log.time_ns, "{span:?} {log:?}");
}

/// 0: it has none.
fn number(attributes: &Attributes, key: &str) -> u64 {
    attributes.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn serve(inside: &NetNs, address: Ipv4Addr) -> Target {
    let mut command = inside.command(built("http"));
    command.args(["server", "-listen", &SocketAddr::from((address, PORT)).to_string()]);
    Target::start(command)
}

fn ask(inside: &NetNs, address: Ipv4Addr) -> Target {
    let url = format!("http://{address}:{PORT}/echo/");
    Target::start(inside.wrap(&crate::http_client_command("asks", &url, REQUESTS, PER_SECOND)))
}
