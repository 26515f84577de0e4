//! Edges, and what is added to them.
//!
//! Bounded. As they fill up, an edge's addresses become: exact -> their network -> anywhere; the last
//! resort is one edge for all. Each step leaves room for the next.

use std::{
    cell::OnceCell,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;

use super::{
    address,
    connection::{Counted, Times},
    directory::{Known, WorkloadId},
    edge::{BothWays, Confidence, Connections, Edge, EdgeId, Edges, Network, Peer, Transport, Vip},
    faults::Faults,
    recent::{Keepers, Recent},
};
use crate::{
    clock::Ktime,
    vitals::{Vital, Vitals},
};

const MAX_EDGES: usize = 10_000;
/// For edges that have a network, below that.
const MAX_NETWORKS: usize = 9_500;
/// For edges with an address that a network can stand for.
const MAX_EXACT: usize = 8_000;
/// Edges without an open connection leave when nothing was said of them for so long.
const MAX_IDLE: Duration = Duration::from_secs(15 * 60);
/// To look at ten thousand edges takes 2 ms, for which whoever asks for them at that moment waits.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// A hash of who talks to whom: each connection has one. The client's port is never in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EdgeKey(NonZeroU64);

impl EdgeKey {
    fn new(ends: [WorkloadId; 2], port: u16, transport: Transport, vip: Option<Vip>) -> Self {
        let [client, server] = ends;
        let mut hasher = DefaultHasher::new();
        (client, server, port, transport, vip).hash(&mut hasher);
        Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
    }

    pub(super) fn id(self) -> EdgeId {
        EdgeId(self.0.get())
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
    pub transport: Transport,
    pub vip: Option<Vip>,
    pub confidence: Confidence,
}

impl Route {
    #[must_use]
    pub(super) fn key(&self) -> EdgeKey {
        let ends = [self.client.workload(), self.server.workload()];
        EdgeKey::new(ends, self.port, self.transport, self.vip)
    }

    /// Whether it has an end that something coarser can stand for.
    fn can_be_folded(&self) -> bool {
        let can = |party: &Party| matches!(party, Party::Address(ip) if !ip.is_loopback());
        let by_vip = self.vip.is_some_and(|vip| !vip.ip.is_loopback());
        can(&self.client) || can(&self.server) || by_vip
    }

    fn folded(&self, fold: impl Fn(IpAddr) -> IpAddr + Copy) -> Self {
        let vip = self.vip.map(|vip| Vip { ip: fold(vip.ip), ..vip });
        Self { client: self.client.folded(fold), server: self.server.folded(fold), vip, ..self.clone() }
    }
}

/// All edges. Snapshots share what did not change.
#[derive(Debug, Default)]
pub(super) struct Topology {
    edges: AHashMap<EdgeKey, Arc<Edge>>,
    keepers: Keepers,
    /// The last snapshot, until something changes.
    kept: OnceCell<Edges>,
    next_sweep: Ktime,
}

impl Topology {
    #[must_use]
    pub(super) fn snapshot(&self) -> Edges {
        Arc::clone(self.kept.get_or_init(|| Arc::new(self.edges.values().map(Arc::clone).collect())))
    }

    /// The edge of `route`, made if there is none, touched.
    pub(super) fn edge(&mut self, route: &Route, now: Ktime, vitals: &Vitals) -> (EdgeKey, &mut Edge) {
        self.kept.take();
        let route = self.room_for(route, vitals);
        let key = route.key();
        let slot = self.edges.entry(key).or_insert_with(|| Arc::new(new_edge(key, &route, now)));
        let edge = Arc::make_mut(slot);
        edge.last_seen = now;
        edge.confidence = edge.confidence.max(route.confidence);
        // Of several processes that share the edge, the one seen last. An address is the same for all.
        for (end, party) in [(&mut edge.client, &route.client), (&mut edge.server, &route.server)] {
            if matches!(party, Party::Known(_)) {
                *end = party.peer();
            }
        }
        (key, edge)
    }

    #[must_use]
    pub(super) fn get_mut(&mut self, key: EdgeKey) -> Option<&mut Edge> {
        self.kept.take();
        self.edges.get_mut(&key).map(Arc::make_mut)
    }

    #[must_use]
    pub(super) fn is_edge_of(&self, key: EdgeKey, route: &Route) -> bool {
        key == route.key()
    }

    /// A connection never belonged there. An edge that has nothing left goes.
    pub(super) fn take_back(&mut self, key: EdgeKey, counted: &Counted, now: Ktime) {
        let Some(edge) = self.get_mut(key) else {
            return;
        };
        edge.subtract(counted);
        edge.count_anew(now);
        if edge.has_nothing()
            && let Some(edge) = self.edges.remove(&key)
        {
            self.keepers.lose(key, &edge);
        }
    }

    /// A connection of the edge ended, or came to nothing.
    pub(super) fn remember(&mut self, key: EdgeKey, recent: Recent, now: Ktime) {
        let Some(edge) = self.edges.get_mut(&key) else {
            return;
        };
        self.kept.take();
        let recents = Arc::make_mut(Arc::make_mut(edge).recent.get_or_insert_default());
        let oldest = self.keepers.touch(key, recents, now);
        recents.push(recent);
        if let Some(oldest) = oldest.and_then(|key| self.get_mut(key)) {
            oldest.recent = None;
        }
    }

    /// The route itself, or a coarser one when there are too many edges.
    fn room_for(&self, route: &Route, vitals: &Vitals) -> Route {
        let fits = |route: &Route, max: usize| self.edges.len() < max || self.has(route.key());
        if fits(route, MAX_EXACT) {
            return route.clone();
        }
        let network = route.folded(address::network);
        let max = if route.can_be_folded() { MAX_NETWORKS } else { MAX_EDGES };
        let fits_network = fits(&network, max);
        if fits_network && network.key() == route.key() {
            return network;
        }
        vitals.add(Vital::EdgesFolded, 1);
        if fits_network {
            return network;
        }
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let known = route.folded(|_| anywhere);
        if fits(&known, MAX_EDGES) {
            return known;
        }
        // Let in whatever the number.
        let other = Party::Address(anywhere);
        let (client, server) = (other.clone(), other);
        Route { client, server, port: 0, vip: None, confidence: Confidence::None, ..*route }
    }

    /// The sockets were looked at: what is open is there.
    pub(super) fn seen(&mut self, now: Ktime) {
        for edge in self.edges.values_mut().filter(|edge| 0 < edge.connections.active) {
            if edge.transport == Transport::Tcp && edge.last_seen < now {
                self.kept.take();
                Arc::make_mut(edge).last_seen = now;
            }
        }
    }

    #[must_use]
    pub(super) fn has(&self, key: EdgeKey) -> bool {
        self.edges.contains_key(&key)
    }

    /// Edges that were idle for long leave.
    pub(super) fn sweep(&mut self, now: Ktime) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now.plus(SWEEP_EVERY);
        let n_edges = self.edges.len();
        let keepers = &mut self.keepers;
        self.edges.retain(|key, edge| {
            let stays = 0 < edge.connections.active || now.since(edge.last_seen) < MAX_IDLE;
            if !stays {
                keepers.lose(*key, edge);
            }
            stays
        });
        if self.edges.len() != n_edges {
            self.kept.take();
        }
    }
}

fn new_edge(key: EdgeKey, route: &Route, now: Ktime) -> Edge {
    Edge {
        id: key.id(),
        client: route.client.peer(),
        server: route.server.peer(),
        server_port: route.port,
        transport: route.transport,
        vip: route.vip,
        addresses: None,
        protocol: None,
        confidence: route.confidence,
        connections: Connections::default(),
        bytes: BothWays::default(),
        packets: BothWays::default(),
        requests: None,
        network: Network::default(),
        faults: Faults::default(),
        recent: None,
        first_seen: now,
        counts_since: now,
        before: None,
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
        let faults = counted.faults.faults();
        less(&mut self.connections.reset, faults.closed.reset());
        less(&mut self.connections.active, counted.active);
        self.faults = self.faults.minus(faults);
    }

    /// Connections that are older than the agent leave bytes, and nothing else, when they close.
    fn has_nothing(&self) -> bool {
        self.connections == Connections::default()
            && self.bytes == BothWays::default()
            && self.packets == BothWays::default()
            && self.network.retransmits == 0
            && self.faults == Faults::default()
            && self.requests.is_none()
    }

    pub(super) fn took(&mut self, times: &Times) {
        times.connect.into_iter().for_each(|it| self.network.connect_times.record(it));
        times.round_trips.into_iter().flatten().for_each(|it| self.network.round_trips.record(it));
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
        let faults = now.faults.faults().minus(before.faults.faults());
        self.connections.reset += faults.closed.reset();
        self.faults = self.faults.plus(faults);
        self.connections.active = (self.connections.active + now.active).saturating_sub(before.active);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assemble::{
            directory::{Directory, tests::process},
            edge::Counts,
            recent::tests::recent,
        },
        targets::process::Tgid,
    };

    fn route(last: u32) -> Route {
        let ip = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + last));
        let server = Party::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Route {
            client: Party::Address(ip),
            server,
            port: 80,
            transport: Transport::Tcp,
            vip: None,
            confidence: Confidence::Exact,
        }
    }

    #[test]
    fn too_many_edges_fold_into_networks_and_are_counted() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        for n in 0..20_000 {
            topology.edge(&route(n), Ktime(0), &vitals);
        }
        // The other 12,000 addresses are in 48 networks, of which the first is an address above, too.
        assert_eq!(topology.edges.len(), MAX_EXACT + 47);
        assert_eq!(vitals.get(Vital::EdgesFolded), 12_000 - 47, "an address .0 stays what it is");
        // None of its addresses ever had an edge of its own.
        assert!(topology.has(route(256 * 70).key()), "10.0.70.0 stands for its addresses");
        assert!(!topology.has(route(256 * 70 + 1).key()));
    }

    #[test]
    fn too_many_networks_become_anywhere_and_processes_stay() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        let mut directory = Directory::default();
        directory.insert(process(1, "/bin/a"), &vitals);
        let known = Party::Known(directory.get(Tgid(1)).unwrap().clone());
        let to = |n: u32, port| Route { server: known.clone(), port, ..route(n) };
        for n in 0..20_000 {
            topology.edge(&to(n * 256, 80), Ktime(0), &vitals);
        }
        assert_eq!(topology.edges.len(), MAX_NETWORKS + 1);
        let (_, edge) = topology.edge(&to(19_999 * 256, 80), Ktime(0), &vitals);
        assert_eq!(edge.client, Peer::Address { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), name: None });
        assert!(matches!(edge.server, Peer::Process(_)) && edge.server_port == 80, "{edge:?}");
        for port in 1000..5000 {
            topology.edge(&to(19_999 * 256, port), Ktime(0), &vitals);
        }
        assert_eq!(topology.edges.len(), MAX_EDGES + 1);
        let other = topology.snapshot().iter().any(|edge| edge.server_port == 0);
        assert!(other, "what fits nowhere is one edge");
    }

    /// Where a proxy takes whatever leaves a pod, each address outside is a service of its own.
    #[test]
    fn services_fold_like_addresses() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        for n in 0..20_000 {
            let ip = IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + n));
            let vip = Some(Vip { ip, backend_port: 15_001 });
            topology.edge(&Route { vip, ..route(1) }, Ktime(0), &vitals);
        }
        assert_eq!((topology.edges.len(), vitals.get(Vital::EdgesFolded)), (MAX_EXACT + 48, 12_000));
    }

    /// Nothing coarser could stand for them.
    #[test]
    fn edges_on_loopback_have_all_the_room() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        let loopback = Party::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for port in 0..MAX_EDGES {
            let port = u16::try_from(port).unwrap();
            topology.edge(&Route { client: loopback.clone(), port, ..route(0) }, Ktime(0), &vitals);
        }
        assert_eq!((topology.edges.len(), vitals.get(Vital::EdgesFolded)), (MAX_EDGES, 0));
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
    fn few_edges_keep_what_ended_and_it_is_those_where_it_was_last() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        for n in 0..2000 {
            topology.edge(&route(n), Ktime(0), &vitals);
        }
        let keeps = |topology: &Topology, n| topology.edges[&route(n).key()].recent.is_some();
        for n in 0..2000 {
            topology.remember(route(n).key(), recent(1), Ktime(n.into()));
            // The first one goes on.
            topology.remember(route(0).key(), recent(2), Ktime(n.into()));
        }
        assert_eq!(topology.keepers.count(), 512);
        assert_eq!(topology.edges.values().filter(|it| it.recent.is_some()).count(), 512);
        assert!(keeps(&topology, 0) && keeps(&topology, 1999) && !keeps(&topology, 1000));

        let snapshot = topology.snapshot();
        let (kept, _) = topology.edge(&route(1999), Ktime(0), &vitals);
        topology.remember(kept, recent(3), Ktime(3000));
        let n_kept = |edge: &Edge| edge.recent.as_ref().map_or(0, |it| it.iter().count());
        let before = snapshot.iter().find(|it| it.id == kept.id()).unwrap();
        assert_eq!((n_kept(before), n_kept(&topology.edges[&kept])), (1, 2));
        topology.sweep(Ktime(0).plus(MAX_IDLE).plus(Duration::from_secs(1)));
        assert_eq!((topology.edges.len(), topology.keepers.count()), (0, 0));
    }

    #[test]
    fn what_was_taken_back_makes_sums_begin_anew() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        let (key, edge) = topology.edge(&route(1), Ktime(5), &vitals);
        edge.connections.failed = 2;
        let counted = |bytes| Counted {
            bytes: BothWays { to_server: bytes, to_client: 0 },
            opened: 1,
            ..Counted::default()
        };
        edge.add(&Counted::default(), &counted(70));
        edge.add(&Counted::default(), &counted(30));
        assert_eq!((edge.counts_since, edge.counts().bytes.to_server), (Ktime(5), 100));

        topology.take_back(key, &counted(30), Ktime(9));
        let edge = topology.get_mut(key).unwrap();
        assert_eq!((edge.bytes.to_server, edge.connections.opened, edge.connections.failed), (70, 1, 2));
        assert_eq!((edge.counts_since, edge.counts()), (Ktime(9), Counts::default()));
        edge.add(&Counted::default(), &counted(7));
        let counts = edge.counts();
        assert_eq!((counts.bytes.to_server, counts.connections.opened, counts.connections.failed), (7, 1, 0));
    }

    #[test]
    fn a_snapshot_does_not_change_any_more() {
        let (mut topology, vitals) = (Topology::default(), Vitals::new());
        topology.edge(&route(1), Ktime(0), &vitals);
        let before = topology.snapshot();
        topology.edge(&route(1), Ktime(9), &vitals).1.bytes.to_server = 7;
        assert_eq!(before[0].bytes.to_server, 0);
        assert_eq!(topology.snapshot()[0].bytes.to_server, 7);
        assert!(Arc::ptr_eq(&topology.snapshot(), &topology.snapshot()), "nothing changed");
        topology.sweep(Ktime(0).plus(MAX_IDLE).plus(Duration::from_secs(1)));
        assert_eq!(topology.snapshot().len(), 0);
    }
}
