//! What the tests of this room share.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};

use super::node::Node;
use crate::{
    assemble::{
        edge::{BothWays, Confidence, Connections, Edge, EdgeId, Network, Peer, Transport},
        failure::{ConnectFailure, FailureClass},
        faults::{Closed, Faults, Retransmits},
        network_event::{NetworkEvent, What},
        span::{Batch, JoinedBy, Outcome, Protocol, Side, Span, SpanId, Statement, TraceId},
    },
    clock::{Ktime, Wall},
    targets::process::{NameSource, Process, Runtime, Service, Tgid},
};

pub(super) mod certificates;
pub(super) mod collector;
mod http;
mod services;

pub(super) fn node() -> Node {
    Node {
        name: "node-1".to_owned(),
        version: "1.2.3",
        pid: 7,
        boot_id: "b0071d".to_owned(),
        attributes: Vec::new(),
    }
}

pub(super) fn process(service: &str, tgid: u32) -> Process {
    Process {
        tgid: Tgid(tgid),
        start_ticks: Some(4711),
        started: Wall(1_700_000_000_000_000_000),
        service: Service { name: service.to_owned(), source: NameSource::Executable },
        exe: format!("/usr/bin/{service}"),
        runtime: Runtime::Native,
        container_id: None,
        pod_uid: None,
        systemd_unit: None,
        attributes: Vec::new(),
    }
}

/// A `GET /cart` that was answered with 200 after a millisecond; `n` makes its ids and its goid.
pub(super) fn span(n: u64) -> Span {
    let mut trace_id = [1; 16];
    trace_id[8..].copy_from_slice(&n.to_be_bytes());
    Span {
        trace_id: TraceId(trace_id),
        span_id: SpanId(n.to_be_bytes()),
        parent: None,
        joined_by: JoinedBy::Nothing,
        side: Side::Server,
        protocol: Protocol::Http1(None),
        process: Arc::new(process("cart", 42)),
        began: Ktime(1_000_000_000),
        ended: Ktime(1_001_000_000),
        method: "GET".into(),
        path: "/cart".into(),
        route: None,
        has_query: false,
        host: "shop:8080".into(),
        outcome: Outcome::Status(200),
        local: None,
        peer: None,
        goid: n,
        causes: None,
        statement: None,
    }
}

/// A `SELECT` by `cart` that failed after a millisecond.
pub(super) fn statement(n: u64) -> Span {
    let statement = Statement {
        system: "postgresql",
        operation: Some("SELECT"),
        target: Some("items".into()),
        text: "SELECT a FROM items WHERE b = ?".into(),
        error: Some("*pq.Error".into()),
    };
    let [method, path, host] = [(); 3].map(|()| "".into());
    let (side, outcome) = (Side::Client, Outcome::DriverError);
    Span { side, method, path, host, outcome, statement: Some(Box::new(statement)), ..span(n) }
}

pub(super) fn spans(numbers: impl IntoIterator<Item = u64>) -> Batch {
    Arc::new(numbers.into_iter().map(span).collect())
}

/// A connect of `web` to that port of 10.0.0.9.
pub(super) fn failure(class: FailureClass, port: u16) -> NetworkEvent {
    NetworkEvent { what: What::ConnectFailed(connect_failure(class, port)), span: None }
}

pub(super) fn connect_failure(class: FailureClass, port: u16) -> ConnectFailure {
    ConnectFailure {
        behind: None,
        class,
        client: Some(Arc::new(process("web", 41))),
        server: ([10, 0, 0, 9], port).into(),
        lasted: Some(Duration::from_millis(250)),
        syns: 1,
        at: Ktime(1_000_000_000),
    }
}

/// `key=value key=value`.
pub(super) fn attributes(attributes: &[KeyValue]) -> String {
    let words: Vec<_> = attributes
        .iter()
        .map(|it| match it.value.as_ref().and_then(|it| it.value.as_ref()) {
            Some(Value::StringValue(value)) => format!("{}={value}", it.key),
            Some(Value::IntValue(value)) => format!("{}={value}", it.key),
            Some(Value::BoolValue(value)) => format!("{}={value}", it.key),
            Some(Value::DoubleValue(value)) => format!("{}={value}", it.key),
            other => panic!("{}: {other:?}", it.key),
        })
        .collect();
    words.join(" ")
}

/// From the service `web` to 10.0.0.9:5432.
pub(super) fn edge() -> Edge {
    Edge {
        id: EdgeId(0xbeef),
        client: Peer::Process(Arc::new(process("web", 41))),
        server: Peer::Address { ip: "10.0.0.9".parse().unwrap(), name: None },
        server_port: 5432,
        transport: Transport::Tcp,
        vip: None,
        addresses: None,
        protocol: None,
        confidence: Confidence::Exact,
        connections: Connections { opened: 3, failed: 2, refused: 2, active: 1, ..Connections::default() },
        bytes: BothWays { to_server: 100, to_client: 2000 },
        packets: BothWays { to_server: 5, to_client: 6 },
        requests: None,
        network: Network { rtt: Some(Duration::from_micros(250)), retransmits: 1, ..Network::default() },
        faults: Faults {
            retransmits: Retransmits { fast: 1, ..Retransmits::default() },
            closed: Closed { fin: 2, ..Closed::default() },
            ..Faults::default()
        },
        recent: None,
        first_seen: Ktime(1_000_000_000),
        counts_since: Ktime(1_000_000_000),
        before: None,
        last_seen: Ktime(2_000_000_000),
    }
}
