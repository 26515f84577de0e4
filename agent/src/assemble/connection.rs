//! One TCP connection, of which one end or both are seen.

use std::{net::IpAddr, time::Duration};

use agent_common::event::sock::{Row, class, flag, role as kernel_role};

use super::{
    address,
    edge::{BothWays, Confidence},
    faults::{Cause, Death, Own},
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
    faults: Own,
    pub srtt_us: u32,
    /// At ESTABLISHED; 0: that was not seen.
    handshake_rtt_us: u32,
    /// Moves when the peer answers.
    acked_bytes: u64,
    /// Its handshake was completed under observation.
    pub opened: bool,
    /// From connect() to ESTABLISHED; `None`: it did not connect, or before the agent came.
    pub connect_took: Option<Duration>,
    /// SYNs and SYN-ACKs that were repeated before that.
    pub handshake_repeats: u32,
    pub closed: bool,
    /// Means something once it is closed, or died.
    cause: Cause,
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
        let opened_at = Ktime(state.opened_ktime_ns);
        let connects = state.role == kernel_role::CLIENT && state.opened_ktime_ns != 0;
        let took = Ktime(state.established_ktime_ns).since(opened_at);
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
            faults: Own::of(state),
            srtt_us: figures.srtt_us,
            handshake_rtt_us: state.handshake_rtt_us,
            acked_bytes: figures.acked_bytes,
            opened: !is_seeded,
            connect_took: (connects && state.established_ktime_ns != 0).then_some(took),
            handshake_repeats: if is_seeded { 0 } else { state.retransmits[class::SYN] },
            closed,
            cause: Cause::of(state),
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

    /// It gave up, which may be long before it is closed.
    #[must_use]
    pub(super) fn death(&self) -> Option<Death> {
        match self.cause {
            Cause::Death(death) => Some(death),
            _ => None,
        }
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
    pub faults: Own,
    pub opened: u64,
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
    /// How it ended, as it was counted: an end that turns up later does not change that.
    how: Option<(Cause, Role)>,
    sampled: Sampled,
}

/// What of the round trips was handed out.
#[derive(Clone, Copy, Debug, Default)]
struct Sampled {
    handshake: bool,
    acked_bytes: u64,
    end: bool,
}

/// Times of a connection that nobody was told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub connect: Option<Duration>,
    pub round_trips: [Option<Duration>; 2],
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
            how: None,
            sampled: Sampled::default(),
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
        self.how = None;
        self.sampled = Sampled::default();
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
    pub(super) fn recent(&self, backend: Option<(IpAddr, u16)>, now: Ktime) -> Option<Recent> {
        let (client, server) = (self.end(Role::Client), self.end(Role::Server));
        let died = self.ends().find_map(End::death);
        let outcome = match (died, self.how) {
            (Some(death), _) => Outcome::Died(death),
            (None, Some((Cause::ResetByPeer | Cause::ResetByUs, _))) => Outcome::Reset,
            _ if self.ended == Ktime(0) => Outcome::Vanished,
            _ => Outcome::Closed,
        };
        let tgid = |end: Option<&End>| end.map_or(Tgid(0), |end| end.tgid);
        let [client_socket, server_socket] = self.sockets(backend)?;
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

    /// The client's address and the server's, each as its own socket has it, where that is seen. `backend`: where
    /// a server is that was not seen but named.
    #[must_use]
    pub(super) fn sockets(&self, backend: Option<(IpAddr, u16)>) -> Option<[(IpAddr, u16); 2]> {
        let (client, server) = (self.end(Role::Client), self.end(Role::Server));
        let local = |end: Option<&End>| end.map(|end| end.local);
        let remote = |end: Option<&End>| end.map(|end| end.remote);
        Some([local(client).or(remote(server))?, local(server).or(backend).or(remote(client))?])
    }

    /// Smoothed, as the end has it that says less: the other one may have waited for acknowledgements that were
    /// held back. `None` before the first sample.
    #[must_use]
    pub(super) fn rtt(&self) -> Option<Duration> {
        let srtt_us = self.ends().map(|end| end.srtt_us).filter(|it| *it != 0).min();
        srtt_us.map(|it| Duration::from_micros(it.into()))
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().flatten()
    }

    /// The end with this cookie, as it was seen last.
    #[must_use]
    pub(super) fn known(&self, cookie: u64) -> Option<&End> {
        self.ends().find(|end| end.cookie == cookie)
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

    /// The figures so far: the client's, else the server's. Never both, but for what each sent again.
    pub(super) fn figures(&mut self) -> Counted {
        // Whoever still has one of its sockets: a connection that died does not come back.
        if self.how.is_none() && (self.is_closed() || self.ends().any(|end| end.death().is_some())) {
            self.how = self.verdict();
        }
        let common = Counted {
            retransmits: self.ends().map(|end| end.packets().retransmits).sum(),
            faults: self.faults(),
            opened: u64::from(self.ends().any(|end| end.opened)),
            active: u64::from(!self.is_closed()),
            ..Counted::default()
        };
        if let Some(client) = self.end(Role::Client) {
            return Counted {
                bytes: both(client.sent_bytes, client.received_bytes),
                packets: both(client.packets().sent, client.packets().received),
                ..common
            };
        }
        let Some(server) = self.end(Role::Server) else {
            return Counted::default();
        };
        Counted {
            bytes: both(server.received_bytes, server.sent_bytes),
            packets: both(server.packets().received, server.packets().sent),
            ..common
        }
    }

    /// What each end sent again is its own.
    fn faults(&self) -> Own {
        let mut sum = self.ends().fold(Own::default(), |sum, end| sum.plus(&end.faults));
        // A server repeats its SYN-ACK, too, when the client has long been content.
        let opener = self.end(Role::Client).or_else(|| self.end(Role::Server));
        sum.retried = opener.is_some_and(|end| end.opened && end.handshake_repeats != 0);
        sum.ended = self.how;
        sum
    }

    fn verdict(&self) -> Option<(Cause, Role)> {
        let as_seen_by = |role| self.end(role).map(|end| (end.cause, role));
        [Role::Client, Role::Server].into_iter().filter_map(as_seen_by).max_by_key(|(cause, _)| *cause)
    }

    /// One round trip for the handshake, one for each time that the peer was heard since the last, one at
    /// the end; of the client's socket, else the server's.
    pub(super) fn times(&mut self) -> Times {
        let Some(end) = self.end(Role::Client).or_else(|| self.end(Role::Server)).copied() else {
            return Times::default();
        };
        let micros = |us: u32| (us != 0).then(|| Duration::from_micros(us.into()));
        let mut times = Times::default();
        let sampled = &mut self.sampled;
        if !sampled.handshake {
            times.connect = end.connect_took;
            times.round_trips[0] = micros(end.handshake_rtt_us);
        }
        let heard = sampled.acked_bytes != end.acked_bytes && !end.closed && sampled.handshake;
        if heard || (end.closed && !sampled.end) {
            times.round_trips[1] = micros(end.srtt_us);
        }
        *sampled = Sampled { handshake: true, acked_bytes: end.acked_bytes, end: end.closed };
        times
    }
}

fn both(to_server: u64, to_client: u64) -> BothWays {
    BothWays { to_server, to_client }
}
