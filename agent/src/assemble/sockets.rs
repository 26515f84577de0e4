//! Sockets become connections, connections become figures of edges.
//!
//! seen --(other end seen, or known to be elsewhere, or waited long enough)--> on an edge --closed--> gone
//!
//! Of an end that is elsewhere, or not seen, it is asked where it is (`services`).

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use agent_common::event::{
    packet::Stray,
    sock::{Row, role as kernel_role},
};
use ahash::AHashMap;

use super::{
    address,
    connection::Counted,
    directory::Directory,
    edge::{Network, Transport},
    incident::{self, Incident},
    key::Key,
    live::Live,
    names::Names,
    places::Places,
    requests::Requests,
    role::Role,
    routes::{route, tuples},
    seen::Seen,
    services::{Answer, Knowledge, Question, Services, Subject},
    standstills::Standstills,
    state::DumpKind,
    strays::Strays,
    table::Table,
    topology::{EdgeKey, Topology},
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
/// An end that this many whole dumps in a row did not show has ended unseen.
const MAX_DUMPS_MISSED: u32 = 3;

/// What the sockets need of the rest of the state.
pub(super) struct Surroundings<'a> {
    pub directory: &'a Directory,
    pub topology: &'a mut Topology,
    pub requests: &'a mut Requests,
    pub services: &'a mut Services,
    pub names: &'a mut Names,
    pub vitals: &'a Vitals,
    pub dump_every: Duration,
    pub now: Ktime,
}

impl Surroundings<'_> {
    pub(super) fn grace(&self) -> Duration {
        self.dump_every.saturating_mul(2).saturating_add(GRACE)
    }
}

/// All connections that are open, or not yet accounted for.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    live: Table<Live>,
    /// The server's end of a connection that is older than the agent, where addresses are translated -> its client's.
    halves: AHashMap<Key, Key>,
    changed: Vec<Key>,
    /// For the other end, and since when they are seen. Not looked at before, unless something happens to them.
    waiting: VecDeque<(Ktime, Key)>,
    /// Accounted for and closed, in order; the record of the other end may be under way.
    closed: VecDeque<(Ktime, Key)>,
    pub(super) places: Places,
    strays: Strays,
    /// Since they were taken last.
    incidents: Vec<Incident>,
    standstills: Standstills,
    /// On an edge to an address of which nobody knows whose it is; the other end may still come.
    unresolved: VecDeque<(Ktime, Key)>,
    /// Whole ones that came to their end.
    dumps: u32,
    dump: Option<DumpKind>,
    /// When ends that were not shown were looked for last.
    swept: u32,
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

    /// Where the server of a connection is was asked.
    pub(super) fn answered(&mut self, key: Key, answer: Answer, around: &mut Surroundings<'_>) {
        let Some(live) = self.live.get_mut(&key).filter(|it| it.lone_client().is_some()) else {
            return;
        };
        live.server_is(Knowledge::Known(answer));
        live.may_move = true;
        self.changed.push(key);
        if let Some(half) = live.half(key) {
            self.halves.insert(half, key);
            self.join(key, half, around);
        }
    }

    /// What was seen of the half so far becomes a part of the connection.
    fn join(&mut self, key: Key, half: Key, around: &mut Surroundings<'_>) {
        let Some(other) = self.live.remove(&half) else {
            return;
        };
        if let Some(edge) = other.edge {
            around.topology.take_back(edge, &other.connection.figures(), around.now);
        }
        if let Some(live) = self.live.get_mut(&key) {
            live.join(&other.connection, around.topology);
        }
    }

    /// One that was not ended before was broken off, and counts for nothing.
    pub(super) fn dump_begins(&mut self, kind: DumpKind) {
        self.dump = Some(kind);
        self.places.listeners.begin_anew();
        self.standstills.dump_begins();
    }

    /// What stood still in it is told, from the first time on until it is over: whoever is stuck is in every dump.
    pub(super) fn dump_ends(&mut self, around: &Surroundings<'_>) {
        self.places.listeners.only_new();
        if self.dump.take() == Some(DumpKind::Whole) {
            self.dumps = self.dumps.saturating_add(1);
        }
        for standing in self.standstills.dump_ends(around) {
            let edge = standing.connection.and_then(|key| self.live.get(&key)?.edge);
            self.incidents.push(Incident::stands(&standing, edge.map(EdgeKey::id), around));
        }
    }

    /// Listeners first: they say who is the server of connections that are older than the agent.
    pub(super) fn listener(&mut self, row: &Row, now: Ktime, vitals: &Vitals) {
        let state = &row.state;
        if state.role == kernel_role::LISTENER {
            self.standstills.listener(row, now, vitals);
            let at = (address::ip(state.local), state.local_port);
            self.places.listeners.insert(state.netns, at, Tgid(state.tgid));
        }
    }

    /// `closed`: when that was.
    pub(super) fn socket(&mut self, row: &Row, closed: Option<Ktime>, around: &mut Surroundings<'_>) {
        if row.state.role == kernel_role::LISTENER {
            return;
        }
        let shown_by = self.dumps + u32::from(self.dump == Some(DumpKind::Whole));
        let seen = Seen::new(row, closed, shown_by, &self.places.listeners);
        self.places.seen(seen.end.netns, seen.end.local.0, around.now, around.vitals);
        let key = Key::of(row);
        let key = self.halves.get(&key).copied().unwrap_or(key);
        if closed.is_none() {
            self.standstills.socket(row, &seen.end, key, around);
        }
        let live = self.live.get_mut(&key);
        let known = live.as_ref().and_then(|live| live.connection.known(seen.cookie));
        self.incidents.extend(incident::of(&seen, known, around));
        if let Some(live) = live {
            live.update(&seen, around.topology);
        } else if self.live.len() < MAX_CONNECTIONS || self.forget_closed(around) {
            self.live.insert(key, Live::new(&seen, around.now));
        } else {
            // Once for each: an open one comes again with each whole dump.
            return around.vitals.add(Vital::SocketsNotFollowed, closed.is_some().into());
        }
        self.changed.push(key);
    }

    /// Brings the edges up to date with what changed.
    pub(super) fn settle(&mut self, around: &mut Surroundings<'_>) {
        while let Some((since, key)) = self.waiting.front().copied()
            && around.grace() <= around.now.since(since)
        {
            self.waiting.pop_front();
            self.changed.push(key);
        }
        // After very many, their memory is not kept for ever.
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        for key in std::mem::take(&mut self.changed) {
            self.settle_one(key, around);
        }
        while let Some((at, key)) = self.unresolved.front()
            && around.grace() <= around.now.since(*at)
        {
            if let Some(live) = self.live.get_mut(key) {
                live.tell_unresolved(around.vitals);
            }
            self.unresolved.pop_front();
        }
        while self.closed.front().is_some_and(|(at, _)| around.grace() <= around.now.since(*at)) {
            self.forget_closed(around);
        }
    }

    fn settle_one(&mut self, key: Key, around: &mut Surroundings<'_>) {
        let Some(live) = self.live.get_mut(&key) else {
            return;
        };
        if waits_for_end(live, &self.places, around) {
            return self.waiting.push_back((live.connection.first_seen, key));
        }
        if waits_for_answer(key, live, &self.places, around) {
            return self.changed.push(key);
        }
        account(live, &self.places, around);
        if live.is_unresolved_anew() {
            self.unresolved.push_back((around.now, key));
        }
        if !live.connection.is_closed() {
            return;
        }
        if live.connection.is_paired() || !key.survives_nat() {
            self.over(key, around);
        } else {
            self.closed.push_back((around.now, key));
        }
    }

    /// Nothing can come of it any more: now its edge is known for good.
    fn over(&mut self, key: Key, around: &mut Surroundings<'_>) {
        let Some(mut live) = self.live.remove(&key) else {
            return;
        };
        if let Some(half) = live.half(key) {
            self.halves.remove(&half);
        }
        live.tell_unresolved(around.vitals);
        if let Some(edge) = live.edge
            && let Some(recent) = live.connection.recent(live.backend(), around.now)
        {
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
    pub(super) fn sweep(&mut self, around: &mut Surroundings<'_>) {
        if self.swept != self.dumps {
            self.swept = self.dumps;
            self.end_unseen(around);
        }
        self.places.sweep(around.now);
        self.strays.sweep(around.topology);
    }

    fn end_unseen(&mut self, around: &mut Surroundings<'_>) {
        let oldest = (self.dumps + 1).saturating_sub(MAX_DUMPS_MISSED);
        let changed = &mut self.changed;
        self.live.for_each_mut(|key, live| {
            let n_ended = live.end_unseen(oldest, around.topology);
            if n_ended != 0 {
                around.vitals.add(Vital::SocketsVanished, n_ended);
                changed.push(*key);
            }
        });
    }

    pub(super) fn syn_unanswered(&mut self, stray: &Stray, around: &mut Surroundings<'_>) {
        self.strays.syn_unanswered(stray, &self.places, around);
    }
}

/// Whether the other end must be on this node and has not been seen yet.
fn waits_for_end(live: &Live, places: &Places, around: &Surroundings<'_>) -> bool {
    let connection = &live.connection;
    let is_here = connection.ends().any(|end| places.is_here(end.remote.0))
        || live.backend().is_some_and(|(ip, _)| places.is_here(ip));
    !connection.is_paired() && is_here && around.now.since(connection.first_seen) < around.grace()
}

/// Whether it is not known yet where the server is; asks for it.
fn waits_for_answer(key: Key, live: &mut Live, places: &Places, around: &mut Surroundings<'_>) -> bool {
    let Some(client) = live.lone_client() else {
        return false;
    };
    let mut server = live.server();
    let is_new = server == Knowledge::NotAsked;
    if is_new && places.listener(client.netns, client.remote).is_some() {
        return false;
    }
    let question = Question::new(Transport::Tcp, client.local, client.remote);
    if !client.opened {
        if is_new && !places.is_here(client.remote.0) {
            server = around.services.ask_some_time(key, question, around.now);
            if server == Knowledge::NotAsked {
                server = Knowledge::Known(Answer::Unknown);
                around.vitals.add(Vital::ServersNotAsked, 1);
            }
            live.server_is(server);
        }
        return false;
    }
    let since = live.connection.first_seen.plus(around.grace());
    let about = (Subject::Connection(key), question);
    let waits = around.services.waits(&mut server, about, since, around.now, around.vitals);
    live.server_is(server);
    waits
}

fn account(live: &mut Live, places: &Places, around: &mut Surroundings<'_>) {
    leave_if_elsewhere(live, places, around);
    live.tell_resolved(around);
    let backend = live.backend();
    let connection = &mut live.connection;
    let (edge, before) = match live.edge.and_then(|key| around.topology.get_mut(key)) {
        Some(edge) => (edge, connection.figures()),
        None => {
            let Some(route) = route(connection, backend, places, around.directory) else {
                return;
            };
            let (key, edge) = around.topology.edge(&route, around.now, around.vitals);
            live.edge = Some(key);
            (edge, Counted::default())
        }
    };
    connection.judge();
    edge.add(&before, &connection.figures());
    edge.took(&connection.times());
    edge.last_seen = around.now;
    edge.addresses = connection.sockets(backend).map(|sockets| sockets.map(|(ip, _)| ip));
    if let Some(client) = connection.end(Role::Client) {
        around.names.name(edge, (client.netns, client.local.0), places, around.now);
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

/// The other end turned up, or another process has the socket now: what the connection added to its
/// edge is taken back, to be added to the right one. Requests stay where they were counted.
fn leave_if_elsewhere(live: &mut Live, places: &Places, around: &mut Surroundings<'_>) {
    if !std::mem::take(&mut live.may_move) {
        return;
    }
    let route = route(&live.connection, live.backend(), places, around.directory);
    let (Some(old), Some(route)) = (live.edge, route) else {
        return;
    };
    if around.topology.is_edge_of(old, &route) {
        return;
    }
    around.topology.take_back(old, &live.connection.figures(), around.now);
    (live.edge, live.carries_requests) = (None, false);
}

fn is_go(tgid: Tgid, directory: &Directory) -> bool {
    directory.get(tgid).is_some_and(|known| matches!(known.process.runtime, Runtime::Go(_)))
}
