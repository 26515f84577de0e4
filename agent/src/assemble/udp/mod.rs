//! UDP flows become talks, talks become figures of edges.
//!
//! A row is one way of a talk at one place. It is read again and again, and what came since is added; when the
//! map let it go in between, the rest is known to be lost, because the sum of all is counted apart.

mod behind;
mod owners;
mod talk;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use agent_common::event::udp::{FlowKey, FlowRow, FlowTotals, UdpOwner, place};
use ahash::AHashMap;

pub(super) use self::talk::TalkKey;
use self::{
    owners::Owners,
    talk::{At, EndFacts, Sum, Talk},
};
use super::{
    address,
    connection::Counted,
    edge::{BothWays, Transport},
    places::Places,
    role,
    routes::party,
    sockets::Surroundings,
    state::Wishes,
    topology::{Party, Route},
};
use crate::{clock::Ktime, targets::process::Tgid, vitals::Vital};

/// Some more than the kernel's map holds: what was evicted is kept for some dumps.
const MAX_ROWS: usize = 65_536;
/// Without a packet for so long, a flow is over.
const IDLE: Duration = Duration::from_secs(60);
/// A row that this many whole dumps in a row did not show is gone. One may miss it.
const MAX_DUMPS_MISSED: u64 = 3;
/// Flows that were met within so much of the beginning may be older.
const SETTLE: Duration = Duration::from_secs(2);
/// That the kernel half is asked to forget at once.
const MAX_ENDED: usize = 1024;

#[derive(Debug)]
struct Row {
    talk: TalkKey,
    sender: usize,
    bytes: u64,
    packets: u64,
    first_ktime_ns: u64,
    changed: Ktime,
    dump: u64,
}

/// All talks that are not over.
#[derive(Debug, Default)]
pub(super) struct Udp {
    rows: AHashMap<FlowKey, Row>,
    talks: AHashMap<TalkKey, Talk>,
    /// As servers behind translated addresses have it -> as the client has it.
    halves: AHashMap<TalkKey, TalkKey>,
    owners: Owners,
    /// Which talk fragments of a socket belong to; `None`: it has several between these addresses.
    sockets: AHashMap<(u64, IpAddr, IpAddr), Option<TalkKey>>,
    changed: Vec<TalkKey>,
    wishes: Wishes,
    own_netns: u32,
    since: Option<Ktime>,
    dumps: u64,
    read_bytes: u64,
    unread_bytes: u64,
}

impl Udp {
    /// Where the packet programs are.
    pub(super) fn own_netns(&mut self, netns: u32) {
        self.own_netns = netns;
    }

    pub(super) fn owner(&mut self, record: &UdpOwner, places: &mut Places, around: &Surroundings<'_>) {
        self.owners.add(record, around.now, around.vitals);
        let ip = address::ip(record.local);
        if !ip.is_unspecified() {
            places.seen(record.netns, ip, around.now, around.vitals);
        }
    }

    /// Whose the socket is.
    #[must_use]
    pub(super) fn owner_of(&self, cookie: u64) -> Option<Tgid> {
        self.owners.get(cookie).map(|it| it.tgid)
    }

    /// Takes a whole dump. `totals`: what was counted when it began.
    pub(super) fn rows(
        &mut self,
        rows: &[FlowRow],
        totals: &FlowTotals,
        places: &mut Places,
        around: &mut Surroundings<'_>,
    ) {
        self.dumps += 1;
        // From the first dump on, less a moment: what was there before us may have begun before us.
        self.since.get_or_insert_with(|| around.now.plus(SETTLE));
        let mut rows: Vec<&FlowRow> = rows.iter().collect();
        // Senders first: they tell which addresses are here, and which talk a fragment belongs to.
        rows.sort_by_key(|row| (row.key.place != place::SENT, row.key.source_port == 0));
        rows.iter().for_each(|row| self.row(row, places, around));
        around.vitals.set(Vital::UdpFlows, totals.flows);
        around.vitals.set(Vital::UdpBytes, totals.bytes);
        self.unread_bytes = self.unread_bytes.max(totals.bytes.saturating_sub(self.read_bytes));
        around.vitals.set(Vital::UdpBytesRead, self.read_bytes);
        around.vitals.set(Vital::UdpBytesUnread, self.unread_bytes);
        self.forget(around);
        self.settle(places, around);
    }

    pub(super) fn take_wishes(&mut self) -> Wishes {
        std::mem::take(&mut self.wishes)
    }

    pub(super) fn sweep(&mut self, now: Ktime) {
        self.owners.sweep(now);
    }

    fn row(&mut self, FlowRow { key, count }: &FlowRow, places: &mut Places, around: &Surroundings<'_>) {
        if !matches!(key.place, place::SENT | place::TO_WORKLOAD | place::FROM_OUTSIDE) {
            return around.vitals.add(Vital::RecordsContradictory, 1);
        }
        let from = (address::ip(key.source), key.source_port);
        let to = (address::ip(key.destination), key.destination_port);
        if key.place == place::SENT {
            let netns = self.owners.get(count.cookie).map_or(0, |it| it.netns);
            places.seen(netns, from.0, around.now, around.vitals);
        }
        let (bytes, packets) = match self.rows.get(key) {
            Some(row) if row.first_ktime_ns == count.first_ktime_ns => {
                (count.bytes.saturating_sub(row.bytes), count.packets.saturating_sub(row.packets))
            }
            _ => (count.bytes, count.packets),
        };
        self.read_bytes += bytes;
        if !self.rows.contains_key(key) && MAX_ROWS <= self.rows.len() {
            return around.vitals.add(Vital::UdpFlowsNotFollowed, 1);
        }
        let (talk_key, sender) = match self.rows.get(key) {
            Some(row) => (row.talk, row.sender),
            None => {
                let place = self.place_of(from, to, count.cookie);
                self.whole(place)
            }
        };
        let talk = self.talks.entry(talk_key).or_insert_with(|| Talk::new(around.now));
        let slot = talk.ways[sender].slot(key.place);
        let first = Ktime(count.first_ktime_ns);
        let sum = slot.get_or_insert(Sum { bytes: 0, packets: 0, first, cookie: count.cookie });
        sum.bytes += bytes;
        sum.packets += packets;
        sum.cookie = count.cookie;
        let row = self.rows.entry(*key).or_insert_with(|| {
            talk.rows.push(*key);
            Row {
                talk: talk_key,
                sender,
                bytes: 0,
                packets: 0,
                first_ktime_ns: 0,
                changed: around.now,
                dump: 0,
            }
        });
        if packets != 0 {
            row.changed = around.now;
            self.changed.push(talk_key);
        } else if IDLE <= around.now.since(row.changed) && self.wishes.ended.len() < MAX_ENDED {
            self.wishes.ended.push(*key);
        }
        row.bytes = count.bytes;
        row.packets = count.packets;
        row.first_ktime_ns = count.first_ktime_ns;
        row.dump = self.dumps;
    }

    /// The talk of a new row. A fragment has no ports: it goes with the rest, if its socket has one talk only.
    fn place_of(&mut self, from: At, to: At, cookie: u64) -> (TalkKey, usize) {
        let socket = (cookie, from.0, to.0);
        let (own, sender) = TalkKey::new(from, to);
        if from.1 != 0 || to.1 != 0 {
            if cookie != 0 {
                let known = self.sockets.entry(socket).or_insert(Some(own));
                *known = known.filter(|it| *it == own);
            }
            return (own, sender);
        }
        match self.sockets.get(&socket) {
            Some(Some(talk)) => (*talk, usize::from(talk.ends[0].0 != from.0)),
            _ => (own, sender),
        }
    }

    /// Rows that are gone take their talks along.
    fn forget(&mut self, around: &mut Surroundings<'_>) {
        let dumps = self.dumps;
        let gone: Vec<FlowKey> = self
            .rows
            .iter()
            .filter(|(_, row)| row.dump + MAX_DUMPS_MISSED <= dumps)
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            let Some(row) = self.rows.remove(&key) else {
                continue;
            };
            let Some(talk) = self.talks.get_mut(&row.talk) else {
                continue;
            };
            talk.rows.retain(|it| *it != key);
            if talk.rows.is_empty() {
                self.over(row.talk, around);
            }
        }
    }

    fn over(&mut self, key: TalkKey, around: &mut Surroundings<'_>) {
        let Some(talk) = self.talks.remove(&key) else {
            return;
        };
        let half = talk.behind.map(|it| it.half());
        for way in &talk.ways {
            let cookie = way.sent.map_or(0, |it| it.cookie);
            for [a, b] in [Some(key), half].into_iter().flatten().map(|it| it.ends) {
                self.sockets.remove(&(cookie, a.0, b.0));
                self.sockets.remove(&(cookie, b.0, a.0));
            }
        }
        if let Some(half) = half.filter(|it| self.halves.get(it) == Some(&key)) {
            self.halves.remove(&half);
        }
        if let Some(edge) = talk.edge.and_then(|it| around.topology.get_mut(it)) {
            edge.add(&talk.counted, &Counted { active: 0, ..talk.counted });
        }
    }

    /// Brings the edges up to date with what changed.
    pub(super) fn settle(&mut self, places: &Places, around: &mut Surroundings<'_>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable_by_key(|it| it.ends);
        changed.dedup();
        for key in changed {
            let facts = self.facts(&key, places);
            let Some(talk) = self.talks.get_mut(&key) else {
                continue;
            };
            talk.decide(&key, &facts, self.since.unwrap_or_default());
            let is_known = |sum: &Sum| self.owners.get(sum.cookie).is_some();
            let is_stranger = talk.ways.iter().filter_map(|it| it.sent.as_ref()).any(|it| !is_known(it));
            let waits = is_stranger && around.now.since(talk.first_seen) < around.grace();
            self.wishes.owners |= waits;
            if waits || self.waits_for_answer(&key, &facts, around) {
                self.changed.push(key);
                continue;
            }
            self.account(key, &facts, places, around);
        }
    }

    fn account(
        &mut self,
        key: TalkKey,
        facts: &[EndFacts; 2],
        places: &Places,
        around: &mut Surroundings<'_>,
    ) {
        let Some(talk) = self.talks.get(&key) else {
            return;
        };
        let figures = talk.figures(facts, false);
        let (client, server) = (talk.client(), 1 - talk.client());
        let at = [client, server].map(|end| talk.at(&key, end));
        let route = Route {
            client: self.party(talk, (client, at[0]), places, around),
            server: self.party(talk, (server, at[1]), places, around),
            port: key.ends[server].1,
            transport: Transport::Udp,
            vip: talk.behind.and_then(|it| it.vip(&key, server)),
            confidence: talk.confidence(),
        };
        let netns = talk.ways[client].sent.and_then(|it| self.owners.get(it.cookie)).map(|it| it.netns);
        let Some(talk) = self.talks.get_mut(&key) else {
            return;
        };
        let counted = talk.counted;
        let less = |now: BothWays, before: BothWays| {
            now.to_server < before.to_server || now.to_client < before.to_client
        };
        let falls = less(figures.bytes, counted.bytes) || less(figures.packets, counted.packets);
        if let Some(old) = talk.edge
            && (falls || talk.route != Some(route.key()))
        {
            around.topology.take_back(old, &counted, around.now);
            talk.counted = Counted::default();
            talk.edge = None;
        }
        // Nothing, or all of it is counted elsewhere.
        if figures.packets == talk.counted.packets {
            return;
        }
        let (edge_key, edge) = around.topology.edge(&route, around.now, around.vitals);
        edge.add(&talk.counted, &figures);
        edge.addresses = Some(at.map(|(ip, _)| ip));
        if let Some(netns) = netns {
            around.names.name(edge, (netns, at[0].0), places, around.now);
        }
        talk.counted = figures;
        (talk.edge, talk.route) = (Some(edge_key), Some(route.key()));
    }

    fn facts(&self, key: &TalkKey, places: &Places) -> [EndFacts; 2] {
        let talk = self.talks.get(key);
        [0, 1].map(|end| {
            let at = talk.map_or(key.ends[end], |it| it.at(key, end));
            let sent = talk.and_then(|it| it.ways[end].sent);
            let owner = sent.and_then(|it| self.owners.get(it.cookie));
            let is_open = match owner {
                Some(owner) => !owner.is_connected,
                None => self.open_at(at, places).is_some(),
            };
            EndFacts {
                is_here: places.is_here(at.0),
                has_host_socket: places.is_of(self.own_netns, at.0)
                    && (self.owners.open.owner(self.own_netns, at).is_some() || sent.is_some()),
                is_open: is_open && at.1 != 0 && !role::is_ephemeral(at.1),
            }
        })
    }

    /// The process that has an unconnected socket there.
    fn open_at(&self, at: At, places: &Places) -> Option<Tgid> {
        if at.0.is_loopback() {
            return self.owners.open.owner(self.own_netns, at);
        }
        places.namespaces(at.0).find_map(|netns| self.owners.open.owner(netns, at))
    }

    fn party(
        &self,
        talk: &Talk,
        (end, at): (usize, At),
        places: &Places,
        around: &Surroundings<'_>,
    ) -> Party {
        let sent = talk.ways[end].sent;
        let owner = sent.and_then(|it| self.owners.get(it.cookie)).map(|it| it.tgid);
        match owner.or_else(|| self.open_at(at, places)) {
            Some(tgid) => party(tgid, at.0, around.directory),
            None => Party::Address(at.0),
        }
    }
}
