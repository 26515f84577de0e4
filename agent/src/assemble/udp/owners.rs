//! Whose UDP sockets are: by cookie, as packets name them, and by address, for those that only receive.

use std::{net::IpAddr, time::Duration};

use agent_common::event::udp::UdpOwner;
use ahash::AHashMap;

use crate::{
    assemble::{address, places::Listeners},
    clock::Ktime,
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const MAX_SOCKETS: usize = 65_536;
/// A socket in use says so again about each minute.
const FORGET_AFTER: Duration = Duration::from_secs(5 * 60);
const SWEEP_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) tgid: Tgid,
    pub(super) netns: u32,
    local: (IpAddr, u16),
    /// It talks to one peer only.
    pub(super) is_connected: bool,
    seen: Ktime,
}

#[derive(Debug, Default)]
pub(super) struct Owners {
    sockets: AHashMap<u64, Owner>,
    /// Unconnected ones: those take packets of anybody.
    pub(super) open: Listeners,
    next_sweep: Ktime,
}

impl Owners {
    pub(super) fn add(&mut self, record: &UdpOwner, now: Ktime, vitals: &Vitals) {
        if MAX_SOCKETS <= self.sockets.len() && !self.sockets.contains_key(&record.cookie) {
            return vitals.add(Vital::UdpSocketsNotKept, 1);
        }
        let owner = Owner {
            tgid: Tgid(record.header.tgid),
            netns: record.netns,
            local: (address::ip(record.local), record.local_port),
            is_connected: record.remote_port != 0,
            seen: now,
        };
        self.sockets.insert(record.cookie, owner);
        self.listen(&owner);
    }

    fn listen(&mut self, owner: &Owner) {
        if !owner.is_connected && owner.local.1 != 0 {
            self.open.insert(owner.netns, owner.local, owner.tgid);
        }
    }

    #[must_use]
    pub(super) fn get(&self, cookie: u64) -> Option<&Owner> {
        self.sockets.get(&cookie)
    }

    pub(super) fn sweep(&mut self, now: Ktime) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now.plus(SWEEP_EVERY);
        self.sockets.retain(|_, owner| now.since(owner.seen) < FORGET_AFTER);
        self.open.begin_anew();
        let left: Vec<Owner> = self.sockets.values().copied().collect();
        left.iter().for_each(|it| self.listen(it));
        self.open.only_new();
    }
}
