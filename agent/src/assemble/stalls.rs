//! Retransmission time-outs of connections, and the requests that were open meanwhile.
//!
//! timer fired --a request of the connection ends--> on its span
//! timer fired --acknowledged again--> over --a request ends, has ended, or none in time--> told, with its ids if there are any
//!
//! In HTTP/1 the requests of a connection follow each other. Of those that were open when the timer fired the one
//! that ends first had the connection; another one was only waiting for it. So each end has one span of an episode.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use agent_common::event::{
    fault::{Retransmit, RtoEnded},
    sock::class,
};
use ahash::AHashMap;

use super::{
    address,
    incident::{Happened, Incident},
    network_event::{NetworkEvent, What},
    requests::Tuple,
    span::{Side, Span, SpanIds, Stall, StallOver},
};
use crate::{
    clock::Ktime,
    vitals::{Vital, Vitals},
};

/// Episodes that a span may still be found for, and for how long. A hundred bytes each.
const MAX_EPISODES: usize = 4096;
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// Of one span.
const MAX_ON_SPAN: usize = 8;
/// Over, and not told yet.
const MAX_WAITING: usize = 1024;
/// So long after the end of the episode: the answer that was held up is there by then, if nothing else holds it up.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Stalls {
    episodes: AHashMap<Tuple, Vec<Episode>>,
    /// One for each, the oldest first.
    by_age: VecDeque<(Ktime, Tuple)>,
    waiting: VecDeque<Waiting>,
}

/// A timer fired, and not much later, or never, something was acknowledged again.
#[derive(Debug)]
struct Episode {
    cookie: u64,
    fired: Ktime,
    sender: SocketAddr,
    over: Option<StallOver>,
    /// The spans of the sender's end and of the other end.
    own: Option<SpanIds>,
    peer: Option<SpanIds>,
}

#[derive(Debug)]
struct Waiting {
    since: Ktime,
    incident: Incident,
    tuple: Tuple,
    cookie: u64,
    fired: Ktime,
}

impl Stalls {
    /// Each record of this class is made when the timer fires; most episodes have more than one.
    pub(super) fn fired(&mut self, record: &Retransmit, now: Ktime, vitals: &Vitals) {
        let ends = ends((record.local, record.local_port), (record.remote, record.remote_port));
        let Some((sender, other)) = ends.filter(|_| usize::from(record.class) == class::RTO) else {
            return;
        };
        let tuple = unordered(sender, other, record.netns);
        let episodes = self.episodes.entry(tuple).or_default();
        if episodes.iter().any(|it| it.cookie == record.cookie && it.over.is_none()) {
            return;
        }
        let fired = Ktime(record.header.ktime_ns);
        episodes.push(Episode { cookie: record.cookie, fired, sender, over: None, own: None, peer: None });
        self.by_age.push_back((now, tuple));
        if MAX_EPISODES < self.by_age.len() && self.forget_oldest() {
            vitals.add(Vital::StallsNotKept, 1);
        }
    }

    /// It is over: from now on a span is told how long it was. It is told to others when [`Stalls::settle`] says so.
    pub(super) fn over(&mut self, record: &RtoEnded, incident: Incident, now: Ktime) -> Option<NetworkEvent> {
        let told = |incident| Some(NetworkEvent { what: What::Incident(incident), span: None });
        let ends = ends((record.local, record.local_port), (record.remote, record.remote_port));
        let (Some((sender, other)), Happened::Stalled { lasted, expiries }) = (ends, &incident.happened)
        else {
            return told(incident);
        };
        let tuple = unordered(sender, other, record.netns);
        let of_tuple = self.episodes.get_mut(&tuple).into_iter().flatten();
        let mut open = of_tuple.filter(|it| it.cookie == record.cookie && it.over.is_none());
        let Some(episode) = open.next() else {
            return told(incident);
        };
        episode.over = Some(StallOver { lasted: *lasted, expiries: *expiries });
        let (cookie, fired) = (episode.cookie, episode.fired);
        if MAX_WAITING <= self.waiting.len() {
            return told(incident);
        }
        self.waiting.push_back(Waiting { since: now, incident, tuple, cookie, fired });
        None
    }

    /// Puts on the span what its connection went through while it was open.
    pub(super) fn witness(&mut self, span: &mut Span, netns: u32, vitals: &Vitals) {
        let (Some(local), Some(peer)) = (span.local, span.peer) else {
            return;
        };
        if self.episodes.is_empty() {
            return;
        }
        let ids = span.ids();
        for episode in self.episodes.get_mut(&unordered(local, peer, netns)).into_iter().flatten() {
            let is_own = episode.sender == local;
            let seen_by = if is_own { &mut episode.own } else { &mut episode.peer };
            if seen_by.is_some() || episode.fired < span.began || span.ended < episode.fired {
                continue;
            }
            *seen_by = Some(ids);
            let sender = if is_own { span.side } else { other(span.side) };
            let stalls = span.stalls.get_or_insert_default();
            if MAX_ON_SPAN <= stalls.kept.len() {
                stalls.left_out += 1;
                vitals.add(Vital::StallsLeftOut, 1);
                continue;
            }
            stalls.kept.push(Stall { fired: episode.fired, sender, over: episode.over });
        }
    }

    /// What is to be told now.
    pub(super) fn settle(&mut self, now: Ktime) -> Vec<NetworkEvent> {
        let mut told = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let span = self.seen_by(&waiting);
            if span.is_none() && now.since(waiting.since) < PATIENCE {
                self.waiting.push_back(waiting);
            } else {
                told.push(NetworkEvent { what: What::Incident(waiting.incident), span });
            }
        }
        told
    }

    /// The sender's own span, if there is one.
    fn seen_by(&self, waiting: &Waiting) -> Option<SpanIds> {
        let mut episodes = self.episodes.get(&waiting.tuple)?.iter();
        let episode = episodes.find(|it| (it.cookie, it.fired) == (waiting.cookie, waiting.fired))?;
        episode.own.or(episode.peer)
    }

    /// Forgets what is old.
    pub(super) fn sweep(&mut self, now: Ktime) {
        while self.by_age.front().is_some_and(|(at, _)| KEPT_FOR < now.since(*at)) {
            self.forget_oldest();
        }
    }

    /// Whether no span was found for it.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, tuple)) = self.by_age.pop_front() else {
            return false;
        };
        let Some(episodes) = self.episodes.get_mut(&tuple).filter(|it| !it.is_empty()) else {
            return false;
        };
        let episode = episodes.remove(0);
        if episodes.is_empty() {
            self.episodes.remove(&tuple);
        }
        episode.own.or(episode.peer).is_none()
    }
}

fn ends(local: ([u8; 16], u16), remote: ([u8; 16], u16)) -> Option<(SocketAddr, SocketAddr)> {
    Some((address::socket(local.0, local.1)?, address::socket(remote.0, remote.1)?))
}

/// Whoever names the connection: which end serves does not matter here.
fn unordered(one: SocketAddr, other: SocketAddr, netns: u32) -> Tuple {
    Tuple::new(one.min(other), one.max(other), netns)
}

fn other(side: Side) -> Side {
    match side {
        Side::Server => Side::Client,
        Side::Client => Side::Server,
    }
}
