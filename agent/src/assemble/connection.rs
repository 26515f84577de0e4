//! One TCP connection, of which one end or both are seen.

use std::{net::IpAddr, time::Duration};

use agent_common::event::sock::{Row, flag};

use super::{
    address,
    edge::{BothWays, Confidence},
    places::Listeners,
    recent::{Outcome, Recent},
    role::{self, Role},
};
use crate::{clock::Ktime, targets::process::Tgid};

/// Which connection a socket belongs to, the same from both ends.
///
/// By initial sequence numbers, which NAT does not change; a connection older than the agent has none
/// and goes by its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Isns(u32, u32),
    Tuple { low: (IpAddr, u16), high: (IpAddr, u16), netns: u32 },
}

impl Key {
    #[must_use]
    pub(super) fn of(row: &Row) -> Self {
        let state = &row.state;
        if state.flags & flag::SEEDED == 0 {
            let (a, b) = (state.local_isn, state.remote_isn);
            return Self::Isns(a.min(b), a.max(b));
        }
        let a = (address::ip(state.local), state.local_port);
        let b = (address::ip(state.remote), state.remote_port);
        // Loopback addresses mean something else in each namespace.
        let netns = if a.0.is_loopback() { state.netns } else { 0 };
        Self::Tuple { low: a.min(b), high: a.max(b), netns }
    }

    /// Whether the other end has the same key where addresses are translated in between.
    #[must_use]
    pub(super) fn survives_nat(self) -> bool {
        matches!(self, Self::Isns(..))
    }
}

/// One socket, as seen last.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub cookie: u64,
    pub tgid: Tgid,
    pub netns: u32,
    pub role: Role,
    pub confidence: Confidence,
    pub local: (IpAddr, u16),
    pub remote: (IpAddr, u16),
    pub sent_bytes: u64,
    pub received_bytes: u64,
    segments: Segments,
    /// What `segments` was when the socket was first seen, if that is older than the agent.
    base: Segments,
    pub srtt_us: u32,
    /// Its handshake was completed under observation.
    pub opened: bool,
    pub closed: bool,
    pub reset: bool,
    /// Number of the dump that showed it last.
    pub dump: u64,
}

/// The kernel counts them from the socket's birth, and the kernel half keeps no base as of bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Segments {
    sent: u64,
    received: u64,
    retransmits: u64,
}

impl End {
    #[must_use]
    pub(super) fn new(row: &Row, closed: bool, dump: u64, listeners: &Listeners) -> Self {
        let Row { cookie, state, figures } = row;
        let (role, confidence) = role::decide(state, listeners);
        let segments = Segments {
            sent: figures.segments_out.into(),
            received: figures.segments_in.into(),
            retransmits: figures.retransmits.into(),
        };
        let is_seeded = state.flags & flag::SEEDED != 0;
        let is_reset = |error: u16| matches!(i32::from(error), libc::ECONNRESET | libc::EPIPE);
        Self {
            cookie: *cookie,
            tgid: Tgid(state.tgid),
            netns: state.netns,
            role,
            confidence,
            local: (address::ip(state.local), state.local_port),
            remote: (address::ip(state.remote), state.remote_port),
            sent_bytes: figures.sent_bytes.saturating_sub(state.base_sent_bytes),
            received_bytes: figures.received_bytes.saturating_sub(state.base_received_bytes),
            segments,
            base: if is_seeded { segments } else { Segments::default() },
            srtt_us: figures.srtt_us,
            opened: !is_seeded,
            closed,
            reset: closed && is_reset(state.close_error),
            dump,
        }
    }

    /// The same socket again, with what was known better before.
    fn after(self, known: &Self) -> Self {
        // A better source replaces a worse one, never the reverse: a listener may be gone by now.
        let (role, confidence) = if known.confidence < self.confidence {
            (self.role, self.confidence)
        } else {
            (known.role, known.confidence)
        };
        let tgid = if self.tgid == Tgid(0) { known.tgid } else { self.tgid };
        Self { role, confidence, tgid, base: known.base, ..self }
    }

    fn packets(&self) -> Segments {
        Segments {
            sent: self.segments.sent.saturating_sub(self.base.sent),
            received: self.segments.received.saturating_sub(self.base.received),
            retransmits: self.segments.retransmits.saturating_sub(self.base.retransmits),
        }
    }
}

/// What was added to an edge so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub bytes: BothWays,
    pub packets: BothWays,
    pub retransmits: u64,
    pub opened: u64,
    pub reset: u64,
    /// 1 while it is open.
    pub active: u64,
}

/// What a row changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Update {
    Figures,
    /// Who the ends are: the connection may belong on another edge.
    Route,
}

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    ends: [Option<End>; 2],
    pub first_seen: Ktime,
    pub counted: Counted,
    /// 0: before the agent came.
    began: Ktime,
    /// 0: its end was not seen.
    ended: Ktime,
}

impl Connection {
    #[must_use]
    pub(super) fn new(end: End, now: Ktime) -> Self {
        Self {
            ends: [Some(end), None],
            first_seen: now,
            counted: Counted::default(),
            began: Ktime(0),
            ended: Ktime(0),
        }
    }

    /// A closed end stays closed: a dump may be older than the record of the end.
    pub(super) fn update(&mut self, end: End) -> Update {
        for slot in &mut self.ends {
            match slot {
                Some(known) if known.cookie == end.cookie => {
                    if known.closed && !end.closed {
                        return Update::Figures;
                    }
                    let before = (known.tgid, known.role, known.confidence);
                    *known = end.after(known);
                    let is_same = before == (known.tgid, known.role, known.confidence);
                    return if is_same { Update::Figures } else { Update::Route };
                }
                Some(_) => {}
                None => {
                    *slot = Some(end);
                    return Update::Route;
                }
            }
        }
        // A third socket: the key was used again before the old connection was forgotten. What the old
        // one added to its edge stays there, except that it is open.
        self.ends = [Some(end), None];
        self.counted = Counted { active: self.counted.active, ..Counted::default() };
        (self.began, self.ended) = (Ktime(0), Ktime(0));
        Update::Route
    }

    /// From the first of its ends to the last.
    pub(super) fn lived(&mut self, row: &Row, closed: Option<Ktime>) {
        let began = Ktime(row.state.opened_ktime_ns);
        if began != Ktime(0) && (self.began == Ktime(0) || began < self.began) {
            self.began = began;
        }
        self.ended = self.ended.max(closed.unwrap_or_default());
    }

    /// What is to be said of it when it is over.
    #[must_use]
    pub(super) fn recent(&self, now: Ktime) -> Option<Recent> {
        let (client, server) = (self.end(Role::Client), self.end(Role::Server));
        let outcome = if self.ends().any(|end| end.reset) {
            Outcome::Reset
        } else if self.ended == Ktime(0) {
            Outcome::Vanished
        } else {
            Outcome::Closed
        };
        let tgid = |end: Option<&End>| end.map_or(Tgid(0), |end| end.tgid);
        let [client_socket, server_socket] = self.sockets()?;
        Some(Recent {
            client: client_socket,
            server: server_socket,
            client_tgid: tgid(client),
            server_tgid: tgid(server),
            began: (self.began != Ktime(0)).then_some(self.began),
            ended: if self.ended == Ktime(0) { now } else { self.ended },
            bytes: self.counted.bytes,
            retransmits: self.counted.retransmits,
            rtt: self.rtt(),
            outcome,
        })
    }

    /// The client's address and the server's, each as its own socket has it, where that is seen.
    #[must_use]
    pub(super) fn sockets(&self) -> Option<[(IpAddr, u16); 2]> {
        let (client, server) = (self.end(Role::Client), self.end(Role::Server));
        let of = |own: Option<&End>, other: Option<&End>| {
            own.map(|end| end.local).or_else(|| other.map(|end| end.remote))
        };
        Some([of(client, server)?, of(server, client)?])
    }

    /// Smoothed; `None` before the first sample.
    #[must_use]
    pub(super) fn rtt(&self) -> Option<Duration> {
        let srtt_us = self.ends().map(|end| end.srtt_us).find(|srtt_us| *srtt_us != 0);
        srtt_us.map(|it| Duration::from_micros(it.into()))
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().flatten()
    }

    pub(super) fn ends_mut(&mut self) -> impl Iterator<Item = &mut End> {
        self.ends.iter_mut().flatten()
    }

    #[must_use]
    pub(super) fn is_paired(&self) -> bool {
        self.ends.iter().all(Option::is_some)
    }

    /// All ends that are seen are closed.
    #[must_use]
    pub(super) fn is_closed(&self) -> bool {
        self.ends().all(|end| end.closed)
    }

    /// The end with the surest role, and that role; it decides for both. That somebody listens is surer
    /// than that nobody does.
    #[must_use]
    pub(super) fn surest(&self) -> Option<&End> {
        self.ends().max_by_key(|end| (end.confidence, end.role == Role::Server))
    }

    /// The socket of the client or of the server, where it is seen.
    #[must_use]
    pub(super) fn end(&self, role: Role) -> Option<&End> {
        let surest = self.surest()?;
        if surest.role == role {
            return Some(surest);
        }
        self.ends().find(|end| end.cookie != surest.cookie)
    }

    /// The figures so far: the client's, else the server's. Never both.
    #[must_use]
    pub(super) fn figures(&self) -> Counted {
        let opened = u64::from(self.ends().any(|end| end.opened));
        let reset = u64::from(self.ends().any(|end| end.reset));
        let active = u64::from(!self.is_closed());
        if let Some(client) = self.end(Role::Client) {
            return Counted {
                bytes: both(client.sent_bytes, client.received_bytes),
                packets: both(client.packets().sent, client.packets().received),
                retransmits: self.ends().map(|end| end.packets().retransmits).sum(),
                opened,
                reset,
                active,
            };
        }
        let Some(server) = self.end(Role::Server) else {
            return Counted::default();
        };
        Counted {
            bytes: both(server.received_bytes, server.sent_bytes),
            packets: both(server.packets().received, server.packets().sent),
            retransmits: server.packets().retransmits,
            opened,
            reset,
            active,
        }
    }
}

fn both(to_server: u64, to_client: u64) -> BothWays {
    BothWays { to_server, to_client }
}
