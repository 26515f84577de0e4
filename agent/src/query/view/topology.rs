//! `taskscope topology`: who talks to whom.

use std::{cmp::Ordering, time::Duration};

use super::{
    Refusal,
    select::Selection,
    shapes,
    sort::{self, Column},
};
use crate::{
    assemble::edge::{self, EdgeId},
    query::{
        proto::{
            BothWays, Connections, Edge, Filter, Network, Requests, Retransmits, Server, TopologyAnswer,
        },
        snapshot::Snapshot,
    },
};

pub(crate) const COLUMNS: &[Column<edge::Edge>] = &[
    ("bytes", |a, b| most(a, b, |it| it.bytes.to_server.saturating_add(it.bytes.to_client))),
    ("connections", |a, b| most(a, b, |it| it.connections.opened)),
    ("active", |a, b| most(a, b, |it| it.connections.active)),
    ("failed", |a, b| most(a, b, |it| it.connections.failed)),
    ("requests", |a, b| most(a, b, |it| it.requests.as_ref().map(|it| it.count))),
    ("errors", |a, b| most(a, b, |it| it.requests.as_ref().map(|it| it.errors))),
    ("p99", |a, b| most(a, b, |it| it.requests.as_ref().and_then(|it| it.latency.quantile(0.99)))),
    ("rtt", |a, b| most(a, b, |it| it.network.rtt)),
    ("retransmits", |a, b| most(a, b, |it| it.network.retransmits)),
    ("last_seen", |a, b| most(a, b, |it| it.last_seen)),
];

pub(crate) fn answer(snapshot: &Snapshot, filter: &Filter) -> Result<TopologyAnswer, Refusal> {
    Ok(TopologyAnswer { items: all(snapshot, filter)?, ..frame(snapshot, filter) })
}

/// The answer without its edges.
pub(crate) fn frame(snapshot: &Snapshot, filter: &Filter) -> TopologyAnswer {
    TopologyAnswer {
        head: Some(shapes::head("topology", snapshot, filter)),
        items: Vec::new(),
        lost: shapes::lost(snapshot),
    }
}

/// The edges that the filter asks for.
pub(crate) fn all(snapshot: &Snapshot, filter: &Filter) -> Result<Vec<Edge>, Refusal> {
    let selection = Selection::new(filter, snapshot)?;
    let asked = filter.edge.as_deref().map(edge_id).transpose()?;
    let mut edges: Vec<_> = snapshot
        .edges
        .iter()
        .map(AsRef::as_ref)
        .filter(|it: &&edge::Edge| asked.is_none_or(|id| it.id == id))
        .filter(|it| selection.time(it.last_seen) && has_process(it, &selection))
        .collect();
    sort::sort_and_cut(&mut edges, COLUMNS, filter)?;
    Ok(edges.into_iter().map(|it| edge(it, snapshot)).collect())
}

/// Largest first; of equals the one with the smaller id, so that tables do not dance.
fn most<T: Ord>(a: &edge::Edge, b: &edge::Edge, key: impl Fn(&edge::Edge) -> T) -> Ordering {
    key(b).cmp(&key(a)).then(a.id.cmp(&b.id))
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

fn edge(edge: &edge::Edge, snapshot: &Snapshot) -> Edge {
    let node = &snapshot.node;
    Edge {
        id: format!("{:016x}", edge.id.0),
        client: Some(shapes::peer(&edge.client, node)),
        server: Some(Server {
            peer: Some(shapes::peer(&edge.server, node)),
            port: u32::from(edge.server_port),
        }),
        transport: "tcp".to_owned(),
        protocol: edge.protocol.map(str::to_owned),
        role_confidence: edge.confidence.name().to_owned(),
        connections: Some(connections(&edge.connections)),
        bytes: Some(both_ways(edge.bytes)),
        packets: Some(both_ways(edge.packets)),
        requests: edge.requests.as_ref().map(requests),
        network: network(edge.network),
        first_seen: snapshot.wall(edge.first_seen).0,
        last_seen: snapshot.wall(edge.last_seen).0,
    }
}

fn connections(connections: &edge::Connections) -> Connections {
    let edge::Connections { opened, failed, refused, timed_out, abandoned, unreachable, reset, active } =
        *connections;
    Connections { opened, failed, refused, timed_out, abandoned, unreachable, reset, active }
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
    use crate::query::samples;

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

    #[track_caller]
    fn check(set: fn(&mut Filter), want: &str) {
        let mut filter = Filter::default();
        set(&mut filter);
        let answer = answer(&samples::snapshot(), &filter).unwrap();
        let ids: Vec<_> = answer.items.iter().map(|it| it.id.trim_start_matches('0')).collect();
        assert_eq!(ids.join(" "), want, "{filter:?}");
    }
}
