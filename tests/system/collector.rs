//! The support itself: what the Collector is sent must come back, also over a restart.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use tests::{Collector, eventually};

#[test]
fn the_collector_keeps_its_ports_and_what_it_received_over_a_restart() {
    let Some(mut collector) = Collector::start() else {
        return;
    };
    let endpoints = (collector.grpc(), collector.http());
    post(&collector, "first");
    collector.stop();
    assert!(TcpStream::connect(address(&collector)).is_err());
    collector.restart();
    assert_eq!((collector.grpc(), collector.http()), endpoints);
    post(&collector, "second");
    let names = eventually("both spans", || {
        let names: Vec<String> = collector.spans().into_iter().map(|it| it.name).collect();
        (names.len() == 2).then_some(names)
    });
    assert_eq!(names, ["first", "second"]);
}

fn post(collector: &Collector, name: &str) {
    let span = serde_json::json!({"traceId": "1".repeat(32), "spanId": "2".repeat(16), "name": name});
    let request = serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string();
    let mut stream = TcpStream::connect(address(collector)).unwrap();
    let head = "POST /v1/traces HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length";
    write!(stream, "{head}: {}\r\n\r\n{request}", request.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.split(' ').nth(1), Some("200"), "{answer}");
}

fn address(collector: &Collector) -> String {
    collector.http().trim_start_matches("http://").to_owned()
}
