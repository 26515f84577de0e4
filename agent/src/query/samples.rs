//! A small shop, for the tests of this room.

use std::{sync::Arc, time::Duration};

use super::snapshot::{
    BinaryView, Exported, ExporterView, Interfaces, Nat, Numbers, ProbeView, Snapshot, TargetView,
};
use crate::{
    assemble::{
        edge::{BothWays, Confidence, Connections, Edge, EdgeId, Network, Peer, Requests, Transport, Vip},
        failure::FailureClass,
        faults::{Closed, Faults, ResetReason, Retransmits},
        histogram::Histogram,
        recent::{self, Recent},
        span::{
            Causes, JoinedBy, Outcome, Protocol, Side, Span, SpanId, Stall, StallOver, Statement, TraceId,
        },
    },
    clock::{Clock, Ktime, Wall},
    config::settings::Signal,
    detect::finding::{Evidence, Finding, FindingKind, Severity},
    targets::process::{NameSource, Process, Runtime, Service, Tgid},
};

/// Of the snapshot. The wall clock of the samples begins with the monotonic one.
pub(crate) const AT: Ktime = Ktime(100_000_000_000);

pub(crate) fn shop() -> Arc<Process> {
    let mut shop = process(41, "shop", Runtime::Go("go1.26.8".to_owned()));
    shop.container_id = Some("0123456789abcdef".repeat(4));
    shop.attributes =
        [("k8s.pod.name", "shop-1"), ("k8s.namespace.name", "prod"), ("k8s.deployment.name", "shop")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    Arc::new(shop)
}

pub(crate) fn cart() -> Arc<Process> {
    Arc::new(process(77, "cart", Runtime::Native))
}

fn process(pid: u32, name: &str, runtime: Runtime) -> Process {
    Process {
        tgid: Tgid(pid),
        start_ticks: Some(100),
        started: Wall(1_000_000_007),
        service: Service { name: name.to_owned(), source: NameSource::Executable },
        exe: format!("/srv/{name}"),
        runtime,
        container_id: None,
        pod_uid: None,
        systemd_unit: None,
        attributes: Vec::new(),
    }
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        node: "node-1".to_owned(),
        version: "0.1.0",
        at: AT,
        clock: Clock::at_offset(0),
        window: Duration::from_secs(300),
        edges: Arc::new(vec![Arc::new(called()), Arc::new(refused())]),
        spans: vec![Arc::new(trace())],
        findings: findings(),
        targets: targets(),
        exporters: [Signal::Traces, Signal::Logs]
            .map(|signal| ExporterView { signal, endpoint: "http://127.0.0.1:4317".to_owned() })
            .into(),
        lost: numbers().lost,
        cpu_ratio: Some(0.0123),
        rss_bytes: None,
    }
}

pub(crate) fn numbers() -> Numbers {
    Numbers {
        uptime: Duration::from_secs(75),
        map_bytes: 12 << 20,
        made: 100,
        delivered: 95,
        events_lost: vec![("http_ring_full", 5), ("undecodable", 0)],
        lost: vec![("http_ring_full", 5), ("undecodable", 0), ("export_queue_full", 2)],
        beats: vec![("kernel", Some(AT.minus(Duration::from_millis(200)))), ("query", None)],
        traces: Exported { queued: Some(3), sent: 40, failed: 1, dropped: 2 },
        metrics: Exported::default(),
        logs: Exported { queued: Some(0), sent: 7, failed: 0, dropped: 0 },
        nat: Nat { by_sequence: 20, by_conntrack: 3, unresolved: 1 },
        interfaces: Interfaces { watched: 4, unknown: 0, behind: 1, clsact: 0 },
    }
}

pub(crate) fn many_edges(n: u64) -> Snapshot {
    let edges = (0..n).map(|id| Arc::new(Edge { id: EdgeId(id), ..called() }));
    Snapshot { edges: Arc::new(edges.collect()), ..snapshot() }
}

fn called() -> Edge {
    let mut latency = Histogram::default();
    for millis in 1..=10 {
        latency.record(Duration::from_millis(millis));
    }
    Edge {
        id: EdgeId(0xabc),
        client: Peer::Process(shop()),
        server: Peer::Process(cart()),
        server_port: 8080,
        transport: Transport::Tcp,
        vip: Some(Vip { ip: [10, 96, 0, 10].into(), backend_port: 7100 }),
        addresses: Some([[10, 1, 0, 1].into(), [10, 1, 0, 2].into()]),
        protocol: Some("http"),
        confidence: Confidence::Exact,
        connections: Connections { opened: 3, active: 1, ..Connections::default() },
        bytes: BothWays { to_server: 34_816, to_client: 2_000_000 },
        packets: BothWays { to_server: 100, to_client: 1500 },
        requests: Some(Requests { count: 10, errors: 1, latency }),
        network: Network { rtt: Some(Duration::from_micros(52)), retransmits: 5, ..Network::default() },
        faults: Faults {
            retransmits: Retransmits { syn: 1, fast: 2, rto: 1, tlp: 1, ..Retransmits::default() },
            retried: 1,
            closed: Closed { fin: 1, unacknowledged: 1, ..Closed::default() },
            rto_episodes: 1,
            rto: Duration::from_millis(1400),
        },
        recent: Some(Arc::new(ended().collect())),
        first_seen: Ktime(90_000_000_000),
        counts_since: Ktime(90_000_000_000),
        before: None,
        last_seen: Ktime(99_000_000_000),
    }
}

fn refused() -> Edge {
    Edge {
        id: EdgeId(0xdef),
        client: Peer::Process(cart()),
        server: Peer::Address { ip: [192, 0, 2, 7].into(), name: None },
        server_port: 5432,
        transport: Transport::Tcp,
        vip: None,
        addresses: Some([[10, 1, 0, 2].into(), [192, 0, 2, 7].into()]),
        protocol: None,
        confidence: Confidence::Exact,
        connections: Connections { failed: 4, refused: 4, ..Connections::default() },
        bytes: BothWays::default(),
        packets: BothWays { to_server: 4, to_client: 4 },
        requests: None,
        network: Network::default(),
        faults: Faults::default(),
        recent: Some(Arc::new(came_to_nothing().collect())),
        first_seen: Ktime(95_000_000_000),
        counts_since: Ktime(95_000_000_000),
        before: None,
        last_seen: Ktime(95_500_000_000),
    }
}

fn ended() -> impl Iterator<Item = Recent> {
    let closed = Recent {
        client: ([10, 1, 0, 1].into(), 40_002),
        server: ([10, 1, 0, 2].into(), 8080),
        client_tgid: Tgid(41),
        server_tgid: Tgid(77),
        began: Some(Ktime(95_000_000_000)),
        ended: Ktime(99_000_000_000),
        bytes: BothWays { to_server: 30_000, to_client: 1_900_000 },
        retransmits: 0,
        rtt: Some(Duration::from_micros(52)),
        outcome: recent::Outcome::Closed,
    };
    let reset = Recent {
        client: ([10, 1, 0, 1].into(), 40_001),
        began: None,
        ended: Ktime(94_000_000_000),
        bytes: BothWays { to_server: 100, to_client: 0 },
        retransmits: 2,
        outcome: recent::Outcome::Reset(Some(ResetReason::Unread)),
        ..closed
    };
    [reset, closed].into_iter()
}

fn came_to_nothing() -> impl Iterator<Item = Recent> {
    (0_u32..4).map(|n| Recent {
        client: ([10, 1, 0, 2].into(), 0),
        server: ([192, 0, 2, 7].into(), 5432),
        client_tgid: Tgid(77),
        server_tgid: Tgid(0),
        began: Some(Ktime(95_000_000_000)),
        ended: Ktime(95_000_500_000 + u64::from(n) * 100_000_000),
        bytes: BothWays::default(),
        retransmits: 0,
        rtt: None,
        outcome: recent::Outcome::Failed(FailureClass::Refused),
    })
}

fn trace() -> Vec<Span> {
    let served = span(1, None, Side::Server, shop(), (10_000, 22_000), 200);
    let mut called = span(2, Some(1), Side::Client, shop(), (12_000, 20_000), 503);
    let over = StallOver { lasted: Duration::from_millis(6), expiries: 2 };
    let stall =
        Stall { fired: called.began.plus(Duration::from_millis(2)), sender: Side::Client, over: Some(over) };
    called.causes = Some(Box::new(Causes { stalls: vec![stall], ..Causes::default() }));
    let answered = span(3, Some(2), Side::Server, cart(), (13_000, 19_000), 503);
    let looked_up = Span {
        outcome: Outcome::DriverError,
        peer: None,
        statement: Some(Box::new(Statement {
            system: "postgresql",
            operation: Some("SELECT"),
            target: Some("items".into()),
            text: "SELECT name FROM items WHERE id = ?".into(),
            error: Some("*pq.Error".into()),
        })),
        ..span(4, Some(3), Side::Client, cart(), (14_000, 18_000), 0)
    };
    // In the order in which they ended, as they come.
    vec![looked_up, answered, called, served]
}

fn span(
    id: u8,
    parent: Option<u8>,
    side: Side,
    process: Arc<Process>,
    micros: (u64, u64),
    status: u16,
) -> Span {
    let at = |micros: u64| AT.minus(Duration::from_secs(5)).plus(Duration::from_micros(micros));
    Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([id; 8]),
        parent: parent.map(|it| SpanId([it; 8])),
        joined_by: JoinedBy::Nothing,
        side,
        protocol: Protocol::Http1(None),
        process,
        began: at(micros.0),
        ended: at(micros.1),
        method: "GET".into(),
        path: "/cart".into(),
        route: None,
        has_query: false,
        host: "cart:8080".into(),
        outcome: Outcome::Status(status),
        local: None,
        peer: Some(([127, 0, 0, 1], 8080).into()),
        goid: 7,
        causes: None,
        statement: None,
    }
}

/// Best first, so that order is seen to be made.
fn findings() -> Vec<Finding> {
    let refused = Finding {
        severity: Severity::Warning,
        kind: FindingKind::ConnectRefused,
        target: None,
        about: "192.0.2.7:5432".to_owned(),
        summary: "4 connects to 192.0.2.7:5432 were refused: nothing listens there".to_owned(),
        evidence: vec![("port", Evidence::Count(5432)), ("refused_ratio", Evidence::Ratio(1.0))],
        count: 4,
        first_seen: Ktime(95_000_000_000),
        last_seen: Ktime(95_500_000_000),
        next: "taskscope topology --pid 77".to_owned(),
        span: None,
    };
    let failing = Finding {
        severity: Severity::Critical,
        kind: FindingKind::HttpServerErrors,
        target: Some(cart()),
        about: String::new(),
        summary: "1 of 1 requests failed with 5xx".to_owned(),
        evidence: vec![
            ("method", Evidence::Text("GET".to_owned())),
            ("within_seconds", Evidence::Seconds(2.5)),
        ],
        count: 1,
        span: Some((TraceId([1; 16]), SpanId([3; 8]))),
        next: "taskscope traces --errors --service cart".to_owned(),
        ..refused.clone()
    };
    vec![refused, failing]
}

fn targets() -> Vec<TargetView> {
    let probe = ProbeView {
        name: "http_server_begin".to_owned(),
        point: "net/http.serverHandler.ServeHTTP+0x4".to_owned(),
        hits_per_second: Some(1200.0),
        ns_per_hit: Some(480.0),
        cpu_ratio: None,
    };
    let binary = BinaryView {
        build_id: Some("c0ffee".to_owned()),
        go_version: Some("go1.26.8".to_owned()),
        stripped: true,
        pie: false,
        offsets_from: "table",
    };
    let refused = ("http_client_end".to_owned(), "no emulated instruction".to_owned());
    let watched =
        TargetView { process: shop(), binary: Some(binary), probes: vec![probe], refused: vec![refused] };
    let plain = TargetView { process: cart(), binary: None, probes: Vec::new(), refused: Vec::new() };
    vec![plain, watched]
}
