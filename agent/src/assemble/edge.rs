//! Who talks to whom: an edge joins a client to a port of a server.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    doubling::{ConnectTimes, RoundTrips},
    faults::Faults,
    histogram::Histogram,
    recent::Recents,
};
use crate::{clock::Ktime, targets::process::Process};

/// One end of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this node: of several that share the edge, the one seen last.
    Process(Arc<Process>),
    /// Everybody else. Never dropped.
    Address { ip: IpAddr, name: Option<String> },
}

/// What a client connected to when that is not where its server is: an address that is translated on the
/// way, such as that of a Kubernetes service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vip {
    pub ip: IpAddr,
    /// The server's own port; the edge's port is the VIP's.
    pub backend_port: u16,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    #[default]
    Tcp,
    Udp,
}

impl Transport {
    /// The word of the semantic conventions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Connections by what became of them. Of UDP, which has none, what two ports say to each other until nothing is
/// said for a minute.
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
    /// A reset ended the attempt, but not as a refusal.
    pub connect_reset: u64,
    /// Any other error.
    pub other: u64,
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
    /// Of the clients' sockets, where they are seen: at the handshake, now and then, and at the end.
    ///
    /// These stay where they were taken when a connection turns out to belong elsewhere.
    pub round_trips: RoundTrips,
    /// From connect() to ESTABLISHED.
    pub connect_times: ConnectTimes,
}

/// What an edge counts. Grows, until a connection turns out to belong elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub connections: Connections,
    pub bytes: BothWays,
    pub packets: BothWays,
    pub retransmits: u64,
    pub faults: Faults,
}

/// Stable for as long as the edge lives: a hash of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub u64);

/// All edges at one moment. Those that did not change are shared with the moments before.
pub type Edges = Arc<Vec<Arc<Edge>>>;

/// Everything known about one (client workload, server workload, server port, transport, VIP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub id: EdgeId,
    pub client: Peer,
    pub server: Peer,
    /// As the client knows it: that of the VIP, if there is one.
    pub server_port: u16,
    pub transport: Transport,
    /// Of the client and of the server, in the connection seen last.
    pub addresses: Option<[IpAddr; 2]>,
    /// `None`: the client used the server's own address, or nobody knows whose it is.
    pub vip: Option<Vip>,
    /// Known from spans: `http`.
    pub protocol: Option<&'static str>,
    pub confidence: Confidence,
    pub connections: Connections,
    /// Payload, each byte once.
    pub bytes: BothWays,
    /// As they go over the wire; of TCP retransmitted ones included.
    pub packets: BothWays,
    pub requests: Option<Requests>,
    pub network: Network,
    pub faults: Faults,
    /// Connections that ended; only while it is one of the edges that keep them.
    pub recent: Option<Arc<Recents>>,
    pub first_seen: Ktime,
    /// Since when [`Edge::counts`] only grew: `first_seen`, or when something was last taken back.
    pub counts_since: Ktime,
    /// What the numbers were then, if they were not zero.
    pub before: Option<Box<Counts>>,
    pub last_seen: Ktime,
}

impl Edge {
    /// Everything since the edge was seen first; may fall.
    fn totals(&self) -> Counts {
        Counts {
            connections: self.connections,
            bytes: self.bytes,
            packets: self.packets,
            retransmits: self.network.retransmits,
            faults: self.faults,
        }
    }

    /// What came since [`Edge::counts_since`], for those who want sums that never fall.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let totals = self.totals();
        self.before.as_deref().map_or(totals, |before| totals.since(before))
    }

    /// Numbers were taken back.
    pub(super) fn count_anew(&mut self, now: Ktime) {
        self.counts_since = now;
        self.before = Some(Box::new(self.totals()));
    }
}

impl Counts {
    fn since(&self, before: &Self) -> Self {
        let (of, less) = (&self.connections, &before.connections);
        Self {
            connections: Connections {
                opened: of.opened.saturating_sub(less.opened),
                failed: of.failed.saturating_sub(less.failed),
                refused: of.refused.saturating_sub(less.refused),
                timed_out: of.timed_out.saturating_sub(less.timed_out),
                abandoned: of.abandoned.saturating_sub(less.abandoned),
                unreachable: of.unreachable.saturating_sub(less.unreachable),
                connect_reset: of.connect_reset.saturating_sub(less.connect_reset),
                other: of.other.saturating_sub(less.other),
                reset: of.reset.saturating_sub(less.reset),
                active: of.active,
            },
            bytes: self.bytes.since(before.bytes),
            packets: self.packets.since(before.packets),
            retransmits: self.retransmits.saturating_sub(before.retransmits),
            faults: self.faults.minus(before.faults),
        }
    }
}

impl BothWays {
    fn since(self, before: Self) -> Self {
        Self {
            to_server: self.to_server.saturating_sub(before.to_server),
            to_client: self.to_client.saturating_sub(before.to_client),
        }
    }
}
