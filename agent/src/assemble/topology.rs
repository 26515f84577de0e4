//! Edges, and what is added to them. Bounded: beyond, addresses are folded into their networks.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;

use super::{
    address,
    connection::Counted,
    directory::{Known, WorkloadId},
    edge::{BothWays, Confidence, Connections, Edge, EdgeId, Network, Peer},
};
use crate::{
    clock::Ktime,
    vitals::{Vital, Vitals},
};

const MAX_EDGES: usize = 10_000;
/// Edges without traffic leave after this.
const MAX_IDLE: Duration = Duration::from_secs(15 * 60);

/// The client's port is never in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EdgeKey {
    client: WorkloadId,
    server: WorkloadId,
    port: u16,
}

impl EdgeKey {
    fn id(self) -> EdgeId {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        EdgeId(hasher.finish())
    }
}

/// One end, on the way to become a [`Peer`].
#[derive(Clone, Debug)]
pub(super) enum Party {
    Known(Known),
    Address(IpAddr),
}

impl Party {
    fn workload(&self) -> WorkloadId {
        match self {
            Self::Known(known) => known.workload,
            Self::Address(ip) => WorkloadId::of_address(*ip),
        }
    }

    fn peer(&self) -> Peer {
        match self {
            Self::Known(known) => Peer::Process(Arc::clone(&known.process)),
            Self::Address(ip) => Peer::Address { ip: *ip, name: None },
        }
    }

    fn folded(&self, fold: impl Fn(IpAddr) -> IpAddr) -> Self {
        match self {
            Self::Known(known) => Self::Known(known.clone()),
            Self::Address(ip) => Self::Address(fold(*ip)),
        }
    }
}

/// What to say of an edge besides numbers.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub client: Party,
    pub server: Party,
    pub port: u16,
    pub confidence: Confidence,
}

impl Route {
    fn key(&self) -> EdgeKey {
        EdgeKey { client: self.client.workload(), server: self.server.workload(), port: self.port }
    }

    fn folded(&self, fold: impl Fn(IpAddr) -> IpAddr + Copy) -> Self {
        Self { client: self.client.folded(fold), server: self.server.folded(fold), ..self.clone() }
    }
}

/// All edges. Snapshots share what did not change.
#[derive(Debug, Default)]
pub(super) struct Topology {
    edges: AHashMap<EdgeKey, Arc<Edge>>,
}

impl Topology {
    #[must_use]
    pub(super) fn snapshot(&self) -> Vec<Arc<Edge>> {
        self.edges.values().map(Arc::clone).collect()
    }

    /// The edge of `route`, made if there is none, touched.
    pub(super) fn edge(&mut self, route: &Route, now: Ktime, vitals: &Vitals) -> (EdgeKey, &mut Edge) {
        let route = self.room_for(route, vitals);
        let key = route.key();
        let slot = self.edges.entry(key).or_insert_with(|| Arc::new(new_edge(key, &route, now)));
        let edge = Arc::make_mut(slot);
        edge.last_seen = now;
        edge.confidence = edge.confidence.max(route.confidence);
        // Of several processes that share the edge, the one seen last.
        edge.client = route.client.peer();
        edge.server = route.server.peer();
        (key, edge)
    }

    #[must_use]
    pub(super) fn get_mut(&mut self, key: EdgeKey) -> Option<&mut Edge> {
        self.edges.get_mut(&key).map(Arc::make_mut)
    }

    #[must_use]
    pub(super) fn is_edge_of(&self, key: EdgeKey, route: &Route) -> bool {
        key == route.key()
    }

    /// One open connection never belonged there. An edge that has nothing left goes.
    pub(super) fn take_back(&mut self, key: EdgeKey, counted: &Counted) {
        let Some(edge) = self.get_mut(key) else {
            return;
        };
        edge.connections.active = edge.connections.active.saturating_sub(1);
        edge.subtract(counted);
        let nothing = Connections::default();
        if edge.connections == nothing && edge.requests.is_none() {
            self.edges.remove(&key);
        }
    }

    /// The route itself, or a coarser one when there are too many edges.
    fn room_for(&self, route: &Route, vitals: &Vitals) -> Route {
        let fits = |route: &Route| self.edges.len() < MAX_EDGES || self.edges.contains_key(&route.key());
        if fits(route) {
            return route.clone();
        }
        vitals.add(Vital::EdgesFolded, 1);
        let network = route.folded(address::network);
        if fits(&network) {
            return network;
        }
        // The last resort is one edge for all, which is let in whatever the number.
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let other = Party::Address(anywhere);
        Route { client: other.clone(), server: other, port: 0, confidence: Confidence::None }
    }

    /// Edges that were idle for long leave.
    pub(super) fn sweep(&mut self, now: Ktime) {
        self.edges.retain(|_, edge| 0 < edge.connections.active || now.since(edge.last_seen) < MAX_IDLE);
    }
}

fn new_edge(key: EdgeKey, route: &Route, now: Ktime) -> Edge {
    Edge {
        id: key.id(),
        client: route.client.peer(),
        server: route.server.peer(),
        server_port: route.port,
        protocol: None,
        confidence: route.confidence,
        connections: Connections::default(),
        bytes: BothWays::default(),
        packets: BothWays::default(),
        requests: None,
        network: Network::default(),
        first_seen: now,
        last_seen: now,
    }
}

impl Edge {
    fn subtract(&mut self, counted: &Counted) {
        let less = |value: &mut u64, by: u64| *value = value.saturating_sub(by);
        less(&mut self.bytes.to_server, counted.bytes.to_server);
        less(&mut self.bytes.to_client, counted.bytes.to_client);
        less(&mut self.packets.to_server, counted.packets.to_server);
        less(&mut self.packets.to_client, counted.packets.to_client);
        less(&mut self.network.retransmits, counted.retransmits);
        less(&mut self.connections.opened, counted.opened);
        less(&mut self.connections.reset, counted.reset);
    }

    /// Adds what came since `before`.
    pub(super) fn add(&mut self, before: &Counted, now: &Counted) {
        let more = |now: u64, before: u64| now.saturating_sub(before);
        self.bytes.to_server += more(now.bytes.to_server, before.bytes.to_server);
        self.bytes.to_client += more(now.bytes.to_client, before.bytes.to_client);
        self.packets.to_server += more(now.packets.to_server, before.packets.to_server);
        self.packets.to_client += more(now.packets.to_client, before.packets.to_client);
        self.network.retransmits += more(now.retransmits, before.retransmits);
        self.connections.opened += more(now.opened, before.opened);
        self.connections.reset += more(now.reset, before.reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(last: u32) -> Route {
        let ip = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + last));
        let server = Party::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Route { client: Party::Address(ip), server, port: 80, confidence: Confidence::Exact }
    }

    #[test]
    fn too_many_edges_fold_into_networks_and_are_counted() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        for n in 0..20_000 {
            topology.edge(&route(n), Ktime(0), &vitals);
        }
        assert!(topology.edges.len() <= MAX_EDGES + 1, "{}", topology.edges.len());
        assert_eq!(vitals.get(Vital::EdgesFolded), 10_000);
        let other = topology.snapshot().into_iter().find(|edge| edge.server_port == 0);
        assert!(other.is_some(), "what fits nowhere is one edge");
    }

    #[test]
    fn idle_edges_leave_and_busy_ones_stay() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        topology.edge(&route(1), Ktime(0), &vitals);
        let (_, busy) = topology.edge(&route(2), Ktime(0), &vitals);
        busy.connections.active = 1;
        topology.sweep(Ktime(0).plus(MAX_IDLE).plus(Duration::from_secs(1)));
        assert_eq!(topology.edges.len(), 1);
    }

    #[test]
    fn a_snapshot_does_not_change_any_more() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        topology.edge(&route(1), Ktime(0), &vitals);
        let before = topology.snapshot();
        topology.edge(&route(1), Ktime(9), &vitals).1.bytes.to_server = 7;
        assert_eq!(before[0].bytes.to_server, 0);
        assert_eq!(topology.snapshot()[0].bytes.to_server, 7);
    }
}
