//! Who talks to whom: an edge joins a client to a port of a server.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::histogram::Histogram;
use crate::{clock::Ktime, targets::process::Process};

/// One end of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this node: of several that share the edge, the one seen last.
    Process(Arc<Process>),
    /// Everybody else. Never dropped.
    Address { ip: IpAddr, name: Option<String> },
}

/// How it is known which end is the client. A better source replaces a worse one, never the reverse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// The arrow means nothing.
    #[default]
    None,
    /// One port is in the ephemeral range, the other is not.
    Port,
    /// The remote end is known as a server from better evidence.
    Service,
    /// The local port has a listener, or other local ports have and this one has not.
    Listener,
    /// A SYN was seen.
    Packet,
    /// The socket itself went through SYN_SENT or SYN_RECV.
    Exact,
}

impl Confidence {
    /// The word of the JSON contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Port => "port",
            Self::Service => "service",
            Self::Listener => "listener",
            Self::Packet => "packet",
            Self::Exact => "exact",
        }
    }
}

/// Connections by what became of them. All but `active` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Handshakes that were completed, under observation.
    pub opened: u64,
    /// Connects that failed, of any class below.
    pub failed: u64,
    /// A RST answered the SYN.
    pub refused: u64,
    /// The kernel gave up.
    pub timed_out: u64,
    /// The application gave up: its own deadline, or it closed the socket.
    pub abandoned: u64,
    /// An ICMP error ended the attempt.
    pub unreachable: u64,
    /// Established ones that ended by a reset.
    pub reset: u64,
    /// Open now.
    pub active: u64,
}

/// A number for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BothWays {
    pub to_server: u64,
    pub to_client: u64,
}

/// Requests on an edge, from spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub count: u64,
    pub errors: u64,
    pub latency: Histogram,
}

/// What the sockets tell about the network between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Smoothed, of the socket seen last; `None` before the first sample.
    pub rtt: Option<Duration>,
    /// Segments, of all classes.
    pub retransmits: u64,
}

/// Stable for as long as the edge lives: a hash of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub u64);

/// Everything known about one (client workload, server workload, server port).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub id: EdgeId,
    pub client: Peer,
    pub server: Peer,
    pub server_port: u16,
    /// Known from spans: `http`.
    pub protocol: Option<&'static str>,
    pub confidence: Confidence,
    pub connections: Connections,
    /// TCP payload, each byte once.
    pub bytes: BothWays,
    /// TCP segments, retransmitted ones included.
    pub packets: BothWays,
    pub requests: Option<Requests>,
    pub network: Network,
    pub first_seen: Ktime,
    pub last_seen: Ktime,
}
