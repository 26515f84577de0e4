//! What two ends say to each other over UDP, both ways.
//!
//! Of each way the sender's figures count, else those of the receiver's door. Never both.

use std::net::IpAddr;

use agent_common::event::udp::{FlowKey, place};

use super::behind::Behind;
use crate::{
    assemble::{
        connection::Counted,
        edge::{BothWays, Confidence},
        role::{self, Role},
        services::Knowledge,
        topology::EdgeKey,
    },
    clock::Ktime,
};

pub(super) type At = (IpAddr, u16);

/// The same from both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::assemble) struct TalkKey {
    pub(super) ends: [At; 2],
}

impl TalkKey {
    /// And which of its ends is the first one given.
    #[must_use]
    pub(super) fn new(from: At, to: At) -> (Self, usize) {
        if from <= to { (Self { ends: [from, to] }, 0) } else { (Self { ends: [to, from] }, 1) }
    }
}

/// As much as was read so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) packets: u64,
    pub(super) first: Ktime,
    /// 0: not known.
    pub(super) cookie: u64,
}

impl Sum {
    fn plus(&self, more: &Self) -> Self {
        let (bytes, packets) = (self.bytes + more.bytes, self.packets + more.packets);
        Self { bytes, packets, first: self.first.min(more.first), cookie: self.cookie }
    }
}

/// What one end sends, by where it was met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    pub(super) sent: Option<Sum>,
    pub(super) to_workload: Option<Sum>,
    pub(super) from_outside: Option<Sum>,
}

impl Way {
    pub(super) fn slot(&mut self, met: u8) -> &mut Option<Sum> {
        match met {
            place::SENT => &mut self.sent,
            place::TO_WORKLOAD => &mut self.to_workload,
            _ => &mut self.from_outside,
        }
    }

    /// The same way, met under other addresses.
    pub(super) fn join(&mut self, other: Self) {
        for (slot, more) in [
            (&mut self.sent, other.sent),
            (&mut self.to_workload, other.to_workload),
            (&mut self.from_outside, other.from_outside),
        ] {
            *slot = match (*slot, more) {
                (Some(own), Some(more)) => Some(own.plus(&more)),
                (own, more) => own.or(more),
            };
        }
    }

    #[must_use]
    pub(super) fn first(&self) -> Option<Ktime> {
        let all = [self.sent, self.to_workload, self.from_outside];
        all.into_iter().flatten().map(|it| it.first).min()
    }
}

/// What is known of an end besides what it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndFacts {
    /// The address is one of this node: its packets are met as they are sent.
    pub(super) is_here: bool,
    /// A socket of the host takes packets to it.
    pub(super) has_host_socket: bool,
    /// Its socket talks to anybody and has a port that was chosen.
    pub(super) is_open: bool,
}

#[derive(Debug)]
pub(super) struct Talk {
    /// By sender.
    pub(super) ways: [Way; 2],
    pub(super) first_seen: Ktime,
    /// Which end is the client, and how that is known.
    client: usize,
    confidence: Confidence,
    /// What it is made of.
    pub(super) rows: Vec<FlowKey>,
    /// Where its server is, if only its client is here.
    pub(super) server: Knowledge,
    /// If that is not where its client sends to.
    pub(super) behind: Option<Behind>,
    /// Whether it is counted that its address was translated, or may have been.
    pub(super) is_told: bool,
    pub(super) edge: Option<EdgeKey>,
    /// What the edge would be if there was room for all.
    pub(super) route: Option<EdgeKey>,
    pub(super) counted: Counted,
    /// It began when somebody looked already.
    pub(super) is_new: bool,
}

impl Talk {
    #[must_use]
    pub(super) fn new(now: Ktime) -> Self {
        Self {
            ways: [Way::default(); 2],
            first_seen: now,
            client: 0,
            confidence: Confidence::None,
            rows: Vec::new(),
            server: Knowledge::default(),
            behind: None,
            is_told: false,
            edge: None,
            route: None,
            counted: Counted::default(),
            is_new: false,
        }
    }

    /// Where an end is, which for the address of a service is where its server is.
    #[must_use]
    pub(super) fn at(&self, key: &TalkKey, end: usize) -> At {
        self.behind.and_then(|it| it.at(end)).unwrap_or(key.ends[end])
    }

    #[must_use]
    pub(super) fn client(&self) -> usize {
        self.client
    }

    #[must_use]
    pub(super) fn confidence(&self) -> Confidence {
        self.confidence
    }

    /// A better source replaces a worse one, never the reverse. `watched`: since when all is seen.
    pub(super) fn decide(&mut self, key: &TalkKey, facts: &[EndFacts; 2], watched: Ktime) {
        let begun = self.ways.iter().filter_map(Way::first).min();
        self.is_new = begun.is_some_and(|it| watched <= it);
        let (client, confidence) = self.judge(key, facts);
        if self.confidence < confidence || self.edge.is_none() {
            (self.client, self.confidence) = (client, confidence);
        }
    }

    fn judge(&self, key: &TalkKey, facts: &[EndFacts; 2]) -> (usize, Confidence) {
        const DNS: u16 = 53;
        let [a, b] = key.ends.map(|(_, port)| port);
        if (a == DNS) != (b == DNS) {
            return (usize::from(a == DNS), Confidence::Service);
        }
        if self.is_new {
            let [from_a, from_b] = self.ways.map(|it| it.first());
            let first = match (from_a, from_b) {
                (Some(a), Some(b)) => usize::from(b < a),
                (None, Some(_)) => 1,
                (_, None) => 0,
            };
            // A server that speaks first is one all the same.
            let is_swapped = facts[first].is_open && !facts[1 - first].is_open;
            return (if is_swapped { 1 - first } else { first }, Confidence::Service);
        }
        let (role, confidence) = role::by_ports(a, b);
        (usize::from(role == Role::Server), confidence)
    }

    /// The figures so far, as an edge has them.
    #[must_use]
    pub(super) fn figures(&self, facts: &[EndFacts; 2], is_over: bool) -> Counted {
        let server = 1 - self.client;
        let of = |sender: usize| self.way(sender, facts).map_or((0, 0), |it| (it.bytes, it.packets));
        let (up, down) = (of(self.client), of(server));
        Counted {
            bytes: BothWays { to_server: up.0, to_client: down.0 },
            packets: BothWays { to_server: up.1, to_client: down.1 },
            opened: self.is_new.into(),
            active: (!is_over).into(),
            ..Counted::default()
        }
    }

    /// Of a sender that is here nothing but what it sends counts: at the receiver's door the same bytes may
    /// come from another address.
    fn way(&self, sender: usize, facts: &[EndFacts; 2]) -> Option<Sum> {
        let way = self.ways[sender];
        if way.sent.is_some() || facts[sender].is_here {
            return way.sent;
        }
        // What came in for a workload is met again at its door, under its own address.
        way.to_workload.or(way.from_outside.filter(|_| facts[1 - sender].has_host_socket))
    }
}
