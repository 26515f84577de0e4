//! Sockets become connections, connections become figures of edges.
//!
//! seen --(other end seen, or known to be elsewhere, or waited long enough)--> on an edge --closed--> gone

use std::{collections::VecDeque, net::IpAddr, sync::Arc, time::Duration};

use agent_common::event::{
    packet::Stray,
    sock::{Row, role as kernel_role},
};
use ahash::AHashMap;

use super::{
    address,
    connection::{Connection, Counted, End, Key, Update},
    directory::Directory,
    edge::{BothWays, Confidence, Edge, Network, Peer, Transport},
    failure::{ConnectFailure, FailureClass},
    incident::{self, Incident},
    names::Names,
    places::Places,
    recent::{Outcome, Recent},
    requests::Requests,
    role::Role,
    routes::{party, route, server_at, tuples},
    strays::Strays,
    topology::{EdgeKey, Route, Topology},
};
use crate::{
    clock::Ktime,
    targets::process::{Runtime, Tgid},
    vitals::{Vital, Vitals},
};

const MAX_CONNECTIONS: usize = 200_000;
/// How long an end waits for the other when that must be on this node: for two dumps, and this. Nobody
/// knows of a translated address that it is here, so an end that has closed is kept for the other as long.
const GRACE: Duration = Duration::from_millis(500);
/// The answer may be read after the connection that it led to, and that after the next dump.
const NAMED_WITHIN: Duration = Duration::from_secs(2);
/// An end that this many whole dumps in a row did not show has ended unseen.
const MAX_DUMPS_MISSED: u64 = 3;

/// What the sockets need of the rest of the state.
pub(super) struct Surroundings<'a> {
    pub directory: &'a Directory,
    pub topology: &'a mut Topology,
    pub requests: &'a mut Requests,
    pub vitals: &'a Vitals,
    pub dump_every: Duration,
    pub now: Ktime,
}

impl Surroundings<'_> {
    pub(super) fn grace(&self) -> Duration {
        self.dump_every.saturating_mul(2).saturating_add(GRACE)
    }
}

#[derive(Debug)]
struct Live {
    connection: Connection,
    edge: Option<EdgeKey>,
    /// Who the ends are has changed since the edge was chosen.
    may_move: bool,
    /// Requests find the edge by the connection's addresses.
    carries_requests: bool,
}

impl Live {
    fn new(end: End, now: Ktime) -> Self {
        Self { connection: Connection::new(end, now), edge: None, may_move: false, carries_requests: false }
    }
}

/// All connections that are open, or not yet accounted for.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    live: AHashMap<Key, Live>,
    changed: Vec<Key>,
    /// Accounted for and closed, in order; the record of the other end may be under way.
    closed: VecDeque<(Ktime, Key)>,
    pub(super) places: Places,
    names: Names,
    strays: Strays,
    /// Since they were taken last.
    incidents: Vec<Incident>,
    dumps: u64,
}

impl Sockets {
    /// Addresses of the interfaces of a namespace; those of sockets are learned.
    pub(super) fn local_addresses(&mut self, netns: u32, addresses: impl IntoIterator<Item = IpAddr>) {
        self.places.given(netns, addresses);
        self.strays.own_netns = Some(netns);
    }

    pub(super) fn take_incidents(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.incidents)
    }

    /// A whole dump begins: listeners are named anew.
    pub(super) fn dump_begins(&mut self) {
        self.dumps += 1;
        self.places.listeners.clear();
    }

    /// Listeners first: they say who is the server of connections that are older than the agent.
    pub(super) fn listener(&mut self, row: &Row) {
        let state = &row.state;
        if state.role == kernel_role::LISTENER {
            let at = (address::ip(state.local), state.local_port);
            self.places.listeners.insert(state.netns, at, Tgid(state.tgid));
        }
    }

    /// `closed`: when that was.
    pub(super) fn socket(&mut self, row: &Row, closed: Option<Ktime>, around: &mut Surroundings<'_>) {
        if row.state.role == kernel_role::LISTENER {
            return;
        }
        let end = End::new(row, closed.is_some(), self.dumps, &self.places.listeners);
        self.places.seen(end.netns, end.local.0, around.now, around.vitals);
        let key = Key::of(row);
        let live = self.live.get_mut(&key);
        let known = live.as_ref().and_then(|live| live.connection.known(end.cookie));
        self.incidents.extend(incident::of(&end, known, around));
        if let Some(live) = live {
            live.may_move |= live.connection.update(end) == Update::Route;
            live.connection.lived(row, closed);
        } else if self.live.len() < MAX_CONNECTIONS || self.forget_closed(around) {
            let mut live = Live::new(end, around.now);
            live.connection.lived(row, closed);
            self.live.insert(key, live);
        } else {
            // Once for each: an open one comes again with each dump.
            return around.vitals.add(Vital::SocketsNotFollowed, closed.is_some().into());
        }
        self.changed.push(key);
    }

    /// Brings the edges up to date with what changed.
    pub(super) fn settle(&mut self, around: &mut Surroundings<'_>) {
        let changed = std::mem::take(&mut self.changed);
        for key in changed {
            let Some(live) = self.live.get_mut(&key) else {
                continue;
            };
            if waits(&live.connection, &self.places, around) {
                self.changed.push(key);
                continue;
            }
            account(live, &self.places, &mut self.names, around);
            if !live.connection.is_closed() {
                continue;
            }
            if live.connection.is_paired() || !key.survives_nat() {
                self.over(key, around);
            } else {
                self.closed.push_back((around.now, key));
            }
        }
        while self.closed.front().is_some_and(|(at, _)| around.grace() <= around.now.since(*at)) {
            self.forget_closed(around);
        }
    }

    /// Nothing can come of it any more: now its edge is known for good.
    fn over(&mut self, key: Key, around: &mut Surroundings<'_>) {
        let Some(Live { connection, edge: Some(edge), .. }) = self.live.remove(&key) else {
            return;
        };
        if let Some(recent) = connection.recent(around.now) {
            around.topology.remember(edge, recent, around.now);
        }
    }

    /// The one that closed first. False when there is none.
    fn forget_closed(&mut self, around: &mut Surroundings<'_>) -> bool {
        let Some((_, key)) = self.closed.pop_front() else {
            return false;
        };
        // The other end may have come since, and be open.
        if self.live.get(&key).is_some_and(|live| live.connection.is_closed()) {
            self.over(key, around);
        }
        true
    }

    /// Ends that no dump showed for a while have ended without a record.
    pub(super) fn sweep(&mut self, around: &Surroundings<'_>) {
        let dumps = self.dumps;
        for (key, live) in &mut self.live {
            for end in live.connection.ends_mut() {
                if !end.closed && end.dump + MAX_DUMPS_MISSED <= dumps {
                    end.closed = true;
                    around.vitals.add(Vital::SocketsVanished, 1);
                    self.changed.push(*key);
                }
            }
        }
        self.places.sweep(around.now);
        self.strays.sweep(around.topology);
    }

    pub(super) fn connect_failed(
        &mut self,
        row: &Row,
        failure: &ConnectFailure,
        around: &mut Surroundings<'_>,
    ) {
        let state = &row.state;
        let client = party(Tgid(state.tgid), address::ip(state.local), around.directory);
        let remote = (failure.server.ip(), failure.server.port());
        let server = server_at(remote, state.netns, &self.places, around.directory);
        let transport = Transport::Tcp;
        let route = Route { client, server, port: remote.1, transport, confidence: Confidence::Exact };
        let (key, edge) = around.topology.edge(&route, around.now, around.vitals);
        let local = (address::ip(state.local), state.local_port);
        edge.addresses = Some([local.0, remote.0]);
        name(edge, (state.netns, local.0), &self.places, &mut self.names, around.now);
        edge.connections.failed += 1;
        match failure.class {
            FailureClass::Refused => edge.connections.refused += 1,
            FailureClass::TimedOut => edge.connections.timed_out += 1,
            FailureClass::Abandoned => edge.connections.abandoned += 1,
            FailureClass::Unreachable => edge.connections.unreachable += 1,
            FailureClass::Reset => edge.connections.connect_reset += 1,
            FailureClass::Other => edge.connections.other += 1,
        }
        let recent = Recent {
            client: local,
            server: remote,
            client_tgid: Tgid(state.tgid),
            server_tgid: Tgid(0),
            began: failure.lasted.map(|lasted| failure.at.minus(lasted)),
            ended: failure.at,
            bytes: BothWays::default(),
            retransmits: failure.syns.saturating_sub(1).into(),
            rtt: None,
            outcome: Outcome::Failed(failure.class),
        };
        around.topology.remember(key, recent, around.now);
    }

    /// What a client was told that addresses are called.
    pub(super) fn told(
        &mut self,
        client: IpAddr,
        name: &Arc<str>,
        addresses: &[(IpAddr, Duration)],
        now: Ktime,
    ) {
        let client = self.places.client(client);
        addresses.iter().for_each(|(ip, ttl)| self.names.add(client, *ip, name, *ttl, now));
    }

    pub(super) fn syn_unanswered(&mut self, stray: &Stray, around: &mut Surroundings<'_>) {
        self.strays.syn_unanswered(stray, &self.places, around);
    }
}

/// Whether the other end must be on this node and has not been seen yet.
fn waits(connection: &Connection, places: &Places, around: &Surroundings<'_>) -> bool {
    let is_here = connection.ends().any(|end| places.is_here(end.remote.0));
    !connection.is_paired() && is_here && around.now.since(connection.first_seen) < around.grace()
}

fn account(live: &mut Live, places: &Places, names: &mut Names, around: &mut Surroundings<'_>) {
    leave_if_elsewhere(live, places, around);
    let connection = &mut live.connection;
    let edge = match live.edge.and_then(|key| around.topology.get_mut(key)) {
        Some(edge) => edge,
        None => {
            let Some(route) = route(connection, places, around.directory) else {
                return;
            };
            let (key, edge) = around.topology.edge(&route, around.now, around.vitals);
            live.edge = Some(key);
            edge
        }
    };
    let figures = connection.figures();
    edge.add(&connection.counted, &figures);
    connection.counted = figures;
    edge.took(&connection.times());
    edge.last_seen = around.now;
    edge.addresses = connection.sockets().map(|sockets| sockets.map(|(ip, _)| ip));
    if let Some(client) = connection.end(Role::Client) {
        name(edge, (client.netns, client.local.0), places, names, around.now);
    }
    if let rtt @ Some(_) = connection.rtt() {
        edge.network = Network { rtt, ..edge.network };
    }
    // Not only at first: a process may turn out to be written in Go after its connection was seen.
    if let Some(key) = live.edge
        && !live.carries_requests
        && connection.ends().any(|end| is_go(end.tgid, around.directory))
    {
        live.carries_requests = true;
        tuples(connection).for_each(|tuple| around.requests.connection(tuple, key));
    }
    if live.carries_requests && connection.is_closed() {
        tuples(connection).for_each(|tuple| around.requests.connection_ended(tuple, around.now));
    }
}

/// Names an end outside as the client was told, while the edge is young: what it is asked for later may be
/// something else at the same address.
fn name(edge: &mut Edge, (netns, ip): (u32, IpAddr), places: &Places, names: &mut Names, now: Ktime) {
    let Peer::Address { ip: server, name: name @ None } = &mut edge.server else {
        return;
    };
    if NAMED_WITHIN < now.since(edge.first_seen) || server.is_loopback() {
        return;
    }
    let mut found = places.clients(netns, ip).find_map(|it| names.get(it, *server, now));
    if found.is_none() && edge.first_seen == now {
        found = places.other_clients(netns, ip).find_map(|it| names.get(it, *server, now));
    }
    *name = found.map(|it| it.to_string());
}

/// The other end turned up, or another process has the socket now: what the connection added to its
/// edge is taken back, to be added to the right one. Requests stay where they were counted.
fn leave_if_elsewhere(live: &mut Live, places: &Places, around: &mut Surroundings<'_>) {
    if !std::mem::take(&mut live.may_move) {
        return;
    }
    let (Some(old), Some(route)) = (live.edge, route(&live.connection, places, around.directory)) else {
        return;
    };
    if around.topology.is_edge_of(old, &route) {
        return;
    }
    around.topology.take_back(old, &live.connection.counted, around.now);
    live.connection.counted = Counted::default();
    (live.edge, live.carries_requests) = (None, false);
}

fn is_go(tgid: Tgid, directory: &Directory) -> bool {
    directory.get(tgid).is_some_and(|known| matches!(known.process.runtime, Runtime::Go(_)))
}
