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
};
use crate::{
    assemble::edge::{BothWays, Counts, Edge, Peer},
    export::{node::Node, semconv},
};

const BYTES: Name =
    Name { name: semconv::EDGE_BYTES, unit: "By", description: "TCP payload, each byte once." };
const PACKETS: Name = Name {
    name: semconv::EDGE_PACKETS,
    unit: "{packet}",
    description: "TCP segments, retransmitted ones included.",
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
    Name { name: semconv::EDGE_RETRANSMITS, unit: "{packet}", description: "Segments sent again." };
const RTT: Name = Name {
    name: semconv::EDGE_RTT,
    unit: "s",
    description: "Smoothed round-trip time of the socket seen last.",
};

pub(in crate::export) fn request(
    edges: &[Arc<Edge>],
    node: &Node,
    moment: &Moment,
) -> ExportMetricsServiceRequest {
    let mut points = Points::default();
    for edge in edges {
        points.add(edge, moment);
    }
    let resource_metrics = vec![ResourceMetrics {
        resource: Some(resource::agent(node)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope(node)),
            metrics: points.into_metrics(),
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
    rtt: Vec<NumberDataPoint>,
}

impl Points {
    fn add(&mut self, edge: &Edge, moment: &Moment) {
        let times = moment.times(edge.counts_since);
        let Counts { connections: of, bytes, packets, retransmits } = edge.counts();
        let common = attributes(edge);
        let with = |key, value: &str| [common.clone(), vec![text(key, value)]].concat();

        for (points, BothWays { to_server, to_client }) in
            [(&mut self.bytes, bytes), (&mut self.packets, packets)]
        {
            points.push(int(with(semconv::EDGE_DIRECTION, "to_server"), times, to_server));
            points.push(int(with(semconv::EDGE_DIRECTION, "to_client"), times, to_client));
        }
        for (outcome, n) in [("opened", of.opened), ("failed", of.failed), ("reset", of.reset)] {
            self.connections.push(int(with(semconv::EDGE_OUTCOME, outcome), times, n));
        }
        let ever = edge.connections;
        let classes = [
            ("refused", ever.refused, of.refused),
            ("timed_out", ever.timed_out, of.timed_out),
            ("abandoned", ever.abandoned, of.abandoned),
            ("unreachable", ever.unreachable, of.unreachable),
            ("other", ever.other, of.other),
        ];
        for (class, _, n) in classes.into_iter().filter(|(_, ever, _)| *ever != 0) {
            self.failures.push(int(with(semconv::ERROR_TYPE, class), times, n));
        }
        if let Some(rtt) = edge.network.rtt {
            self.rtt.push(double(common.clone(), times, rtt.as_secs_f64()));
        }
        self.active.push(int(common.clone(), times, ever.active));
        self.retransmits.push(int(common, times, retransmits));
    }

    fn into_metrics(self) -> Vec<Metric> {
        type Make = fn(Name, Vec<NumberDataPoint>) -> Metric;
        let metrics: [(Make, Name, Vec<NumberDataPoint>); 7] = [
            (counter, BYTES, self.bytes),
            (counter, PACKETS, self.packets),
            (counter, CONNECTIONS, self.connections),
            (up_down_counter, ACTIVE_CONNECTIONS, self.active),
            (counter, CONNECT_FAILURES, self.failures),
            (counter, RETRANSMITS, self.retransmits),
            (gauge, RTT, self.rtt),
        ];
        metrics
            .into_iter()
            .filter(|(_, _, points)| !points.is_empty())
            .map(|(make, name, points)| make(name, points))
            .collect()
    }
}

/// The identity of a stream of points: what may change while an edge lives, such as how its direction
/// is known, would cut it in two.
fn attributes(edge: &Edge) -> Vec<KeyValue> {
    let mut attributes = vec![
        text(semconv::EDGE_ID, format!("{:016x}", edge.id.0)),
        text(semconv::NETWORK_TRANSPORT, "tcp"),
        attribute::int(semconv::SERVER_PORT, edge.server_port),
    ];
    attributes.push(peer(&edge.client, semconv::CLIENT_SERVICE, semconv::CLIENT_ADDRESS));
    attributes.push(peer(&edge.server, semconv::SERVER_SERVICE, semconv::SERVER_ADDRESS));
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
        assemble::edge::Connections,
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
taskscope.edge.retransmits {packet} sum 1
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
        };
        edge.before = Some(Box::new(before));
        let got = lines(&edge);
        for want in [
            "direction=to_server 10\n",
            "direction=to_client 0\n",
            "outcome=opened 0\n",
            "error.type=refused 0\n",
            "active_connections {connection} up-down 1\n",
        ] {
            assert!(got.contains(want), "no {want} in {got}");
        }
    }

    #[test]
    fn an_outside_name_beats_its_address() {
        let mut edge = testing::edge();
        assert!(testing::attributes(&attributes(&edge)).ends_with("server.address=10.0.0.9"));
        edge.server = Peer::Address { ip: "10.0.0.9".parse().unwrap(), name: Some("db".to_owned()) };
        assert!(testing::attributes(&attributes(&edge)).ends_with("server.address=db"));
    }

    /// What all points share is checked here; the lines say the rest.
    fn lines(edge: &Edge) -> String {
        let clock = Clock::new();
        let now = clock.wall(Ktime(5_000_000_000));
        let moment = Moment::new(clock, now);
        let request = request(&[Arc::new(edge.clone())], &testing::node(), &moment);
        let common = "taskscope.edge.id=000000000000beef network.transport=tcp server.port=5432 \
                      taskscope.client.service.name=web \
                      server.address=10.0.0.9";
        let mut lines = String::new();
        for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
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
