//! One TCP connection, of which one end or both are seen.

use std::net::IpAddr;

use agent_common::event::sock::{Row, flag};

use super::{
    address,
    edge::{BothWays, Confidence},
    role::{self, Listeners, Role},
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
    pub segments_out: u64,
    pub segments_in: u64,
    pub retransmits: u64,
    pub srtt_us: u32,
    /// Its handshake was completed under observation.
    pub opened: bool,
    pub closed: bool,
    pub reset: bool,
    /// Number of the dump that showed it last.
    pub dump: u64,
}

impl End {
    #[must_use]
    pub(super) fn new(row: &Row, closed: bool, dump: u64, listeners: &Listeners) -> Self {
        let Row { cookie, state, figures } = row;
        let (role, confidence) = role::decide(state, listeners);
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
            segments_out: figures.segments_out.into(),
            segments_in: figures.segments_in.into(),
            retransmits: figures.retransmits.into(),
            srtt_us: figures.srtt_us,
            opened: state.flags & flag::SEEDED == 0,
            closed,
            reset: closed && is_reset(state.close_error),
            dump,
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
}

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    ends: [Option<End>; 2],
    pub first_seen: Ktime,
    pub counted: Counted,
}

impl Connection {
    #[must_use]
    pub(super) fn new(end: End, now: Ktime) -> Self {
        Self { ends: [Some(end), None], first_seen: now, counted: Counted::default() }
    }

    /// A closed end stays closed: a dump may be older than the record of the end.
    pub(super) fn update(&mut self, end: End) {
        for slot in &mut self.ends {
            match slot {
                Some(known) if known.cookie == end.cookie => {
                    let closed = known.closed && !end.closed;
                    if !closed {
                        *known = end;
                    }
                    return;
                }
                Some(_) => {}
                None => {
                    *slot = Some(end);
                    return;
                }
            }
        }
        // A third socket: the key was used again before the old connection was forgotten.
        self.ends = [Some(end), None];
        self.counted = Counted::default();
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
        if let Some(client) = self.end(Role::Client) {
            return Counted {
                bytes: BothWays { to_server: client.sent_bytes, to_client: client.received_bytes },
                packets: BothWays { to_server: client.segments_out, to_client: client.segments_in },
                retransmits: self.ends().map(|end| end.retransmits).sum(),
                opened,
                reset,
            };
        }
        let Some(server) = self.end(Role::Server) else {
            return Counted::default();
        };
        Counted {
            bytes: BothWays { to_server: server.received_bytes, to_client: server.sent_bytes },
            packets: BothWays { to_server: server.segments_in, to_client: server.segments_out },
            retransmits: server.retransmits,
            opened,
            reset,
        }
    }
}
