//! Edges as metrics of the agent: cumulative since [`Edge::counts_since`].
//!
//! An edge that is forgotten and comes back has a later start, as the data model asks of a counter that
//! began anew. A failure class is sent from its first failure on.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics},
};

use super::{
    attribute::{self, scope, text},
    point::{Moment, Name, counter, double, gauge, int, up_down_counter},
    resource,
    service_graph::{self, Spans},
};
use crate::{
    assemble::{
        edge::{BothWays, Counts, Edge, Peer, Vip},
        failure::FailureClass,
        faults::{Closed, Retransmits},
    },
    export::{node::Node, semconv},
};

const BYTES: Name = Name { name: semconv::EDGE_BYTES, unit: "By", description: "Payload, each byte once." };
const PACKETS: Name = Name {
    name: semconv::EDGE_PACKETS,
    unit: "{packet}",
    description: "As they go over the wire, retransmitted ones included.",
};
const CONNECTIONS: Name = Name {
    name: semconv::EDGE_CONNECTIONS,
    unit: "{connection}",
    description: "Connections by what became of them.",
};
const ACTIVE_CONNECTIONS: Name = Name {
    name: semconv::EDGE_ACTIVE_CONNECTIONS,
    unit: "{connection}",
    description: "Connections open now.",
};
const CONNECT_FAILURES: Name = Name {
    name: semconv::EDGE_CONNECT_FAILURES,
    unit: "{connection}",
    description: "Connects that failed, by class.",
};
const RETRANSMITS: Name =
    Name { name: semconv::EDGE_RETRANSMITS, unit: "{packet}", description: "Segments sent again, by cause." };
const CLOSED: Name = Name {
    name: semconv::EDGE_CLOSED,
    unit: "{connection}",
    description: "Established connections that ended, by how.",
};
const RTO_EPISODES: Name = Name {
    name: semconv::EDGE_RTO_EPISODES,
    unit: "{episode}",
    description: "Times that a retransmission timer fired and until data was acknowledged again.",
};
const RTO_TIME: Name = Name {
    name: semconv::EDGE_RTO_TIME,
    unit: "s",
    description: "How long those lasted that have ended, in sum.",
};
const RTT: Name = Name {
    name: semconv::EDGE_RTT,
    unit: "s",
    description: "Smoothed round-trip time of the socket seen last.",
};

/// A request that is one of several may draw a line of the service graph that another draws, too: the same
/// series with the same value.
pub(in crate::export) fn request(
    edges: &[Arc<Edge>],
    spans: Spans,
    node: &Node,
    moment: &Moment,
) -> ExportMetricsServiceRequest {
    let mut points = Points::default();
    for edge in edges {
        points.add(edge, moment);
    }
    let mut metrics = points.into_metrics();
    metrics.extend(service_graph::metric(edges, spans, moment));
    let resource_metrics = vec![ResourceMetrics {
        resource: Some(resource::agent(node)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope(node)),
            metrics,
            schema_url: semconv::SCHEMA_URL.to_owned(),
        }],
        schema_url: semconv::SCHEMA_URL.to_owned(),
    }];
    ExportMetricsServiceRequest { resource_metrics }
}

/// By metric.
#[derive(Default)]
struct Points {
    bytes: Vec<NumberDataPoint>,
    packets: Vec<NumberDataPoint>,
    connections: Vec<NumberDataPoint>,
    active: Vec<NumberDataPoint>,
    failures: Vec<NumberDataPoint>,
    retransmits: Vec<NumberDataPoint>,
    closed: Vec<NumberDataPoint>,
    rto_episodes: Vec<NumberDataPoint>,
    rto_time: Vec<NumberDataPoint>,
    rtt: Vec<NumberDataPoint>,
}

impl Points {
    fn add(&mut self, edge: &Edge, moment: &Moment) {
        let times = moment.times(edge.counts_since);
        let Counts { connections: of, bytes, packets, retransmits, faults } = edge.counts();
        let common = attributes(edge);
        let with = |key, value: &str| [common.clone(), vec![text(key, value)]].concat();

        for (points, BothWays { to_server, to_client }) in
            [(&mut self.bytes, bytes), (&mut self.packets, packets)]
        {
            points.push(int(with(semconv::EDGE_DIRECTION, semconv::TO_SERVER), times, to_server));
            points.push(int(with(semconv::EDGE_DIRECTION, semconv::TO_CLIENT), times, to_client));
        }
        for (outcome, n) in [("opened", of.opened), ("failed", of.failed), ("reset", of.reset)] {
            self.connections.push(int(with(semconv::EDGE_OUTCOME, outcome), times, n));
        }
        let ever = edge.connections;
        let classes = [
            (FailureClass::Refused, ever.refused, of.refused),
            (FailureClass::TimedOut, ever.timed_out, of.timed_out),
            (FailureClass::Abandoned, ever.abandoned, of.abandoned),
            (FailureClass::Unreachable, ever.unreachable, of.unreachable),
            (FailureClass::Reset, ever.connect_reset, of.connect_reset),
            (FailureClass::Other, ever.other, of.other),
        ];
        for (class, _, n) in classes.into_iter().filter(|(_, ever, _)| *ever != 0) {
            let class = semconv::failure_class(class);
            self.failures.push(int(with(semconv::ERROR_TYPE, class), times, n));
        }
        if edge.faults.retried != 0 {
            self.connections.push(int(with(semconv::EDGE_OUTCOME, "retried"), times, faults.retried));
        }
        let now = causes(retransmits, &faults.retransmits);
        for ((cause, ever), (_, n)) in
            causes(edge.network.retransmits, &edge.faults.retransmits).into_iter().zip(now)
        {
            if ever != 0 {
                self.retransmits.push(int(with(semconv::EDGE_CAUSE, cause), times, n));
            }
        }
        for ((how, ever), (_, n)) in ends(&edge.faults.closed).into_iter().zip(ends(&faults.closed)) {
            if ever != 0 {
                self.closed.push(int(with(semconv::EDGE_CAUSE, how), times, n));
            }
        }
        if edge.faults.rto_episodes != 0 {
            self.rto_episodes.push(int(common.clone(), times, faults.rto_episodes));
            self.rto_time.push(double(common.clone(), times, faults.rto.as_secs_f64()));
        }
        if let Some(rtt) = edge.network.rtt {
            self.rtt.push(double(common.clone(), times, rtt.as_secs_f64()));
        }
        self.active.push(int(common, times, ever.active));
    }

    fn into_metrics(self) -> Vec<Metric> {
        type Make = fn(Name, Vec<NumberDataPoint>) -> Metric;
        let metrics: [(Make, Name, Vec<NumberDataPoint>); 10] = [
            (counter, BYTES, self.bytes),
            (counter, PACKETS, self.packets),
            (counter, CONNECTIONS, self.connections),
            (up_down_counter, ACTIVE_CONNECTIONS, self.active),
            (counter, CONNECT_FAILURES, self.failures),
            (counter, RETRANSMITS, self.retransmits),
            (counter, CLOSED, self.closed),
            (counter, RTO_EPISODES, self.rto_episodes),
            (counter, RTO_TIME, self.rto_time),
            (gauge, RTT, self.rtt),
        ];
        metrics
            .into_iter()
            .filter(|(_, _, points)| !points.is_empty())
            .map(|(make, name, points)| make(name, points))
            .collect()
    }
}

/// Of an older kernel, and of sockets before the agent came, only the total is known.
fn causes(total: u64, known: &Retransmits) -> [(&'static str, u64); 7] {
    let Retransmits { syn, fast, rto, slow_start, tlp, other } = *known;
    let unknown = total.saturating_sub(syn + fast + rto + slow_start + tlp + other);
    [
        ("syn", syn),
        ("fast", fast),
        ("rto", rto),
        ("slow_start", slow_start),
        ("tlp", tlp),
        ("other", other),
        ("unknown", unknown),
    ]
}

fn ends(closed: &Closed) -> [(&'static str, u64); 7] {
    let Closed { fin, reset_by_client, reset_by_server, unacknowledged, keepalive, window, other } = *closed;
    [
        ("fin", fin),
        ("reset_by_client", reset_by_client),
        ("reset_by_server", reset_by_server),
        ("unacknowledged", unacknowledged),
        ("keepalive", keepalive),
        ("window", window),
        ("other", other),
    ]
}

/// The identity of a stream of points: what may change while an edge lives, such as how its direction
/// is known, would cut it in two.
fn attributes(edge: &Edge) -> Vec<KeyValue> {
    let mut attributes = vec![
        text(semconv::EDGE_ID, format!("{:016x}", edge.id.0)),
        text(semconv::NETWORK_TRANSPORT, edge.transport.name()),
        attribute::int(semconv::SERVER_PORT, edge.server_port),
    ];
    attributes.push(peer(&edge.client, semconv::CLIENT_SERVICE, semconv::CLIENT_ADDRESS));
    attributes.push(peer(&edge.server, semconv::SERVER_SERVICE, semconv::SERVER_ADDRESS));
    if let Some(Vip { ip, backend_port }) = edge.vip {
        attributes.push(text(semconv::EDGE_VIP_ADDRESS, ip.to_canonical().to_string()));
        attributes.push(attribute::int(semconv::EDGE_BACKEND_PORT, backend_port));
    }
    attributes
}

/// Our processes have a service, everybody else an address.
fn peer(peer: &Peer, service: &str, address: &str) -> KeyValue {
    match peer {
        Peer::Process(process) => text(service, &process.service.name),
        Peer::Address { name: Some(name), .. } => text(address, name),
        Peer::Address { ip, name: None } => text(address, ip.to_canonical().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};

    use super::*;
    use crate::{
        assemble::edge::{Connections, Transport},
        clock::{Clock, Ktime},
        export::testing,
    };

    #[test]
    fn an_edge_in_numbers() {
        let want = "\
taskscope.edge.bytes By sum taskscope.edge.direction=to_server 100
taskscope.edge.bytes By sum taskscope.edge.direction=to_client 2000
taskscope.edge.packets {packet} sum taskscope.edge.direction=to_server 5
taskscope.edge.packets {packet} sum taskscope.edge.direction=to_client 6
taskscope.edge.connections {connection} sum taskscope.edge.outcome=opened 3
taskscope.edge.connections {connection} sum taskscope.edge.outcome=failed 2
taskscope.edge.connections {connection} sum taskscope.edge.outcome=reset 0
taskscope.edge.active_connections {connection} up-down 1
taskscope.edge.connect.failures {connection} sum error.type=refused 2
taskscope.edge.retransmits {packet} sum taskscope.edge.cause=fast 1
taskscope.edge.closed {connection} sum taskscope.edge.cause=fin 2
taskscope.edge.rtt s gauge 0.00025
";
        assert_eq!(lines(&testing::edge()), want);
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let mut edge = testing::edge();
        edge.network.rtt = None;
        edge.connections.refused = 0;
        let got = lines(&edge);
        assert!(!got.contains("rtt") && !got.contains("failures"), "{got}");
    }

    /// A connection moved to another edge with all that it had counted here.
    #[test]
    fn sums_that_would_fall_begin_anew() {
        let mut edge = testing::edge();
        edge.counts_since = Ktime(3_000_000_000);
        let before = Counts {
            connections: Connections { opened: 3, failed: 2, refused: 2, ..Connections::default() },
            bytes: BothWays { to_server: 90, to_client: 2000 },
            packets: edge.packets,
            retransmits: 1,
            faults: edge.faults,
        };
        edge.before = Some(Box::new(before));
        let got = lines(&edge);
        for want in [
            "direction=to_server 10\n",
            "direction=to_client 0\n",
            "outcome=opened 0\n",
            "error.type=refused 0\n",
            "cause=fast 0\n",
            "cause=fin 0\n",
            "active_connections {connection} up-down 1\n",
        ] {
            assert!(got.contains(want), "no {want} in {got}");
        }
    }

    #[test]
    fn udp_is_told_from_tcp() {
        let udp = Edge { transport: Transport::Udp, ..testing::edge() };
        assert!(testing::attributes(&attributes(&udp)).contains("network.transport=udp"));
    }

    #[test]
    fn an_outside_name_beats_its_address() {
        let mut edge = testing::edge();
        assert!(testing::attributes(&attributes(&edge)).ends_with("server.address=10.0.0.9"));
        edge.server = Peer::Address { ip: "10.0.0.9".parse().unwrap(), name: Some("db".to_owned()) };
        assert!(testing::attributes(&attributes(&edge)).ends_with("server.address=db"));
    }

    #[test]
    fn a_vip_is_named_beside_its_server() {
        let mut edge = testing::edge();
        assert!(!testing::attributes(&attributes(&edge)).contains("backend"));
        edge.vip = Some(Vip { ip: "10.96.0.10".parse().unwrap(), backend_port: 7100 });
        let got = testing::attributes(&attributes(&edge));
        let want = "taskscope.edge.vip.address=10.96.0.10 taskscope.edge.backend.port=7100";
        assert!(got.contains("server.port=5432") && got.ends_with(want), "{got}");
    }

    /// What all points share is checked here; the lines say the rest.
    fn lines(edge: &Edge) -> String {
        let clock = Clock::new();
        let now = clock.wall(Ktime(5_000_000_000));
        let moment = Moment::new(clock, now);
        let request = request(&[Arc::new(edge.clone())], Spans::Sent, &testing::node(), &moment);
        let common = "taskscope.edge.id=000000000000beef network.transport=tcp server.port=5432 \
                      taskscope.client.service.name=web \
                      server.address=10.0.0.9";
        let mut lines = String::new();
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let (graph, metrics) = metrics.split_last().unwrap();
        assert_eq!(graph.name, semconv::GRAPH_CONNECTION_INFO);
        for metric in metrics {
            let (kind, points) = match metric.data.as_ref().unwrap() {
                Data::Gauge(it) => ("gauge", &it.data_points),
                Data::Sum(it) => {
                    assert_eq!(
                        it.aggregation_temporality().as_str_name(),
                        "AGGREGATION_TEMPORALITY_CUMULATIVE"
                    );
                    (if it.is_monotonic { "sum" } else { "up-down" }, &it.data_points)
                }
                other => panic!("{other:?}"),
            };
            for point in points {
                assert_eq!(point.start_time_unix_nano, clock.wall(edge.counts_since).0);
                assert_eq!(point.time_unix_nano, now.0);
                let attributes = testing::attributes(&point.attributes);
                let own = attributes.strip_prefix(common).unwrap();
                let value = match point.value.unwrap() {
                    Value::AsInt(it) => it.to_string(),
                    Value::AsDouble(it) => it.to_string(),
                };
                lines += &format!("{} {} {kind}{own} {value}\n", metric.name, metric.unit);
            }
        }
        lines
    }
}
