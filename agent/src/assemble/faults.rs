//! What went wrong between two ends, in numbers.

use std::time::Duration;

use agent_common::event::sock::{State, class, flag, reset};

use super::role::Role;

/// Segments sent again, by cause. What the kernel did not tell apart is in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retransmits {
    /// SYNs and SYN-ACKs.
    pub syn: u64,
    /// Later segments were acknowledged.
    pub fast: u64,
    /// The retransmission timer fired.
    pub rto: u64,
    /// Repair after that.
    pub slow_start: u64,
    /// Probes whether the tail was lost.
    pub tlp: u64,
    pub other: u64,
}

impl Retransmits {
    fn of(counts: [u32; class::COUNT]) -> Self {
        let at = |class: usize| u64::from(counts[class]);
        Self {
            syn: at(class::SYN),
            fast: at(class::FAST),
            rto: at(class::RTO),
            slow_start: at(class::SLOW_START),
            tlp: at(class::TLP),
            other: at(class::OTHER),
        }
    }

    fn zip(self, by: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            syn: join(self.syn, by.syn),
            fast: join(self.fast, by.fast),
            rto: join(self.rto, by.rto),
            slow_start: join(self.slow_start, by.slow_start),
            tlp: join(self.tlp, by.tlp),
            other: join(self.other, by.other),
        }
    }
}

/// Connections that were established and have ended, by how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// In order.
    pub fin: u64,
    pub reset_by_client: u64,
    pub reset_by_server: u64,
    /// Data was never acknowledged, until the kernel gave up.
    pub unacknowledged: u64,
    /// An idle peer did not answer keep-alives.
    pub keepalive: u64,
    /// A peer took no more data until the kernel gave up.
    pub window: u64,
    /// By another error.
    pub other: u64,
}

impl Closed {
    fn zip(self, by: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            fin: join(self.fin, by.fin),
            reset_by_client: join(self.reset_by_client, by.reset_by_client),
            reset_by_server: join(self.reset_by_server, by.reset_by_server),
            unacknowledged: join(self.unacknowledged, by.unacknowledged),
            keepalive: join(self.keepalive, by.keepalive),
            window: join(self.window, by.window),
            other: join(self.other, by.other),
        }
    }

    /// The one connection whose end saw `cause`.
    fn one(cause: Cause, seen_by: Role) -> Self {
        let mut closed = Self::default();
        let count = match (cause, seen_by) {
            (Cause::Fin, _) => &mut closed.fin,
            (Cause::ResetByUs(_), Role::Client) | (Cause::ResetByPeer, Role::Server) => {
                &mut closed.reset_by_client
            }
            (Cause::ResetByUs(_), Role::Server) | (Cause::ResetByPeer, Role::Client) => {
                &mut closed.reset_by_server
            }
            (Cause::Death(Death::Unacknowledged), _) => &mut closed.unacknowledged,
            (Cause::Death(Death::KeepAlive), _) => &mut closed.keepalive,
            (Cause::Death(Death::Window), _) => &mut closed.window,
            (Cause::Other, _) => &mut closed.other,
        };
        *count = 1;
        closed
    }

    pub(super) fn reset(&self) -> u64 {
        self.reset_by_client + self.reset_by_server
    }
}

/// How a socket gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Death {
    Unacknowledged,
    KeepAlive,
    Window,
}

impl Death {
    /// The word of the JSON and of what is exported.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unacknowledged => "unacknowledged",
            Self::KeepAlive => "keepalive",
            Self::Window => "window",
        }
    }
}

/// Why a host sent a reset, as far as its kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResetReason {
    Program,
    Unread,
    LateData,
    NoWait,
    Memory,
    KeepAlive,
    Aborted,
    Protocol,
    Mptcp,
}

impl ResetReason {
    fn of(flags: u8) -> Option<Self> {
        Some(match flags >> flag::RESET_SHIFT {
            reset::PROGRAM => Self::Program,
            reset::UNREAD => Self::Unread,
            reset::LATE_DATA => Self::LateData,
            reset::NO_WAIT => Self::NoWait,
            reset::MEMORY => Self::Memory,
            reset::KEEPALIVE => Self::KeepAlive,
            reset::ABORTED => Self::Aborted,
            reset::PROTOCOL => Self::Protocol,
            reset::MPTCP => Self::Mptcp,
            _ => return None,
        })
    }

    /// The word of the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Unread => "unread_data",
            Self::LateData => "late_data",
            Self::NoWait => "no_wait",
            Self::Memory => "memory",
            Self::KeepAlive => "keepalive",
            Self::Aborted => "aborted",
            Self::Protocol => "protocol",
            Self::Mptcp => "mptcp",
        }
    }
}

/// How a connection ended, as one of its sockets saw it. Where the two differ, the greater one tells more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    Fin,
    Other,
    ResetByPeer,
    ResetByUs(Option<ResetReason>),
    Death(Death),
}

impl Cause {
    /// It gave up, which may be long before it is closed.
    #[must_use]
    pub(super) fn death(self) -> Option<Death> {
        match self {
            Self::Death(death) => Some(death),
            _ => None,
        }
    }

    /// A socket that gives up may send a RST: the error is asked first. An ICMP error that came
    /// meanwhile takes the place of ETIMEDOUT.
    #[must_use]
    pub(super) fn of(state: &State) -> Self {
        match i32::from(state.close_error) {
            libc::ECONNRESET | libc::EPIPE => return Self::ResetByPeer,
            libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH => {}
            _ if state.flags & flag::RST_IN != 0 => return Self::ResetByPeer,
            _ if state.flags & flag::RST_OUT != 0 => return Self::ResetByUs(ResetReason::of(state.flags)),
            0 => return Self::Fin,
            _ => return Self::Other,
        }
        match (state.close_retransmits, state.close_unacked_bytes, state.close_probes) {
            (1.., ..) => Self::Death(Death::Unacknowledged),
            // Nothing was under way. Each answer of a peer that takes nothing ends the count of probes.
            (0, 1.., _) => Self::Death(Death::Window),
            (0, 0, 1..) => Self::Death(Death::KeepAlive),
            (0, 0, 0) => Self::Other,
        }
    }
}

/// What a connection, or one of its sockets, has of [`Faults`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    rto_ns: u64,
    retransmits: [u32; class::COUNT],
    rto_episodes: u32,
    pub(super) retried: bool,
    /// What it looked like, and to whom.
    pub(super) ended: Option<(Cause, Role)>,
}

impl Own {
    #[must_use]
    pub(super) fn of(state: &State) -> Self {
        Self {
            rto_ns: state.rto_total_ns,
            retransmits: state.retransmits,
            rto_episodes: state.rto_episodes,
            ..Self::default()
        }
    }

    /// With what the other end has of its own.
    #[must_use]
    pub(super) fn plus(self, more: &Self) -> Self {
        Self {
            rto_ns: self.rto_ns.saturating_add(more.rto_ns),
            retransmits: std::array::from_fn(|it| self.retransmits[it].saturating_add(more.retransmits[it])),
            rto_episodes: self.rto_episodes.saturating_add(more.rto_episodes),
            ..self
        }
    }

    #[must_use]
    pub(super) fn faults(&self) -> Faults {
        Faults {
            retransmits: Retransmits::of(self.retransmits),
            rto_episodes: self.rto_episodes.into(),
            rto: Duration::from_nanos(self.rto_ns),
            retried: self.retried.into(),
            closed: self.ended.map_or_else(Closed::default, |(cause, seen_by)| Closed::one(cause, seen_by)),
        }
    }
}

/// Numbers that only grow, as far as connections do not move to another edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub retransmits: Retransmits,
    /// Times that a retransmission timer fired and data was not acknowledged any more until it was.
    pub rto_episodes: u64,
    /// How long those lasted that have ended, in sum.
    pub rto: Duration,
    /// Connections that were opened, and not by their first SYN.
    pub retried: u64,
    pub closed: Closed,
}

impl Faults {
    fn zip(self, by: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            retransmits: self.retransmits.zip(by.retransmits, &join),
            rto_episodes: join(self.rto_episodes, by.rto_episodes),
            rto: Duration::from_nanos(join(nanos(self.rto), nanos(by.rto))),
            retried: join(self.retried, by.retried),
            closed: self.closed.zip(by.closed, &join),
        }
    }

    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        self.zip(more, u64::saturating_add)
    }

    #[must_use]
    pub(super) fn minus(self, less: Self) -> Self {
        self.zip(less, u64::saturating_sub)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use agent_common::Wire as _;

    use super::*;

    #[test]
    fn how_a_socket_ended() {
        let fin = Cause::Fin;
        check(0, 0, (0, 0, 0), fin);
        check(0, flag::SEEDED, (3, 3, 3), fin);
        check(0, flag::RST_IN, (0, 0, 0), Cause::ResetByPeer);
        check(0, flag::RST_OUT, (0, 0, 0), Cause::ResetByUs(None));
        let unread = flag::RST_OUT | reset::UNREAD << flag::RESET_SHIFT;
        check(0, unread, (0, 0, 0), Cause::ResetByUs(Some(ResetReason::Unread)));
        check(0, flag::RST_OUT | 15 << flag::RESET_SHIFT, (0, 0, 0), Cause::ResetByUs(None));
        check(0, flag::RST_IN | unread, (0, 0, 0), Cause::ResetByPeer);
        check(libc::ECONNRESET, 0, (2, 0, 9), Cause::ResetByPeer);
        check(libc::EPIPE, flag::RST_OUT, (0, 0, 0), Cause::ResetByPeer);
        check(libc::ECONNABORTED, 0, (0, 0, 0), Cause::Other);
        check(libc::ETIMEDOUT, 0, (0, 0, 0), Cause::Other);
        check(libc::ETIMEDOUT, 0, (6, 0, 100), Cause::Death(Death::Unacknowledged));
        check(libc::EHOSTUNREACH, 0, (6, 0, 100), Cause::Death(Death::Unacknowledged));
        // A keep-alive that fails sends a RST.
        check(libc::ETIMEDOUT, flag::RST_OUT, (0, 2, 0), Cause::Death(Death::KeepAlive));
        check(libc::ETIMEDOUT, 0, (0, 5, 48_904), Cause::Death(Death::Window));
        check(libc::ETIMEDOUT, 0, (0, 0, 48_904), Cause::Death(Death::Window));
    }

    #[test]
    fn who_reset_is_the_same_from_both_ends() {
        let by_client = Closed { reset_by_client: 1, ..Closed::default() };
        assert_eq!(Closed::one(Cause::ResetByUs(None), Role::Client), by_client);
        assert_eq!(Closed::one(Cause::ResetByPeer, Role::Server), by_client);
        let by_server = Closed { reset_by_server: 1, ..Closed::default() };
        assert_eq!(Closed::one(Cause::ResetByPeer, Role::Client), by_server);
        assert_eq!(by_client.reset() + Closed::one(Cause::Fin, Role::Client).reset(), 1);
    }

    #[track_caller]
    fn check(errno: i32, flags: u8, (retransmits, probes, unacked_bytes): (u8, u8, u32), want: Cause) {
        let state = State {
            close_error: errno.try_into().unwrap(),
            flags,
            close_retransmits: retransmits,
            close_probes: probes,
            close_unacked_bytes: unacked_bytes,
            ..State::zeroed()
        };
        assert_eq!(Cause::of(&state), want, "{errno}, {flags}");
    }
}
