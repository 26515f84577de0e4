//! Sockets become connections, connections become figures of edges.
//!
//! seen --(other end seen, or known to be elsewhere, or waited long enough)--> on an edge --closed--> gone

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use agent_common::event::{
    packet::Stray,
    sock::{Row, role as kernel_role},
};
use ahash::{AHashMap, AHashSet};

use super::{
    address,
    connection::{Connection, Counted, End, Key},
    directory::Directory,
    edge::{Confidence, Network},
    failure::{ConnectFailure, FailureClass},
    requests::{Requests, Tuple},
    role::{Listeners, Role},
    topology::{EdgeKey, Party, Route, Topology},
};
use crate::{
    clock::Ktime,
    targets::process::{Runtime, Tgid},
    vitals::{Vital, Vitals},
};

const MAX_CONNECTIONS: usize = 200_000;
const MAX_LOCAL_ADDRESSES: usize = 4096;
/// How long an end waits for the other when that must be on this node: two dumps.
const GRACE: Duration = Duration::from_millis(2500);
/// An end that this many whole dumps in a row did not show has ended unseen.
const MAX_DUMPS_MISSED: u64 = 3;

/// What the sockets need of the rest of the state.
pub(super) struct Surroundings<'a> {
    pub directory: &'a Directory,
    pub topology: &'a mut Topology,
    pub requests: &'a mut Requests,
    pub vitals: &'a Vitals,
    pub now: Ktime,
}

#[derive(Debug)]
struct Live {
    connection: Connection,
    edge: Option<EdgeKey>,
    /// Both ends were seen when the edge was chosen.
    routed_as_pair: bool,
    /// Requests find the edge by the connection's addresses.
    carries_requests: bool,
}

impl Live {
    fn new(end: End, now: Ktime) -> Self {
        Self {
            connection: Connection::new(end, now),
            edge: None,
            routed_as_pair: false,
            carries_requests: false,
        }
    }
}

/// All connections that are open, or not yet accounted for.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    live: AHashMap<Key, Live>,
    changed: Vec<Key>,
    listeners: Listeners,
    local: AHashSet<IpAddr>,
    dumps: u64,
}

impl Sockets {
    /// Addresses of this node's interfaces; those of its sockets are learned.
    pub(super) fn local_addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.local.extend(addresses);
    }

    /// A whole dump begins: listeners are named anew.
    pub(super) fn dump_begins(&mut self) {
        self.dumps += 1;
        self.listeners.clear();
    }

    /// Listeners first: they say who is the server of connections that are older than the agent.
    pub(super) fn listener(&mut self, row: &Row) {
        if row.state.role == kernel_role::LISTENER {
            self.listeners.insert(row.state.netns, row.state.local_port, Tgid(row.state.tgid));
        }
    }

    pub(super) fn socket(&mut self, row: &Row, closed: bool, around: &Surroundings<'_>) {
        if row.state.role == kernel_role::LISTENER {
            return;
        }
        let end = End::new(row, closed, self.dumps, &self.listeners);
        if self.local.len() < MAX_LOCAL_ADDRESSES {
            self.local.insert(end.local.0);
        }
        let key = Key::of(row);
        if let Some(live) = self.live.get_mut(&key) {
            live.connection.update(end);
        } else if self.live.len() < MAX_CONNECTIONS {
            self.live.insert(key, Live::new(end, around.now));
        } else {
            return around.vitals.add(Vital::SocketsNotFollowed, 1);
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
            if waits(&live.connection, &self.local, around.now) {
                self.changed.push(key);
                continue;
            }
            account(live, &self.listeners, &self.local, around);
            if live.connection.is_closed() {
                self.live.remove(&key);
            }
        }
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
        let server = self.server_at(remote, state.netns, around.directory);
        let route = Route { client, server, port: remote.1, confidence: Confidence::Exact };
        let (_, edge) = around.topology.edge(&route, around.now, around.vitals);
        edge.connections.failed += 1;
        match failure.class {
            FailureClass::Refused => edge.connections.refused += 1,
            FailureClass::TimedOut => edge.connections.timed_out += 1,
            FailureClass::Abandoned => edge.connections.abandoned += 1,
            FailureClass::Unreachable => edge.connections.unreachable += 1,
            FailureClass::Other => {}
        }
    }

    /// A SYN from outside to a port where nothing listens. Forwarded packets are not for us.
    pub(super) fn syn_unanswered(&mut self, stray: &Stray, around: &mut Surroundings<'_>) {
        let local = address::ip(stray.local);
        if !self.local.contains(&local) {
            return;
        }
        let client = Party::Address(address::ip(stray.remote));
        let server = Party::Address(local);
        let port = stray.local_port;
        let route = Route { client, server, port, confidence: Confidence::Packet };
        let (_, edge) = around.topology.edge(&route, around.now, around.vitals);
        // Reported at powers of two: the last report was for half as many.
        let more = stray.count - stray.count / 2;
        edge.connections.failed += more;
        edge.connections.refused += more;
    }

    fn server_at(&self, remote: (IpAddr, u16), netns: u32, directory: &Directory) -> Party {
        server_at(remote, netns, &self.listeners, &self.local, directory)
    }
}

/// Whether the other end must be on this node and has not been seen yet.
fn waits(connection: &Connection, local: &AHashSet<IpAddr>, now: Ktime) -> bool {
    let is_here = connection.ends().any(|end| local.contains(&end.remote.0));
    !connection.is_paired() && is_here && now.since(connection.first_seen) < GRACE
}

fn account(live: &mut Live, listeners: &Listeners, local: &AHashSet<IpAddr>, around: &mut Surroundings<'_>) {
    move_if_paired(live, listeners, local, around);
    let connection = &mut live.connection;
    let edge = match live.edge.and_then(|key| around.topology.get_mut(key)) {
        Some(edge) => edge,
        None => {
            let Some(route) = route(connection, listeners, local, around.directory) else {
                return;
            };
            let (key, edge) = around.topology.edge(&route, around.now, around.vitals);
            edge.connections.active += 1;
            live.edge = Some(key);
            live.routed_as_pair = connection.is_paired();
            edge
        }
    };
    let figures = connection.figures();
    edge.add(&connection.counted, &figures);
    connection.counted = figures;
    edge.last_seen = around.now;
    let srtt_us = connection.ends().map(|end| end.srtt_us).find(|srtt_us| *srtt_us != 0);
    if let Some(srtt_us) = srtt_us {
        let rtt = Some(Duration::from_micros(srtt_us.into()));
        edge.network = Network { rtt, ..edge.network };
    }
    if connection.is_closed() {
        edge.connections.active = edge.connections.active.saturating_sub(1);
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

/// The other end turned up after the edge was chosen without it: what was added there moves along.
fn move_if_paired(
    live: &mut Live,
    listeners: &Listeners,
    local: &AHashSet<IpAddr>,
    around: &mut Surroundings<'_>,
) {
    if live.routed_as_pair || !live.connection.is_paired() {
        return;
    }
    let (Some(old), Some(route)) = (live.edge, route(&live.connection, listeners, local, around.directory))
    else {
        return;
    };
    live.routed_as_pair = true;
    if around.topology.is_edge_of(old, &route) {
        return;
    }
    around.topology.take_back(old, &live.connection.counted);
    live.connection.counted = Counted::default();
    (live.edge, live.carries_requests) = (None, false);
}

fn is_go(tgid: Tgid, directory: &Directory) -> bool {
    directory.get(tgid).is_some_and(|known| matches!(known.process.runtime, Runtime::Go(_)))
}

/// The connection as each of its ends names it.
fn tuples(connection: &Connection) -> impl Iterator<Item = Tuple> + '_ {
    let own = |role| connection.end(role).copied();
    let socket = |it: (IpAddr, u16)| SocketAddr::new(it.0, it.1);
    let of_client = own(Role::Client).map(|end| Tuple::new(socket(end.local), socket(end.remote), end.netns));
    let of_server = own(Role::Server).map(|end| Tuple::new(socket(end.remote), socket(end.local), end.netns));
    of_client.into_iter().chain(of_server)
}

fn route(
    connection: &Connection,
    listeners: &Listeners,
    local: &AHashSet<IpAddr>,
    directory: &Directory,
) -> Option<Route> {
    let surest = connection.surest()?;
    let (client, server) = (connection.end(Role::Client), connection.end(Role::Server));
    let own = |end: &End| party(end.tgid, end.local.0, directory);
    let port = match (server, client) {
        (Some(server), _) => server.local.1,
        (None, Some(client)) => client.remote.1,
        (None, None) => return None,
    };
    let client_party = match (client, server) {
        (Some(client), _) => own(client),
        (None, Some(server)) => Party::Address(server.remote.0),
        (None, None) => return None,
    };
    let server_party = match (server, client) {
        // A worker that was forked for this connection may be gone; who listened is the same program.
        (Some(server), _) if directory.get(server.tgid).is_none() => {
            server_at(server.local, server.netns, listeners, local, directory)
        }
        (Some(server), _) => own(server),
        (None, Some(client)) => server_at(client.remote, client.netns, listeners, local, directory),
        (None, None) => return None,
    };
    Some(Route { client: client_party, server: server_party, port, confidence: surest.confidence })
}

/// The process, or where the socket is when the process is not known.
fn party(tgid: Tgid, ip: IpAddr, directory: &Directory) -> Party {
    directory.get(tgid).map_or(Party::Address(ip), |known| Party::Known(known.clone()))
}

/// The listener on this node, or the address.
fn server_at(
    (ip, port): (IpAddr, u16),
    netns: u32,
    listeners: &Listeners,
    local: &AHashSet<IpAddr>,
    directory: &Directory,
) -> Party {
    if local.contains(&ip)
        && let Some(tgid) = listeners.owner(netns, port)
    {
        return party(tgid, ip, directory);
    }
    Party::Address(ip)
}
