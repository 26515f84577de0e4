//! One request through several processes is one trace; what is wrong is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;
use tests::{Agent, Target, eventually, paths::built, require_bpf, shop::Shop};

#[test]
fn a_visit_is_one_trace_over_three_processes() {
    require_bpf!();
    let shop = Shop::open();
    let agent = Agent::start(crate::watch_targets());
    shop.load(50, 4).rest();
    let (id, spans) = eventually("a whole trace of a visit", || {
        let traces = agent.items(["traces", "--service", "shop-catalog"]);
        let roots = |it: &&Value| it["root"]["service"] == "shop-load" && it["services"] == 3;
        let id = traces.iter().find(roots)?["trace_id"].as_str()?.to_owned();
        let spans = agent.items(["traces", &id])[0]["spans"].as_array()?.clone();
        Some((id, spans))
    });
    println!("{id}: {} spans", spans.len());
    for span in &spans {
        println!("  {} {} {} < {}", span["service"], span["kind"], span["name"], span["parent_span_id"]);
    }
    // Parent and child, by service and kind.
    let got: BTreeSet<_> = spans.iter().map(|it| (parent_of(it, &spans), label(it))).collect();
    for (parent, child) in [
        (None, "shop-load client GET /"),
        (Some("shop-load client GET /"), "shop-web server GET /"),
        (Some("shop-web server GET /"), "shop-web client GET /items"),
        (Some("shop-web client GET /items"), "shop-catalog server GET /items"),
    ] {
        let wanted = (parent.map(str::to_owned), child.to_owned());
        assert!(got.contains(&wanted), "no {wanted:?} in {got:#?}");
    }
    // The cart is asked by another goroutine than the handler's.
    let cart = spans.iter().find(|it| it["name"].as_str().unwrap().starts_with("GET /cart/")).unwrap();
    assert_eq!(parent_of(cart, &spans).as_deref(), Some("shop-web server GET /"));
    let ids: BTreeSet<_> = spans.iter().map(|it| it["span_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), spans.len(), "no id twice");
}

/// A client and a front of HTTP, and a server of gRPC behind it.
#[test]
fn a_trace_goes_from_http_to_grpc() {
    require_bpf!();
    let grpc = |service: &str, args: &[&str]| {
        let mut command = Command::new(built("grpc"));
        command
            .args([&["server", "-listen", "127.0.0.1:0"], args].concat())
            .env("OTEL_SERVICE_NAME", service);
        Target::start(command)
    };
    let cart = grpc("cart", &[]);
    let at = cart.address();
    let (port, at) = (at.port(), at.to_string());
    let front = grpc("front", &["-front", "-to", &at]);
    let front_at = front.address();
    let url = format!("http://{front_at}/items/");
    let agent = Agent::start(crate::watch_targets());
    let client = crate::http_client("client", &url, 600, 50);
    let spans = eventually("a whole trace", || {
        let traces = agent.items(["traces", "--service", "cart"]);
        let id = traces.iter().find(|it| it["services"] == 3)?["trace_id"].as_str()?.to_owned();
        let spans = agent.items(["traces", &id])[0]["spans"].as_array()?.clone();
        (spans.len() == 4).then_some(spans)
    });
    for span in &spans {
        println!("  {} < {:?}: {}", label(span), parent_of(span, &spans), span["attributes"]);
    }
    let of_grpc = |it: &&Value| it["attributes"]["rpc.system"] == "grpc";
    let calls: Vec<&Value> = spans.iter().filter(of_grpc).collect();
    let name = calls[0]["name"].as_str().unwrap();
    let method = name.strip_prefix("truth.Test/").unwrap();
    let got: BTreeSet<_> = calls.iter().map(|it| (parent_of(it, &spans), label(it))).collect();
    let (path, asked) = (format!("GET /items/{}", &method[1..]), format!("front client {name}"));
    let want =
        [(Some(format!("front server {path}")), asked.clone()), (Some(asked), format!("cart server {name}"))];
    assert_eq!(got, BTreeSet::from(want));
    for call in calls {
        let attributes = &call["attributes"];
        let rpc = ["rpc.service", "rpc.method", "rpc.grpc.status_code"].map(|it| attributes[it].clone());
        assert_eq!(rpc, ["truth.Test".into(), method.into(), Value::from(0)]);
        assert_eq!(attributes["server.port"], port);
        assert!(attributes.get("http.request.method").is_none(), "{attributes}");
    }
    let protocols = eventually("the protocols of both edges", || {
        let edges = agent.items(["topology"]);
        let of = |port: u16| {
            edges.iter().find(|it| it["server"]["port"] == port)?["protocol"].as_str().map(str::to_owned)
        };
        Some((of(front_at.port())?, of(port)?))
    });
    assert_eq!(protocols, ("http".to_owned(), "grpc".to_owned()));
    drop(client);
}

#[test]
fn a_request_over_http2_is_one_trace_over_two_processes() {
    require_bpf!();
    let mut command = Command::new(built("http"));
    command.args(["server", "-listen", "127.0.0.1:0", "-http2", "-tls"]);
    let server = Target::start(command);
    let agent = Agent::start(crate::watch_targets());
    crate::wait_for_probes(&agent, server.pid());
    let target = &agent.items(["targets", &server.pid().to_string()])[0];
    let probes = target["probes"].as_array().unwrap();
    assert!(probes.iter().any(|it| it["name"] == "http2 server begin"), "{target}");

    let url = format!("https://{}/echo/", server.address());
    let mut command = crate::http_client_command("asks-by-http2", &url, 1000, 100);
    command.args(["-http2", "-c", "8"]);
    let _client = Target::start(command);
    let spans = eventually("a whole trace of a request", || {
        let traces = agent.items(["traces", "--service", "asks-by-http2"]);
        let id = traces.iter().find(|it| it["services"] == 2)?["trace_id"].as_str()?.to_owned();
        Some(agent.items(["traces", &id])[0]["spans"].as_array()?.clone())
    });
    let kinds: BTreeSet<_> = spans.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["client", "server"]), "{spans:#?}");
    for span in &spans {
        println!("{span}");
        assert_eq!(span["attributes"]["network.protocol.version"], "2", "{span}");
        let parent = parent_of(span, &spans);
        assert_eq!(parent.is_some(), span["kind"] == "server", "{parent:?}");
    }
}

#[test]
fn refused_connects_and_failed_checkouts_are_found() {
    require_bpf!();
    let shop = Shop::open();
    let agent = Agent::start(crate::watch_targets());
    let pages = shop.load(50, 6);
    // Every page asks for the cart, so all of them answer 502 from now on.
    let web = shop.web.pid();
    shop.cart.signal(rustix::process::Signal::KILL);
    pages.rest();
    let findings = eventually("both findings", || {
        let findings: BTreeMap<String, Value> = agent
            .items(["findings"])
            .into_iter()
            .filter(|it| it["target"]["pid"] == web)
            .map(|it| (it["kind"].as_str().unwrap().to_owned(), it))
            .collect();
        ["connect_refused", "http_server_errors"]
            .iter()
            .all(|it| findings.contains_key(*it))
            .then_some(findings)
    });
    for finding in findings.values() {
        println!("{} {}: {} x{}", finding["severity"], finding["kind"], finding["summary"], finding["count"]);
        assert_ne!(finding["count"], 0);
        assert!(finding["next"].as_str().unwrap().starts_with("taskscope "), "{finding}");
    }
}

fn label(span: &Value) -> String {
    ["service", "kind", "name"].map(|it| span[it].as_str().unwrap()).join(" ")
}

fn parent_of(span: &Value, spans: &[Value]) -> Option<String> {
    let id = span["parent_span_id"].as_str()?;
    Some(spans.iter().find(|it| it["span_id"] == id).map_or_else(|| format!("lost {id}"), label))
}
