//! Connects that came to nothing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use agent_common::event::sock::ConnectFailed;

use super::address;
use crate::{clock::Ktime, targets::process::Process};

/// Why a connect failed, by `sk_err` at SYN_SENT -> CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// ECONNREFUSED: a RST answered the SYN.
    Refused,
    /// ETIMEDOUT: the kernel gave up.
    TimedOut,
    /// 0: the application gave up. No counter of the kernel moves for these.
    Abandoned,
    /// EHOSTUNREACH, ENETUNREACH: an ICMP error ended it.
    Unreachable,
    /// ECONNRESET: a reset that is no answer to the SYN.
    Reset,
    /// Any other errno.
    Other,
}

impl FailureClass {
    #[must_use]
    pub fn of_errno(errno: u16) -> Self {
        match i32::from(errno) {
            0 => Self::Abandoned,
            libc::ECONNREFUSED => Self::Refused,
            libc::ETIMEDOUT => Self::TimedOut,
            libc::EHOSTUNREACH | libc::ENETUNREACH => Self::Unreachable,
            libc::ECONNRESET => Self::Reset,
            _ => Self::Other,
        }
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFailure {
    pub class: FailureClass,
    /// `None`: the process is not known any more.
    pub client: Option<Arc<Process>>,
    /// As the client knows it.
    pub server: SocketAddr,
    /// Where `server` was translated to; `None`: nowhere, or nobody knows.
    pub behind: Option<SocketAddr>,
    /// From connect() to the end; `None`: connect() was called before the agent came.
    pub lasted: Option<Duration>,
    /// The first one included.
    pub syns: u32,
    pub at: Ktime,
}

impl ConnectFailure {
    #[must_use]
    pub fn new(record: &ConnectFailed, client: Option<Arc<Process>>) -> Self {
        let ConnectFailed { header, row } = record;
        let at = Ktime(header.ktime_ns);
        Self {
            class: FailureClass::of_errno(row.figures.error),
            client,
            server: SocketAddr::new(address::ip(row.state.remote), row.state.remote_port),
            behind: None,
            lasted: (row.state.opened_ktime_ns != 0).then(|| at.since(Ktime(row.state.opened_ktime_ns))),
            syns: u32::from(row.figures.pending_retransmits) + 1,
            at,
        }
    }

    /// Where it went, for people.
    #[must_use]
    pub fn whom(&self) -> String {
        let server = self.server;
        self.behind.map_or_else(|| server.to_string(), |it| format!("{server} ({it} behind it)"))
    }
}
