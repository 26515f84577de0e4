//! SYNs from outside that no socket of this host takes.
//!
//! Foreign input, often forged: networks stand for addresses, and there are few edges for all. Nothing
//! is said of how such a connect ended: the packet was seen before it was translated or filtered. A
//! port that is forwarded to a container has no socket here, and a connect to it may well succeed.

use std::net::{IpAddr, Ipv4Addr};

use agent_common::event::packet::Stray;
use ahash::AHashSet;

use super::{
    address,
    edge::{Confidence, Transport},
    places::Places,
    sockets::Surroundings,
    topology::{EdgeKey, Party, Route, Topology},
};
use crate::vitals::Vital;

const MAX_EDGES: usize = 256;

/// Edges that nothing but strays has made.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// Where the packet programs are; unknown, nothing is for us.
    pub(super) own_netns: Option<u32>,
    edges: AHashSet<EdgeKey>,
}

impl Strays {
    /// Forwarded packets are not for us.
    pub(super) fn syn_unanswered(&mut self, stray: &Stray, places: &Places, around: &mut Surroundings<'_>) {
        let local = address::ip(stray.local);
        if !self.own_netns.is_some_and(|netns| places.is_of(netns, local)) {
            return;
        }
        // Reported at powers of two: the last report was for half as many.
        around.vitals.add(Vital::SynsUnanswered, stray.count - stray.count / 2);
        let client = Party::Address(address::network(address::ip(stray.remote)));
        let route = Route {
            client,
            server: Party::Address(local),
            port: stray.local_port,
            transport: Transport::Tcp,
            vip: None,
            confidence: Confidence::Packet,
        };
        let is_new = !around.topology.has(route.key());
        if is_new && MAX_EDGES <= self.edges.len() {
            around.vitals.add(Vital::EdgesFolded, 1);
            let anywhere = Party::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let other = Route {
                client: anywhere.clone(),
                server: anywhere,
                port: 0,
                vip: None,
                confidence: Confidence::None,
                ..route
            };
            around.topology.edge(&other, around.now, around.vitals);
            return;
        }
        let (key, _) = around.topology.edge(&route, around.now, around.vitals);
        if is_new {
            self.edges.insert(key);
        }
    }

    /// Edges that are gone make room.
    pub(super) fn sweep(&mut self, topology: &Topology) {
        self.edges.retain(|key| topology.has(*key));
    }
}
