//! Which programs are on which interface, kept up to date as interfaces come and go.
//!
//! Attaching holds a lock that all of the node's network settings need, some 15 ms for each program. So there is
//! one queue, with a pause after each interface: a pod that starts now does not wait behind a hundred others.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Bound,
    time::Duration,
};

use super::{Hook, Kernel, KernelError, PushedIn, clsact};
use crate::{
    clock::Ktime,
    config::settings::XdpMode,
    links::{Change, Kind, Link, Watch},
};

/// After each interface, for others who wait for the lock.
const PAUSE: Duration = Duration::from_millis(25);
/// The order of programs is looked at anew, one interface a turn: that takes the same lock, if only for a moment.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What an interface is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Card,
    Loopback,
    Workload,
    Nothing,
}

#[derive(Debug)]
struct Known {
    link: Link,
    place: Place,
    is_queued: bool,
    /// Kept: dropped, they are gone.
    hooks: Vec<Hook>,
}

/// The interfaces of the namespace in which it was made.
#[derive(Debug)]
pub struct Interfaces {
    /// `None`: it broke.
    watch: Option<Watch>,
    wish: XdpMode,
    named: Vec<String>,
    known: BTreeMap<u32, Known>,
    /// By index, the newest last.
    queue: Vec<u32>,
    /// Those that were named since all were asked for.
    mentioned: BTreeSet<u32>,
    is_whole: bool,
    next_attach: Ktime,
    /// The one that was looked at last, by its index.
    looked_at: u32,
    next_look: Ktime,
    n_vanished: u64,
}

/// What became of an interface.
#[derive(Debug)]
pub struct Hooked {
    pub interface: String,
    pub hooks: Vec<&'static str>,
    pub refused: Vec<KernelError>,
}

impl Interfaces {
    /// `named`: what to take for network cards; those that are, when it is empty.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell of interfaces.
    pub fn follow(wish: XdpMode, named: &[String]) -> io::Result<Self> {
        match clsact::sweep() {
            Ok(swept) if swept.is_empty() => {}
            Ok(swept) => tracing::info!(?swept, "An agent was killed; its filters are taken off."),
            Err(error) => tracing::warn!(%error, "Whether a killed agent left filters is not known."),
        }
        Ok(Self {
            watch: Some(Watch::new()?),
            wish,
            named: named.to_vec(),
            known: BTreeMap::new(),
            queue: Vec::new(),
            mentioned: BTreeSet::new(),
            is_whole: false,
            next_attach: Ktime(0),
            looked_at: 0,
            next_look: Ktime(0),
            n_vanished: 0,
        })
    }

    /// Hears the news, and attaches to one interface at most.
    ///
    /// # Errors
    ///
    /// When there will be no more news; said once.
    pub fn turn(&mut self, kernel: &mut Kernel, now: Ktime) -> io::Result<Option<Hooked>> {
        let mut changes = Vec::new();
        let heard = self.watch.as_mut().map_or(Ok(()), |it| it.news(|change| changes.push(change)));
        changes.into_iter().for_each(|it| self.change(it));
        if heard.is_err() {
            self.watch = None;
        }
        heard?;
        if now < self.next_attach {
            return Ok(None);
        }
        let Some(index) = self.next() else {
            return Ok(None);
        };
        self.next_attach = now.plus(PAUSE);
        Ok(self.attach(kernel, index))
    }

    /// Looks at one interface at most: whether programs of others came before ours.
    pub fn look(&mut self, kernel: &mut Kernel, now: Ktime) -> Vec<PushedIn> {
        if now < self.next_look {
            return Vec::new();
        }
        let rest = (Bound::Excluded(self.looked_at), Bound::Unbounded);
        let Some((index, known)) = self.known.range_mut(rest).find(|(_, it)| !it.hooks.is_empty()) else {
            self.looked_at = 0;
            self.next_look = now.plus(LOOK_EVERY);
            return Vec::new();
        };
        self.looked_at = *index;
        let mut pushed_in = Vec::new();
        for hook in std::mem::take(&mut known.hooks) {
            let (hook, told) = kernel.look(&known.link, hook, now);
            known.hooks.extend(hook);
            pushed_in.extend(told);
        }
        pushed_in
    }

    /// Leaves the programs to the end of the process, when the kernel takes them off: here, one after the other,
    /// each would take some 15 ms, and nobody waits that long for a node full of pods. Filters belong to their
    /// interfaces, and nobody else would take them off.
    pub fn leave_to_the_end(self) {
        let hooks = self.known.into_values().flat_map(|known| known.hooks);
        hooks.filter(|it| !it.is_filter()).for_each(std::mem::forget);
    }

    /// Named ones that are not there, once all are known.
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        let is_there = |name: &str| self.known.values().any(|it| it.link.name == name);
        let named = self.named.iter().map(String::as_str);
        named.filter(|name| self.is_whole && !is_there(name)).collect()
    }

    /// All are known, and whatever was to be attached is.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_whole && self.queue.is_empty()
    }

    /// With a program on them.
    #[must_use]
    pub fn n_hooked(&self) -> u64 {
        self.known.values().filter(|it| !it.hooks.is_empty()).count() as u64
    }

    /// With programs of others before ours.
    #[must_use]
    pub fn n_behind(&self) -> u64 {
        self.known.values().filter(|it| it.hooks.iter().any(Hook::is_behind)).count() as u64
    }

    /// With programs that do not end with the process.
    #[must_use]
    pub fn n_with_filters(&self) -> u64 {
        self.known.values().filter(|it| it.hooks.iter().any(Hook::is_filter)).count() as u64
    }

    /// Of kinds that are not in our table, or not supported, and were not named.
    #[must_use]
    pub fn n_unknown(&self) -> u64 {
        let is_bare = |it: &&Known| it.place == Place::Nothing && it.link.kind.is_uncovered();
        self.known.values().filter(is_bare).count() as u64
    }

    /// Gone before their programs were attached.
    #[must_use]
    pub fn n_vanished(&self) -> u64 {
        self.n_vanished
    }

    #[must_use]
    pub fn n_unreadable(&self) -> u64 {
        self.watch.as_ref().map_or(0, Watch::n_unreadable)
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::There(link) => self.there(link),
            Change::Gone(index) => self.gone(index),
            Change::Whole => {
                self.is_whole = true;
                let mentioned = std::mem::take(&mut self.mentioned);
                let gone: Vec<u32> =
                    self.known.keys().copied().filter(|it| !mentioned.contains(it)).collect();
                gone.into_iter().for_each(|it| self.gone(it));
            }
        }
    }

    fn there(&mut self, link: Link) {
        let index = link.index;
        self.mentioned.insert(index);
        let place = self.place(&link);
        if let Some(known) = self.known.get_mut(&index)
            && known.place == place
        {
            known.link = link;
            return;
        }
        self.gone(index);
        let is_queued = place != Place::Nothing;
        self.known.insert(index, Known { link, place, is_queued, hooks: Vec::new() });
        if is_queued {
            self.queue.push(index);
        }
    }

    fn gone(&mut self, index: u32) {
        let Some(known) = self.known.remove(&index) else {
            return;
        };
        if known.is_queued {
            self.queue.retain(|it| *it != index);
            self.n_vanished += 1;
        }
    }

    fn place(&self, link: &Link) -> Place {
        if self.wish == XdpMode::Off {
            return Place::Nothing;
        }
        if self.named.contains(&link.name) {
            return Place::Card;
        }
        match link.kind {
            Kind::Loopback => Place::Loopback,
            Kind::Workload => Place::Workload,
            _ if link.kind.is_card() && self.named.is_empty() => Place::Card,
            _ => Place::Nothing,
        }
    }

    /// What all packets pass comes first, then who came last.
    fn next(&mut self) -> Option<u32> {
        let is_ours = |index: &u32| self.known.get(index).is_some_and(|it| it.place != Place::Workload);
        let at = self.queue.iter().position(is_ours).or(self.queue.len().checked_sub(1))?;
        Some(self.queue.remove(at))
    }

    fn attach(&mut self, kernel: &mut Kernel, index: u32) -> Option<Hooked> {
        let wish = self.wish;
        let known = self.known.get_mut(&index)?;
        known.is_queued = false;
        let (mut hooks, mut refused) = (Vec::new(), Vec::new());
        match known.place {
            // Said once for all, by who loaded.
            Place::Workload | Place::Loopback if !kernel.has_classifiers() => return None,
            Place::Workload => take(kernel.attach_workload(&known.link), &mut hooks, &mut refused),
            Place::Loopback => take(kernel.attach_egress(&known.link), &mut hooks, &mut refused),
            Place::Card => {
                take(kernel.attach_packets(&known.link.name, wish), &mut hooks, &mut refused);
                if kernel.has_classifiers() {
                    take(kernel.attach_egress(&known.link), &mut hooks, &mut refused);
                }
            }
            Place::Nothing => {}
        }
        if refused.iter().any(KernelError::is_gone) {
            // The kernel will say so, too.
            self.known.remove(&index);
            self.n_vanished += 1;
            return None;
        }
        let names = hooks.iter().map(Hook::name).collect();
        known.hooks = hooks;
        Some(Hooked { interface: known.link.name.clone(), hooks: names, refused })
    }
}

fn take<H: IntoIterator<Item = Hook>>(
    result: Result<H, KernelError>,
    hooks: &mut Vec<Hook>,
    refused: &mut Vec<KernelError>,
) {
    match result {
        Ok(attached) => hooks.extend(attached),
        Err(error) => refused.push(error),
    }
}
