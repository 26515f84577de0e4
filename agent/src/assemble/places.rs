//! What belongs to which network namespace: the addresses that are its own, and who listens there.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use ahash::{AHashMap, AHashSet};

use super::names::Client;
use crate::{
    clock::Ktime,
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const MAX_ADDRESSES: usize = 4096;
/// An address that no socket showed for so long may be somebody else's now.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Given, not learned: never forgotten.
const ALWAYS: Ktime = Ktime(u64::MAX);

/// Sockets in LISTEN, by namespace and address: two processes may share a port on two addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners {
    owners: AHashMap<(u32, IpAddr, u16), Tgid>,
    namespaces: AHashSet<u32>,
    /// Those that were named since it was begun anew.
    new: AHashMap<(u32, IpAddr, u16), Tgid>,
}

impl Listeners {
    pub(super) fn insert(&mut self, netns: u32, (ip, port): (IpAddr, u16), tgid: Tgid) {
        self.owners.insert((netns, ip, port), tgid);
        self.namespaces.insert(netns);
        self.new.insert((netns, ip, port), tgid);
    }

    /// All will be named again. Until that is done, the old ones are still believed.
    pub(super) fn begin_anew(&mut self) {
        self.new.clear();
    }

    /// It is done: who was not named is gone.
    pub(super) fn only_new(&mut self) {
        self.owners = std::mem::take(&mut self.new);
        self.namespaces = self.owners.keys().map(|(netns, ..)| *netns).collect();
    }

    /// Who takes connections to an address of this very namespace: the exact one before the wildcard.
    #[must_use]
    pub(super) fn owner(&self, netns: u32, at: (IpAddr, u16)) -> Option<Tgid> {
        self.exact(netns, at).or_else(|| self.wildcard(netns, at))
    }

    #[must_use]
    pub(super) fn any(&self, netns: u32) -> bool {
        self.namespaces.contains(&netns)
    }

    fn exact(&self, netns: u32, (ip, port): (IpAddr, u16)) -> Option<Tgid> {
        self.owners.get(&(netns, ip, port)).copied()
    }

    fn wildcard(&self, netns: u32, (ip, port): (IpAddr, u16)) -> Option<Tgid> {
        let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        // A wildcard of IPv6 takes IPv4, too, unless it was told not to, which no record says.
        let v4 = ip.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        v4.into_iter().chain([v6]).find_map(|any| self.exact(netns, (any, port)))
    }
}

/// Listeners and own addresses of all namespaces of this node.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) listeners: Listeners,
    /// Address, and in which namespaces it is one, with when that was seen last.
    own: AHashMap<IpAddr, AHashMap<u32, Ktime>>,
    n_own: usize,
    next_sweep: Ktime,
    /// Of the agent, where the packet programs are.
    node: Option<u32>,
}

impl Places {
    /// Addresses of the interfaces of the agent's own namespace.
    pub(super) fn given(&mut self, netns: u32, addresses: impl IntoIterator<Item = IpAddr>) {
        self.node = Some(netns);
        for ip in addresses {
            self.n_own += usize::from(self.own.entry(ip).or_default().insert(netns, ALWAYS).is_none());
        }
    }

    /// A socket of the namespace has the address.
    pub(super) fn seen(&mut self, netns: u32, ip: IpAddr, now: Ktime, vitals: &Vitals) {
        if ip.is_loopback() {
            return;
        }
        if let Some(last) = self.own.get_mut(&ip).and_then(|it| it.get_mut(&netns)) {
            *last = now.max(*last);
        } else if self.n_own < MAX_ADDRESSES {
            self.own.entry(ip).or_default().insert(netns, now);
            self.n_own += 1;
        } else {
            vitals.add(Vital::AddressesNotKept, 1);
        }
    }

    /// Whether the address is on this node, in whatever namespace.
    #[must_use]
    pub(super) fn is_here(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.own.contains_key(&ip)
    }

    #[must_use]
    pub(super) fn is_of(&self, netns: u32, ip: IpAddr) -> bool {
        ip.is_loopback() || self.own.get(&ip).is_some_and(|it| it.contains_key(&netns))
    }

    /// Those that have the address.
    pub(super) fn namespaces(&self, ip: IpAddr) -> impl Iterator<Item = u32> + '_ {
        self.own.get(&ip).into_iter().flat_map(|it| it.keys().copied())
    }

    /// Whose name for something it is when this address asks. Loopback is met in the own namespace only.
    #[must_use]
    pub(super) fn client(&self, ip: IpAddr) -> Client {
        match self.node {
            Some(node) if self.is_of(node, ip) => Client::Node,
            _ => Client::Address(ip),
        }
    }

    /// As whom the owner of a socket there may have asked.
    pub(super) fn clients(&self, netns: u32, ip: IpAddr) -> impl Iterator<Item = Client> + use<> {
        let node = (self.node == Some(netns)).then_some(Client::Node);
        node.into_iter().chain([Client::Address(ip)])
    }

    /// Or under which other address: by IPv4, and connects by IPv6. Looks at all addresses there are.
    pub(super) fn other_clients(&self, netns: u32, ip: IpAddr) -> impl Iterator<Item = Client> + '_ {
        let is_other = move |it: &&IpAddr| **it != ip && self.is_of(netns, **it);
        self.own.keys().filter(is_other).map(|it| Client::Address(*it))
    }

    /// Who listens at an address, as seen from a namespace.
    ///
    /// A wildcard listens on the addresses of its own namespace only: port 8080 of a pod's peer is not
    /// the pod's own port 8080.
    #[must_use]
    pub(super) fn listener(&self, netns: u32, at: (IpAddr, u16)) -> Option<Tgid> {
        let exact = self.listeners.exact(netns, at);
        exact.or_else(|| self.listeners.wildcard(netns, at).filter(|_| self.is_of(netns, at.0)))
    }

    /// Who listens at an address of a pod, as nobody but the pod itself names it.
    #[must_use]
    pub(super) fn listener_anywhere(&self, at: (IpAddr, u16)) -> Option<Tgid> {
        let namespaces = self.own.get(&at.0)?;
        namespaces.keys().find_map(|netns| self.listeners.owner(*netns, at))
    }

    pub(super) fn sweep(&mut self, now: Ktime) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now.plus(SWEEP_EVERY);
        self.own.retain(|_, namespaces| {
            namespaces.retain(|_, last| now.since(*last) < FORGET_AFTER);
            !namespaces.is_empty()
        });
        self.n_own = self.own.values().map(|it| it.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    #[test]
    fn the_exact_listener_comes_before_the_wildcard() {
        let mut places = Places::default();
        places.given(1, [ip("10.0.0.5")]);
        for (tgid, at) in [(1, "127.0.0.1"), (2, "10.0.0.5"), (3, "0.0.0.0"), (4, "::")] {
            places.listeners.insert(1, (ip(at), 80), Tgid(tgid));
        }
        places.listeners.insert(1, (ip("::"), 90), Tgid(4));
        check(&places, 1, "127.0.0.1", 80, Some(1));
        check(&places, 1, "10.0.0.5", 80, Some(2));
        check(&places, 1, "127.0.0.2", 80, Some(3));
        check(&places, 1, "::1", 80, Some(4));
        check(&places, 1, "127.0.0.1", 90, Some(4));
        check(&places, 1, "10.0.0.6", 80, None);
        check(&places, 2, "10.0.0.5", 80, None);
    }

    #[test]
    fn addresses_are_bounded_and_forgotten_when_nobody_shows_them() {
        let (mut places, vitals) = (Places::default(), Vitals::new());
        places.given(1, [ip("10.0.0.5")]);
        for n in 0..5000 {
            places.seen(2, IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + n)), Ktime(0), &vitals);
        }
        assert_eq!(vitals.get(Vital::AddressesNotKept), 5000 - (MAX_ADDRESSES as u64 - 1));
        places.seen(2, ip("10.1.0.7"), Ktime(9 * MINUTE), &vitals);
        places.sweep(Ktime(15 * MINUTE));
        let here = ["10.0.0.5", "10.1.0.7", "10.1.0.8"].map(|it| places.is_here(ip(it)));
        assert_eq!((here, places.n_own), ([true, true, false], 2));
    }

    #[track_caller]
    fn check(places: &Places, netns: u32, at: &str, port: u16, want: Option<u32>) {
        assert_eq!(places.listener(netns, (ip(at), port)), want.map(Tgid));
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
