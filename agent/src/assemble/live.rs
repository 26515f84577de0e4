//! A connection that is open, or not yet accounted for.

use super::{
    addresses::At,
    connection::{Connection, Counted, Update},
    edge::{Confidence, Transport},
    key::Key,
    role::Role,
    seen::{End, Seen},
    services::{Answer, Knowledge},
    sockets::Surroundings,
    topology::{EdgeKey, Topology},
};
use crate::{
    clock::Ktime,
    vitals::{Vital, Vitals},
};

#[derive(Debug)]
pub(super) struct Live {
    pub connection: Connection,
    /// All that the connection's figures say is on it.
    pub edge: Option<EdgeKey>,
    /// Who the ends are has changed since the edge was chosen.
    pub may_move: bool,
    /// Requests find the edge by the connection's addresses.
    pub carries_requests: bool,
    /// Where its server is, if only its client is seen.
    server: Option<Box<Knowledge>>,
    /// Whether it is counted that its address was translated, or may have been.
    told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    No,
    /// If nothing better is known then.
    Later,
    Yes,
}

impl Live {
    pub(super) fn new(seen: &Seen, now: Ktime) -> Self {
        let connection = Connection::new(seen, now);
        Self {
            connection,
            edge: None,
            may_move: false,
            carries_requests: false,
            server: None,
            told: Told::No,
        }
    }

    pub(super) fn update(&mut self, seen: &Seen, topology: &mut Topology) {
        let mut before = self.connection.figures();
        let update = self.connection.update(seen);
        if update == Update::Another {
            // What the old one added stays there, except that it is open.
            before = Counted { active: before.active, ..Counted::default() };
        }
        self.may_move |= update != Update::Figures;
        self.add_since(&before, topology);
    }

    /// Ends that no whole dump since `oldest` has shown have ended unseen; returns how many.
    pub(super) fn end_unseen(&mut self, oldest: u32, topology: &mut Topology) -> u64 {
        if !self.connection.is_missed(oldest) {
            return 0;
        }
        let before = self.connection.figures();
        let n_ended = self.connection.end_unseen(oldest);
        self.add_since(&before, topology);
        n_ended
    }

    /// To the edge, if it is on one.
    pub(super) fn add_since(&self, before: &Counted, topology: &mut Topology) {
        if let Some(edge) = self.edge.and_then(|key| topology.get_mut(key)) {
            edge.add(before, &self.connection.figures());
        }
    }

    /// What was seen of its other end under another key becomes a part of it.
    pub(super) fn join(&mut self, other: &Connection, topology: &mut Topology) {
        let before = self.connection.figures();
        self.connection.join(other);
        self.add_since(&before, topology);
    }

    /// What is known of its server. It is kept apart: most servers are seen.
    pub(super) fn server(&self) -> Knowledge {
        self.server.as_deref().copied().unwrap_or_default()
    }

    pub(super) fn server_is(&mut self, server: Knowledge) {
        if server != self.server() {
            self.server = Some(Box::new(server));
        }
    }

    /// By which name the server's end goes: without sequence numbers that of the addresses that it has.
    pub(super) fn half(&self, key: Key) -> Option<Key> {
        let Knowledge::Known(Answer::Other { server, client }) = self.server() else {
            return None;
        };
        let [a, b] = [server, client].map(|it| (it.ip(), it.port()));
        (!key.survives_nat()).then(|| Key::of_addresses(a, b, 0))
    }

    /// Where the server is that was not seen but named.
    pub(super) fn backend(&self) -> Option<At> {
        match self.server() {
            Knowledge::Known(Answer::Other { server, .. }) => Some((server.ip(), server.port())),
            _ => None,
        }
    }

    /// The client, if its server is not seen.
    pub(super) fn lone_client(&self) -> Option<End> {
        let client = self.connection.end(Role::Client)?;
        let is_lone = !self.connection.is_paired() && client.confidence != Confidence::None;
        is_lone.then_some(client)
    }

    /// The first time that nobody knows whose the address of its server is.
    pub(super) fn is_unresolved_anew(&mut self) -> bool {
        let is_it = self.told == Told::No && self.is_unresolved();
        if is_it {
            self.told = Told::Later;
        }
        is_it
    }

    fn is_unresolved(&self) -> bool {
        let is_unknown = self.server() == Knowledge::Known(Answer::Unknown);
        self.told != Told::Yes && is_unknown && self.lone_client().is_some()
    }

    /// Its other end has not come meanwhile.
    pub(super) fn tell_unresolved(&mut self, vitals: &Vitals) {
        if self.is_unresolved() {
            self.told = Told::Yes;
            vitals.add(Vital::NatUnresolved, 1);
        }
    }

    /// How it came to be known that an address is translated, once for each connection.
    pub(super) fn tell_resolved(&mut self, around: &mut Surroundings<'_>) {
        if self.told == Told::Yes {
            return;
        }
        let ends = (self.connection.end(Role::Client), self.connection.end(Role::Server));
        let by = match (ends, self.backend()) {
            ((Some(client), Some(server)), _)
                if client.remote != server.local || client.local != server.remote =>
            {
                if client.remote != server.local {
                    let (service, server) = (client.remote.into(), server.local.into());
                    around.services.served(Transport::Tcp, service, server, around.now);
                }
                if client.opened { Vital::NatBySequence } else { Vital::NatByConntrack }
            }
            ((Some(_), None), Some(_)) => Vital::NatByConntrack,
            _ => return,
        };
        self.told = Told::Yes;
        around.vitals.add(by, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 100,000 of them take is in docs/performance.md.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Live>() <= 184, "{}", size_of::<Live>());
    }
}
