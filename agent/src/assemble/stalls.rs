//! Retransmission time-outs of connections, and the requests that were open meanwhile.
//!
//! timer fired --a request of the connection ends--> on its span
//! on its span, not over --acknowledged again, or not in time--> the span goes on
//! timer fired --acknowledged again--> over --a request ends, has ended, or none in time--> told, with its ids if there are any
//!
//! What brings the answer may be acknowledged only with the next request: then the request ends first. In HTTP/1 the
//! requests of a connection follow each other. Of those that were open when the timer fired the one that ends first
//! had the connection; another one was only waiting for it. So each end has one span of an episode.
//! Streams share their connection: all that were open have it, and the first to end stands for them.

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
/// Over, and not told yet.
const MAX_WAITING: usize = 1024;
/// Spans that wait for the end of an episode. More go on without it.
const MAX_HELD: usize = 1024;
/// So long after the end of the episode the answer that was held up is there, if nothing else holds it up; and so
/// long after the end of a request it is known that the answer had come.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Stalls {
    episodes: AHashMap<Tuple, Vec<Episode>>,
    /// One for each, the oldest first.
    by_age: VecDeque<(Ktime, Tuple)>,
    waiting: VecDeque<Waiting>,
    held: VecDeque<Held>,
}

/// Of all sockets. A later episode of a socket is another one even when the end of that before was not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EpisodeId {
    cookie: u64,
    /// Among those of the socket.
    number: u32,
}

/// A timer fired, and not much later, or never, something was acknowledged again.
#[derive(Debug)]
struct Episode {
    id: EpisodeId,
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
    episode: EpisodeId,
}

/// A span that ended while an episode lasted.
#[derive(Debug)]
struct Held {
    since: Ktime,
    tuple: Tuple,
    span: Span,
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
        let id = EpisodeId { cookie: record.cookie, number: record.episodes };
        if episodes.iter().any(|it| it.id == id) {
            return;
        }
        let fired = Ktime(record.header.ktime_ns);
        episodes.push(Episode { id, fired, sender, over: None, own: None, peer: None });
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
        let id = EpisodeId { cookie: record.cookie, number: record.episodes };
        let mut of_tuple = self.episodes.get_mut(&tuple).into_iter().flatten();
        let Some(episode) = of_tuple.find(|it| it.id == id) else {
            return told(incident);
        };
        episode.over = Some(StallOver { lasted: *lasted, expiries: *expiries });
        if MAX_WAITING <= self.waiting.len() {
            return told(incident);
        }
        self.waiting.push_back(Waiting { since: now, incident, tuple, episode: id });
        None
    }

    /// Puts on the span what its connection went through while it was open, and gives it back unless it is to wait for
    /// the end of that.
    pub(super) fn witness(
        &mut self,
        mut span: Span,
        netns: u32,
        now: Ktime,
        vitals: &Vitals,
    ) -> Option<Span> {
        let (Some(local), Some(peer)) = (span.local, span.peer) else {
            return Some(span);
        };
        if self.episodes.is_empty() {
            return Some(span);
        }
        let tuple = unordered(local, peer, netns);
        self.put_on(&mut span, local, &tuple, vitals);
        if is_whole(&span) || MAX_HELD <= self.held.len() {
            return Some(span);
        }
        self.held.push_back(Held { since: now, tuple, span });
        None
    }

    fn put_on(&mut self, span: &mut Span, local: SocketAddr, tuple: &Tuple, vitals: &Vitals) {
        let ids = span.ids();
        for episode in self.episodes.get_mut(tuple).into_iter().flatten() {
            let is_own = episode.sender == local;
            let seen_by = if is_own { &mut episode.own } else { &mut episode.peer };
            let is_taken = seen_by.is_some() && !span.protocol.has_streams();
            if is_taken || episode.fired < span.began || span.ended < episode.fired {
                continue;
            }
            seen_by.get_or_insert(ids);
            let sender = if is_own { span.side } else { other(span.side) };
            let causes = span.causes.get_or_insert_default();
            if !causes.has_room() {
                vitals.add(Vital::StallsLeftOut, 1);
                continue;
            }
            causes.stalls.push(Stall { fired: episode.fired, sender, over: episode.over });
        }
    }

    /// Spans that have waited, and know the end of what they went through, or wait no longer.
    pub(super) fn release(&mut self, now: Ktime) -> Vec<Span> {
        let mut released = Vec::new();
        for mut held in std::mem::take(&mut self.held) {
            self.complete(&mut held);
            if is_whole(&held.span) || PATIENCE <= now.since(held.since) {
                released.push(held.span);
            } else {
                self.held.push_back(held);
            }
        }
        released
    }

    /// Tells a span what is over by now.
    fn complete(&self, Held { tuple, span, .. }: &mut Held) {
        let (ids, side) = (span.ids(), span.side);
        let episodes = self.episodes.get(tuple).map_or(&[][..], Vec::as_slice);
        for stall in span.causes.iter_mut().flat_map(|it| &mut it.stalls) {
            let is_own = stall.sender == side;
            let mut fitting = episodes.iter().filter(|it| {
                let seen_by = if is_own { it.own } else { it.peer };
                it.fired == stall.fired && seen_by == Some(ids)
            });
            stall.over = stall.over.or_else(|| fitting.next()?.over);
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
        let episode = episodes.find(|it| it.id == waiting.episode)?;
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

/// Whether it knows the end of all that it went through.
fn is_whole(span: &Span) -> bool {
    span.causes.iter().flat_map(|it| &it.stalls).all(|it| it.over.is_some())
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
