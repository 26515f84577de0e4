//! `taskscope topology`: who talks to whom.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ahash::AHashMap;

use super::{
    Refusal,
    select::Selection,
    shapes,
    sort::{self, Amount},
};
use crate::{
    assemble::edge::{self, EdgeId},
    query::{
        proto::{
            BothWays, Connections, Edge, Filter, Network, Peer, Requests, Retransmits, RoleConfidence,
            TopologyAnswer, Transport,
        },
        snapshot::Snapshot,
    },
    targets::process::Process,
};

pub(crate) const COLUMNS: &[Amount<edge::Edge>] = &[
    ("bytes", |it| it.bytes.to_server.saturating_add(it.bytes.to_client)),
    ("connections", |it| it.connections.opened),
    ("active", |it| it.connections.active),
    ("failed", |it| it.connections.failed),
    ("requests", |it| known(it.requests.as_ref().map(|it| it.count))),
    ("errors", |it| known(it.requests.as_ref().map(|it| it.errors))),
    ("p99", |it| known(it.requests.as_ref().and_then(|it| it.latency.quantile(0.99)).map(nanos))),
    ("rtt", |it| known(it.network.rtt.map(nanos))),
    ("retransmits", |it| it.network.retransmits),
    ("last_seen", |it| it.last_seen.0),
];

/// What is not known comes after 0.
fn known(amount: Option<u64>) -> u64 {
    amount.map_or(0, |it| it.saturating_add(1))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn answer(snapshot: &Snapshot, filter: &Filter) -> Result<TopologyAnswer, Refusal> {
    let edges = asked(snapshot, filter)?;
    let mut ends = Ends { node: &snapshot.node, places: AHashMap::new(), peers: Vec::new() };
    Ok(TopologyAnswer {
        head: Some(shapes::head("topology", snapshot, None)),
        items: edges.into_iter().map(|it| edge(it, snapshot, &mut ends)).collect(),
        lost: shapes::lost(snapshot),
        peers: ends.peers,
    })
}

fn asked<'a>(snapshot: &'a Snapshot, filter: &Filter) -> Result<Vec<&'a edge::Edge>, Refusal> {
    let selection = Selection::new(filter, snapshot)?;
    let asked = filter.edge.as_deref().map(edge_id).transpose()?;
    let mut edges: Vec<_> = snapshot
        .edges
        .iter()
        .map(AsRef::as_ref)
        .filter(|it: &&edge::Edge| asked.is_none_or(|id| it.id == id))
        .filter(|it| selection.time(it.last_seen) && has_process(it, &selection))
        .collect();
    sort::largest_and_cut(&mut edges, COLUMNS, |it| it.id.0, filter)?;
    Ok(edges)
}

fn has_process(edge: &edge::Edge, selection: &Selection) -> bool {
    !selection.asks_for_processes()
        || [&edge.client, &edge.server]
            .into_iter()
            .any(|peer| matches!(peer, edge::Peer::Process(process) if selection.process(process)))
}

fn edge_id(given: &str) -> Result<EdgeId, Refusal> {
    match u64::from_str_radix(given, 16) {
        Ok(id) => Ok(EdgeId(id)),
        Err(_) => Err(Refusal::BadEdge { given: given.to_owned() }),
    }
}

/// The ends of edges, each once.
struct Ends<'a> {
    node: &'a str,
    places: AHashMap<EndKey<'a>, u32>,
    peers: Vec<Peer>,
}

#[derive(PartialEq, Eq, Hash)]
enum EndKey<'a> {
    /// By its description, of which a process may have several: before and after it was looked at.
    Process(*const Process),
    Address(IpAddr, Option<&'a str>),
}

impl<'a> Ends<'a> {
    fn place(&mut self, peer: &'a edge::Peer) -> u32 {
        let key = match peer {
            edge::Peer::Process(process) => EndKey::Process(Arc::as_ptr(process)),
            edge::Peer::Address { ip, name } => EndKey::Address(*ip, name.as_deref()),
        };
        *self.places.entry(key).or_insert_with(|| {
            self.peers.push(shapes::peer(peer, self.node));
            u32::try_from(self.peers.len() - 1).expect("there are not that many edges")
        })
    }
}

fn edge<'a>(edge: &'a edge::Edge, snapshot: &Snapshot, ends: &mut Ends<'a>) -> Edge {
    Edge {
        id: edge.id.0,
        client: ends.place(&edge.client),
        server: ends.place(&edge.server),
        server_port: u32::from(edge.server_port),
        transport: Transport::Tcp.into(),
        protocol: edge.protocol.map(str::to_owned),
        role_confidence: confidence(edge.confidence).into(),
        connections: Some(connections(&edge.connections)),
        bytes: Some(both_ways(edge.bytes)),
        packets: Some(both_ways(edge.packets)),
        requests: edge.requests.as_ref().map(|it| Box::new(requests(it))),
        network: network(edge.network).map(Box::new),
        first_seen: snapshot.wall(edge.first_seen).0,
        last_seen: snapshot.wall(edge.last_seen).0,
    }
}

fn confidence(confidence: edge::Confidence) -> RoleConfidence {
    match confidence {
        edge::Confidence::None => RoleConfidence::None,
        edge::Confidence::Port => RoleConfidence::Port,
        edge::Confidence::Service => RoleConfidence::Service,
        edge::Confidence::Listener => RoleConfidence::Listener,
        edge::Confidence::Packet => RoleConfidence::Packet,
        edge::Confidence::Exact => RoleConfidence::Exact,
    }
}

fn connections(connections: &edge::Connections) -> Connections {
    let edge::Connections {
        opened,
        failed,
        refused,
        timed_out,
        abandoned,
        unreachable,
        other,
        reset,
        active,
    } = *connections;
    Connections { opened, failed, refused, timed_out, abandoned, unreachable, other, reset, active }
}

fn both_ways(edge::BothWays { to_server, to_client }: edge::BothWays) -> BothWays {
    BothWays { to_server, to_client }
}

fn requests(requests: &edge::Requests) -> Requests {
    let quantile = |it| requests.latency.quantile(it).as_ref().map(Duration::as_secs_f64);
    Requests {
        count: requests.count,
        errors: requests.errors,
        p50_seconds: quantile(0.5),
        p95_seconds: quantile(0.95),
        p99_seconds: quantile(0.99),
    }
}

/// `None` when no socket told anything.
fn network(edge::Network { rtt, retransmits }: edge::Network) -> Option<Network> {
    let told = rtt.is_some() || retransmits != 0;
    told.then(|| Network {
        rtt_seconds: rtt.as_ref().map(Duration::as_secs_f64),
        retransmits: Some(Retransmits { total: retransmits, ..Retransmits::default() }),
        rto_seconds: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{query::samples, targets::process::Runtime};

    #[test]
    fn an_edge_is_found_by_either_end() {
        check(|_| (), "abc def");
        check(|it| it.pid = Some(41), "abc");
        check(|it| it.service = Some("cart".to_owned()), "abc def");
        check(|it| it.pid = Some(1), "");
        check(|it| it.edge = Some("def".to_owned()), "def");
        check(|it| it.since_ns = Some(2_000_000_000), "abc");
        check(|it| it.sort = Some("failed".to_owned()), "def abc");
    }

    #[test]
    fn what_is_no_edge_is_refused() {
        let filter = Filter { edge: Some("shop".to_owned()), ..Filter::default() };
        assert!(matches!(answer(&samples::snapshot(), &filter), Err(Refusal::BadEdge { .. })));
    }

    #[test]
    fn an_end_of_many_edges_stands_once() {
        let mut snapshot = samples::many_edges(1);
        let edge = edge::Edge::clone(&snapshot.edges[0]);
        // The same process, known better.
        let shop =
            Process { runtime: Runtime::Go("go1.26.9".to_owned()), ..Process::clone(&samples::shop()) };
        let client = edge::Peer::Process(Arc::new(shop));
        let edges = Arc::make_mut(&mut snapshot.edges);
        edges.push(Arc::new(edge::Edge { id: EdgeId(7), ..edge.clone() }));
        edges.push(Arc::new(edge::Edge { id: EdgeId(8), client, ..edge }));
        let answer = answer(&snapshot, &Filter::default()).unwrap();
        let ends: Vec<_> = answer.items.iter().map(|it| (it.client, it.server)).collect();
        assert_eq!((ends, answer.peers.len()), (vec![(0, 1), (0, 1), (2, 1)], 3));
    }

    #[track_caller]
    fn check(set: fn(&mut Filter), want: &str) {
        let mut filter = Filter::default();
        set(&mut filter);
        let answer = answer(&samples::snapshot(), &filter).unwrap();
        let ids: Vec<_> = answer.items.iter().map(|it| format!("{:x}", it.id)).collect();
        assert_eq!(ids.join(" "), want, "{filter:?}");
    }
}
