//! What users see in the end: traces in a real Grafana Tempo, which a real Collector hands them to.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::{Agent, Collector, Tempo, eventually, require_bpf, shop::Shop};

#[test]
fn a_trace_is_found_by_its_id_and_by_what_is_in_it() {
    require_bpf!();
    let Some(tempo) = Tempo::start() else { return };
    let Some(collector) = Collector::start_before(Some(tempo.otlp())) else { return };
    let endpoint = collector.grpc();
    let shop = Shop::open();
    let watch = crate::watch_targets();
    let agent = Agent::start(watch.iter().map(String::as_str).chain(["--otlp-endpoint", &endpoint]));
    shop.load(50, 4).rest();
    let (id, ours) = eventually("a trace over three processes", || {
        let traces = agent.items(["traces", "--service", "shop-catalog"]);
        let id = traces.iter().find(|it| it["services"] == 3)?["trace_id"].as_str()?.to_owned();
        let spans = agent.items(["traces", &id])[0]["spans"].as_array()?.clone();
        Some((id, spans))
    });
    let theirs = eventually("the whole trace in Tempo", || {
        let spans = tempo.spans(&id);
        (spans.len() == ours.len()).then_some(spans)
    });
    println!("{id}: {} spans here, {} in Tempo", ours.len(), theirs.len());
    // Ours are named by their paths, which Tempo gets as attributes.
    assert_eq!(paths(&theirs), ours.iter().map(|it| text(&it["attributes"]["url.path"])).collect());
    let roots = theirs.iter().filter(|it| it["parentSpanId"].as_str().is_none_or(str::is_empty));
    assert_eq!(roots.count(), 1);

    let with_route = "service.name=shop-catalog http.route=/items http.response.status_code=200";
    let found = eventually("traces with a route", || some(tempo.tagged(with_route)));
    let is_its_own = |id: &String| paths(&tempo.spans(id)).contains("/items");
    assert!(found.iter().all(is_its_own), "{found:?}");
    assert_eq!(tempo.tagged("http.route=/nowhere"), [""; 0]);
}

#[test]
fn a_trace_is_found_by_what_hit_it() {
    require_bpf!();
    let Some(tempo) = Tempo::start() else { return };
    let Some(collector) = Collector::start_before(Some(tempo.otlp())) else { return };
    let endpoint = collector.grpc();
    let watch = crate::watch_targets();
    let agent = Agent::start(watch.iter().map(String::as_str).chain(["--otlp-endpoint", &endpoint]));
    let client = crate::http_client("refused", "http://127.77.0.1:9/", 1000, 20);
    crate::wait_for_probes(&agent, client.pid());
    let found = eventually("a trace with its cause", || some(tempo.tagged("taskscope.cause.kind=connect")));
    let spans = tempo.spans(&found[0]);
    let events: Vec<_> = spans.iter().filter_map(|it| it["events"].as_array()).flatten().collect();
    println!("{}: {events:?}", found[0]);
    assert_eq!(events[0]["name"], "taskscope.connect.failed");
    let class = attribute(events[0], "error.type");
    assert_eq!(class, "refused");
}

fn paths(spans: &[Value]) -> BTreeSet<String> {
    spans.iter().map(|it| attribute(it, "url.path")).collect()
}

#[track_caller]
fn attribute(of: &Value, key: &str) -> String {
    let all = of["attributes"].as_array().unwrap_or_else(|| panic!("no attributes: {of}"));
    let value = all.iter().find(|it| it["key"] == key).unwrap_or_else(|| panic!("no {key}: {of}"));
    text(&value["value"]["stringValue"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn some(found: Vec<String>) -> Option<Vec<String>> {
    (!found.is_empty()).then_some(found)
}
