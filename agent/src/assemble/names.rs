//! What clients were told that an address is called.
//!
//! An LRU: the name that was asked for least recently gives way. Of several names of an address the
//! newest counts.

use std::{net::IpAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use lru::LruCache;

use super::{
    edge::{Edge, Peer},
    places::Places,
};
use crate::clock::Ktime;

const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(20_000).expect("it is not zero");
/// Names outlive what they are kept for: connections are opened from caches of the clients' own.
const MIN_TTL: Duration = Duration::from_secs(60);
const MAX_TTL: Duration = Duration::from_secs(3600);
/// The answer may be read after the connection that it led to, and that after the next dump.
const NAMED_WITHIN: Duration = Duration::from_secs(2);

/// Who was told. Two pods may mean different things by one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// Whoever is in the agent's own network namespace, under whatever address.
    Node,
    Address(IpAddr),
}

#[derive(Debug)]
struct Named {
    name: Arc<str>,
    until: Ktime,
}

/// (client, address) -> name.
#[derive(Debug)]
pub(super) struct Names {
    known: LruCache<(Client, IpAddr), Named, ahash::RandomState>,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: LruCache::with_hasher(MAX_NAMES, ahash::RandomState::new()) }
    }
}

impl Names {
    pub(super) fn add(&mut self, client: Client, ip: IpAddr, name: &Arc<str>, ttl: Duration, now: Ktime) {
        let until = now.plus(ttl.clamp(MIN_TTL, MAX_TTL));
        self.known.put((client, ip), Named { name: Arc::clone(name), until });
    }

    pub(super) fn get(&mut self, client: Client, ip: IpAddr, now: Ktime) -> Option<Arc<str>> {
        let key = (client, ip);
        if self.known.peek(&key)?.until <= now {
            self.known.pop(&key);
            return None;
        }
        self.known.get(&key).map(|it| Arc::clone(&it.name))
    }

    /// Names an end outside as the client was told, while the edge is young: what it is asked for later may be
    /// something else at the same address. Of a service the client was told the address that it used, seldom that
    /// of the server behind it.
    pub(super) fn name(
        &mut self,
        edge: &mut Edge,
        (netns, client): (u32, IpAddr),
        places: &Places,
        now: Ktime,
    ) {
        let Peer::Address { ip: server, name: name @ None } = &mut edge.server else {
            return;
        };
        if NAMED_WITHIN < now.since(edge.first_seen) || server.is_loopback() {
            return;
        }
        let addresses = edge.vip.map(|vip| vip.ip).into_iter().chain([*server]);
        let mut told = |client| addresses.clone().find_map(|ip| self.get(client, ip, now));
        let mut found = places.clients(netns, client).find_map(&mut told);
        if found.is_none() && edge.first_seen == now {
            found = places.other_clients(netns, client).find_map(&mut told);
        }
        *name = found.map(|it| it.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const POD: Client = Client::Address(IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 2)));

    #[test]
    fn the_newest_name_of_each_client_counts() {
        let mut names = Names::default();
        add(&mut names, POD, "192.0.2.1", "old.example", 300, 0);
        add(&mut names, POD, "192.0.2.1", "new.example", 300, 1);
        add(&mut names, Client::Node, "192.0.2.1", "other.example", 300, 2);
        check(&mut names, POD, "192.0.2.1", 3, Some("new.example"));
        check(&mut names, Client::Node, "192.0.2.1", 3, Some("other.example"));
        check(&mut names, Client::Address(ip("10.1.0.3")), "192.0.2.1", 3, None);
        check(&mut names, POD, "2001:db8::1", 3, None);
    }

    #[test]
    fn a_name_is_kept_a_minute_at_least_and_an_hour_at_most() {
        for (ttl, last) in [(0, 59), (59, 59), (61, 60), (3600, 3599), (u64::from(u32::MAX), 3599)] {
            let mut names = Names::default();
            add(&mut names, POD, "192.0.2.1", "a.example", ttl, 0);
            check(&mut names, POD, "192.0.2.1", last, Some("a.example"));
            check(&mut names, POD, "192.0.2.1", last + 1, None);
            assert_eq!(names.known.len(), 0, "{ttl}");
        }
    }

    #[test]
    fn who_was_asked_for_least_recently_gives_way() {
        let mut names = Names::default();
        let nth = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n)).to_string();
        for n in 0..20_000 {
            add(&mut names, POD, &nth(n), "a.example", 60, 0);
        }
        check(&mut names, POD, &nth(0), 0, Some("a.example"));
        add(&mut names, POD, "192.0.2.1", "b.example", 60, 0);
        check(&mut names, POD, &nth(0), 0, Some("a.example"));
        check(&mut names, POD, &nth(1), 0, None);
        assert_eq!(names.known.len(), 20_000);
    }

    fn add(names: &mut Names, client: Client, at: &str, name: &str, ttl: u64, now: u64) {
        names.add(client, ip(at), &name.into(), Duration::from_secs(ttl), Ktime(now * SECOND));
    }

    #[track_caller]
    fn check(names: &mut Names, client: Client, at: &str, now: u64, want: Option<&str>) {
        assert_eq!(names.get(client, ip(at), Ktime(now * SECOND)).as_deref(), want);
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
