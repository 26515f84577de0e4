//! `taskscope topology --edge ID`: one edge in full.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use super::{
    Refusal,
    group::{Groups, Row},
    shapes, topology,
};
use crate::{
    assemble::{
        edge::{Edge, Peer},
        recent::{MAX_KEPT, Recent},
    },
    query::{
        proto::{Bucket, EdgeAnswer, EdgeInFull, Filter, RecentConnection, Target},
        snapshot::Snapshot,
    },
    targets::process::Tgid,
};

pub(crate) fn answer(snapshot: &Snapshot, filter: &Filter) -> Result<EdgeAnswer, Refusal> {
    if filter.edge.is_none() {
        return Err(Refusal::BadEdge { given: String::new() });
    }
    let by = topology::by(snapshot, filter)?;
    let rows = topology::asked(snapshot, filter, by)?;
    let mut ends = topology::Ends::new(snapshot, by);
    let mut groups = Groups::new(by);
    let mut in_full = |row| {
        let edge = topology::edge(row, snapshot, &mut ends);
        EdgeInFull { edge: Some(edge), ..details(row, snapshot, &mut groups) }
    };
    let items = rows.iter().map(&mut in_full).collect();
    Ok(EdgeAnswer {
        head: Some(shapes::head("topology", snapshot, None)),
        items,
        lost: shapes::lost(snapshot),
        ends: ends.ends,
        by: by.into(),
    })
}

fn details(row: &Row<'_>, snapshot: &Snapshot, groups: &mut Groups) -> EdgeInFull {
    let edges = snapshot.edges.iter().map(AsRef::as_ref);
    let mut parts: Vec<&Edge> = edges.filter(|edge| groups.id(edge) == row.id).collect();
    parts.sort_by_key(|edge| (Reverse(edge.last_seen), edge.id));
    let mut recents: Vec<_> =
        parts.iter().flat_map(|edge| edge.recent.iter()).flat_map(|recents| recents.iter()).collect();
    recents.sort_by_key(|recent| Reverse(recent.ended));
    recents.truncate(MAX_KEPT);
    let edge = row.edge();
    let requests = edge.requests.iter().flat_map(|it| it.latency.buckets());
    EdgeInFull {
        edge: None,
        merged: parts.len() as u64,
        clients: processes(parts.iter().map(|edge| &edge.client), snapshot),
        servers: processes(parts.iter().map(|edge| &edge.server), snapshot),
        request_latency: requests.map(|(upper, count)| bucket((Some(upper), count))).collect(),
        recent_connections: recents.into_iter().map(|it| connection(it, snapshot)).collect(),
        round_trips: edge.network.round_trips.buckets().map(bucket).collect(),
        connect_times: edge.network.connect_times.buckets().map(bucket).collect(),
    }
}

/// Each once, however often it was described.
fn processes<'a>(peers: impl Iterator<Item = &'a Peer>, snapshot: &Snapshot) -> Vec<Target> {
    let mut known = BTreeSet::new();
    let processes = peers.filter_map(|peer| match peer {
        Peer::Process(process) => known.insert(process.identity()).then_some(process),
        Peer::Address { .. } => None,
    });
    processes.map(|process| shapes::target(process, &snapshot.node)).collect()
}

fn bucket((up_to, count): (Option<Duration>, u64)) -> Bucket {
    Bucket { up_to_seconds: up_to.map(|it| it.as_secs_f64()), count }
}

fn connection(recent: &Recent, snapshot: &Snapshot) -> RecentConnection {
    let pid = |Tgid(tgid): Tgid| (tgid != 0).then_some(tgid);
    let lasted = recent.began.map(|began| recent.ended.since(began));
    RecentConnection {
        client_address: recent.client.0.to_string(),
        client_port: (recent.client.1 != 0).then(|| recent.client.1.into()),
        server_address: recent.server.0.to_string(),
        server_port: recent.server.1.into(),
        client_pid: pid(recent.client_tgid),
        server_pid: pid(recent.server_tgid),
        began: recent.began.map(|began| snapshot.wall(began).0),
        ended: snapshot.wall(recent.ended).0,
        lasted_seconds: lasted.as_ref().map(Duration::as_secs_f64),
        bytes: Some(topology::both_ways(recent.bytes)),
        retransmits: recent.retransmits,
        rtt_seconds: recent.rtt.as_ref().map(Duration::as_secs_f64),
        outcome: recent.outcome.name().to_owned(),
        reset_reason: recent.outcome.reset_reason().map(|it| it.name().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{proto::By, samples};

    #[test]
    fn an_edge_in_full_has_what_its_row_has_and_more() {
        let snapshot = samples::snapshot();
        let item = one(&snapshot, "abc");
        let row = topology::answer(&snapshot, &edge("abc")).unwrap().items.remove(0);
        assert_eq!(item.edge, Some(row));
        assert_eq!((item.merged, item.clients[0].pid, item.servers[0].pid), (1, 41, 77));
        assert_eq!(item.request_latency.iter().map(|it| it.count).sum::<u64>(), 10);
        assert_eq!([item.round_trips.len(), item.connect_times.len()], [16, 16]);
        let ended: Vec<_> = item.recent_connections.iter().map(|it| it.outcome.as_str()).collect();
        assert_eq!(ended, ["closed", "reset"], "the newest first");
    }

    #[test]
    fn the_parts_of_a_sum_are_shown_together() {
        let mut snapshot = samples::snapshot();
        let edges = std::sync::Arc::make_mut(&mut snapshot.edges);
        // The same service once more, on the other side.
        let mut again = Edge::clone(&edges[0]);
        again.id = crate::assemble::edge::EdgeId(7);
        edges.push(std::sync::Arc::new(again));
        let by =
            Filter { by: Some(By::Service.into()), sort: Some("requests".to_owned()), ..Filter::default() };
        let row = topology::answer(&snapshot, &by).unwrap().items.remove(0);
        let item = one(&snapshot, &format!("{:x}", row.id));
        assert_eq!((item.merged, item.clients.len(), item.servers.len()), (2, 1, 1));
        assert_eq!(item.request_latency.iter().map(|it| it.count).sum::<u64>(), 20);
        assert_eq!(item.recent_connections.len(), 4);
    }

    #[test]
    fn an_unknown_edge_is_nothing_and_none_is_refused() {
        assert!(answer(&samples::snapshot(), &edge("123")).unwrap().items.is_empty());
        assert!(matches!(answer(&samples::snapshot(), &Filter::default()), Err(Refusal::BadEdge { .. })));
    }

    fn edge(id: &str) -> Filter {
        Filter { edge: Some(id.to_owned()), ..Filter::default() }
    }

    fn one(snapshot: &Snapshot, id: &str) -> EdgeInFull {
        let mut items = answer(snapshot, &edge(id)).unwrap().items;
        assert_eq!(items.len(), 1);
        items.remove(0)
    }
}
