//! Edges in the words of Tempo's service graph: who talks to whom, without figures.
//!
//! Of spans Tempo draws the graph itself, so an edge with spans is not drawn here; docs/decisions/0006.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};

use super::{
    attribute::text,
    point::{Moment, Name, gauge, int},
};
use crate::{
    assemble::edge::{Edge, Peer},
    clock::Ktime,
    export::semconv,
};

/// A unit would become a part of its name in Prometheus.
const CONNECTION_INFO: Name = Name {
    name: semconv::GRAPH_CONNECTION_INFO,
    unit: "",
    description: "One for each client and server that talk to each other.",
};

/// One line of the graph. Edges that differ only in what the graph does not show are the same line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    client: String,
    server: String,
    virtual_node: Option<&'static str>,
}

/// Whether somebody else draws an edge that has spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum Spans {
    Sent,
    Kept,
}

/// `None`: there is nothing to draw.
pub(super) fn metric(edges: &[Arc<Edge>], spans: Spans, moment: &Moment) -> Option<Metric> {
    let mut lines: BTreeMap<Line, Ktime> = BTreeMap::new();
    for edge in edges.iter().filter(|it| spans == Spans::Kept || it.requests.is_none()) {
        let since = lines.entry(line(edge)).or_insert(edge.first_seen);
        *since = edge.first_seen.min(*since);
    }
    let points: Vec<_> = lines.into_iter().map(|(line, since)| point(line, since, moment)).collect();
    (!points.is_empty()).then(|| gauge(CONNECTION_INFO, points))
}

fn line(edge: &Edge) -> Line {
    let is_process = |it: &Peer| matches!(it, Peer::Process(_));
    let virtual_node = match (is_process(&edge.client), is_process(&edge.server)) {
        (_, false) => Some(semconv::GRAPH_SERVER),
        (false, true) => Some(semconv::GRAPH_CLIENT),
        (true, true) => None,
    };
    Line { client: name(&edge.client).into_owned(), server: name(&edge.server).into_owned(), virtual_node }
}

fn name(peer: &Peer) -> Cow<'_, str> {
    match peer {
        Peer::Process(process) => Cow::Borrowed(&process.service.name),
        Peer::Address { name: Some(name), .. } => Cow::Borrowed(name),
        Peer::Address { ip, name: None } => Cow::Owned(ip.to_canonical().to_string()),
    }
}

fn point(line: Line, since: Ktime, moment: &Moment) -> NumberDataPoint {
    let Line { client, server, virtual_node } = line;
    let connection_type = virtual_node.map_or("", |_| semconv::GRAPH_VIRTUAL_NODE);
    let mut attributes = vec![
        text(semconv::GRAPH_CLIENT, client),
        text(semconv::GRAPH_SERVER, server),
        text(semconv::GRAPH_CONNECTION_TYPE, connection_type),
    ];
    attributes.extend(virtual_node.map(|it| text(semconv::GRAPH_VIRTUAL_NODE, it)));
    int(attributes, moment.times(since), 1)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};

    use super::*;
    use crate::{
        assemble::edge::{EdgeId, Requests},
        clock::Clock,
        export::testing,
    };

    fn process(service: &str) -> Peer {
        Peer::Process(Arc::new(testing::process(service, 41)))
    }

    fn edge(client: Peer, server: Peer, port: u16) -> Arc<Edge> {
        Arc::new(Edge { id: EdgeId(port.into()), client, server, server_port: port, ..testing::edge() })
    }

    fn outside() -> Peer {
        Peer::Address { ip: "::ffff:10.0.0.9".parse().unwrap(), name: None }
    }

    #[test]
    fn who_talks_to_whom() {
        let named = Peer::Address { ip: "10.0.0.8".parse().unwrap(), name: Some("db".to_owned()) };
        let edges = [
            edge(process("web"), process("cart"), 80),
            // Another port is the same line.
            edge(process("web"), process("cart"), 81),
            edge(process("web"), named, 5432),
            edge(outside(), process("web"), 443),
            edge(outside(), outside(), 1),
        ];
        let want = "\
client=10.0.0.9 server=10.0.0.9 connection_type=virtual_node virtual_node=server 1
client=10.0.0.9 server=web connection_type=virtual_node virtual_node=client 1
client=web server=cart connection_type= 1
client=web server=db connection_type=virtual_node virtual_node=server 1
";
        assert_eq!(points(&edges, Spans::Sent), want);
    }

    /// Tempo makes the same line of the spans.
    #[test]
    fn what_spans_draw_is_not_drawn_twice() {
        let with_requests = Edge { requests: Some(Requests::default()), ..testing::edge() };
        let edges = [Arc::new(with_requests), edge(process("web"), process("redis"), 6379)];
        let without = "client=web server=redis connection_type= 1\n";
        assert_eq!(points(&edges, Spans::Sent), without);
        let all = points(&edges, Spans::Kept);
        assert!(all.contains("server=10.0.0.9") && all.contains(without), "{all}");
    }

    fn points(edges: &[Arc<Edge>], spans: Spans) -> String {
        let clock = Clock::new();
        let metric = metric(edges, spans, &Moment::new(clock, clock.wall(Ktime(5)))).unwrap();
        assert_eq!(
            (metric.name.as_str(), metric.unit.as_str()),
            ("traces_service_graph_connection_info", "")
        );
        let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
        let line = |it: &NumberDataPoint| {
            let Some(Value::AsInt(value)) = it.value else { panic!("{it:?}") };
            format!("{} {value}\n", testing::attributes(&it.attributes))
        };
        gauge.data_points.iter().map(line).collect()
    }
}
