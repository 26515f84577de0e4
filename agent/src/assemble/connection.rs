//! One TCP connection, of which one end or both are seen.
//!
//! There may be hundreds of thousands, so it is kept small: most are younger than the agent, nothing goes
//! wrong with them, and their ends have the same two IPv4 addresses. What others need besides is in boxes.

use std::{num::NonZeroU32, time::Duration};

use super::{
    addresses::{Addresses, At},
    edge::{BothWays, Confidence},
    faults::{Cause, Own},
    recent::{Outcome, Recent},
    role::Role,
    seen::{End, Figures, Seen},
};
use crate::{clock::Ktime, targets::process::Tgid};

/// What a connection adds to its edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub bytes: BothWays,
    pub packets: BothWays,
    pub retransmits: u64,
    pub faults: Own,
    pub opened: u64,
    /// 1 while it is open.
    pub active: u64,
}

/// What a row changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Update {
    Figures,
    /// Who the ends are: the connection may belong on another edge.
    Route,
    /// It is another one.
    Another,
}

/// What is kept of a socket besides its addresses, and what it counts.
#[derive(Clone, Copy, Debug)]
struct Half {
    /// The low half is enough to tell the sockets of one key apart.
    cookie: u32,
    tgid: Tgid,
    netns: u32,
    dump: u32,
    retransmits: u32,
    srtt_us: u32,
    role: Role,
    confidence: Confidence,
    cause: Cause,
    opened: bool,
    closed: bool,
    retried: bool,
}

impl Half {
    fn new(seen: &Seen) -> Self {
        let End { tgid, netns, role, confidence, opened, .. } = seen.end;
        Self {
            cookie: low(seen.cookie),
            tgid,
            netns,
            dump: seen.dump,
            retransmits: seen.retransmits,
            srtt_us: seen.srtt_us,
            role,
            confidence,
            cause: seen.cause,
            opened,
            closed: seen.closed.is_some(),
            retried: opened && seen.handshake_repeats != 0,
        }
    }

    /// The same socket again, with what was known better before.
    fn after(self, known: &Self) -> Self {
        // A better source replaces a worse one, never the reverse: a listener may be gone by now.
        let (role, confidence) = if known.confidence < self.confidence {
            (self.role, self.confidence)
        } else {
            (known.role, known.confidence)
        };
        let tgid = if self.tgid == Tgid(0) { known.tgid } else { self.tgid };
        Self { role, confidence, tgid, ..self }
    }

    fn is_missed(&self, oldest: u32) -> bool {
        !self.closed && self.dump < oldest
    }

    fn identity(&self) -> (Tgid, Role, Confidence) {
        (self.tgid, self.role, self.confidence)
    }
}

fn low(cookie: u64) -> u32 {
    cookie as u32
}

/// What few connections have.
#[derive(Debug, Default)]
struct Rare {
    /// Of each socket.
    faults: [Own; 2],
}

/// What of the round trips was handed out.
#[derive(Clone, Copy, Debug, Default)]
struct Sampled {
    handshake: bool,
    /// The peer answered since.
    is_old: bool,
    end: bool,
}

/// Times of a connection that nobody was told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub connect: Option<Duration>,
    pub round_trips: [Option<Duration>; 2],
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    ends: [Option<Half>; 2],
    addresses: Addresses,
    /// Of the end that counts: the client's socket, if it is seen.
    figures: Figures,
    counts: u8,
    /// How it ended, as it was counted: an end that turns up later does not change that.
    how: Option<(Cause, Role)>,
    sampled: Sampled,
    pub first_seen: Ktime,
    /// 0: before the agent came.
    began: Ktime,
    /// 0: its end was not seen.
    ended: Ktime,
    rare: Option<Box<Rare>>,
}

impl Connection {
    #[must_use]
    pub(super) fn new(seen: &Seen, now: Ktime) -> Self {
        let mut connection = Self {
            ends: [None; 2],
            addresses: Addresses::new(seen.end.local, seen.end.remote),
            figures: Figures::default(),
            counts: 0,
            how: None,
            sampled: Sampled::default(),
            first_seen: now,
            began: Ktime(0),
            ended: Ktime(0),
            rare: None,
        };
        connection.take(0, Half::new(seen), seen);
        connection
    }

    /// A closed end stays closed: a dump may be older than the record of the end.
    pub(super) fn update(&mut self, seen: &Seen) -> Update {
        for slot in 0..self.ends.len() {
            match self.ends[slot] {
                Some(known) if known.cookie == low(seen.cookie) => {
                    if known.closed && seen.closed.is_none() {
                        return Update::Figures;
                    }
                    let half = Half::new(seen).after(&known);
                    self.take(slot, half, seen);
                    let is_same = half.identity() == known.identity();
                    return if is_same { Update::Figures } else { Update::Route };
                }
                Some(_) => {}
                None => {
                    self.addresses.second(seen.end.local, seen.end.remote);
                    self.take(slot, Half::new(seen), seen);
                    return Update::Route;
                }
            }
        }
        // A third socket: the key was used again before the old connection was forgotten.
        *self = Self::new(seen, self.first_seen);
        Update::Another
    }

    fn take(&mut self, slot: usize, half: Half, seen: &Seen) {
        self.ends[slot] = Some(half);
        if self.counts() == slot || self.slot_of(Role::Client) == Some(slot) {
            self.counts = u8::from(slot != 0);
            self.sampled.is_old |= self.figures.acked != seen.figures.acked;
            self.figures = seen.figures;
        }
        if self.rare.is_some() || seen.faults != Own::default() {
            self.rare.get_or_insert_default().faults[slot] = seen.faults;
        }
        // From the first of its ends to the last.
        if seen.opened_at != Ktime(0) && (self.began == Ktime(0) || seen.opened_at < self.began) {
            self.began = seen.opened_at;
        }
        self.ended = self.ended.max(seen.closed.unwrap_or_default());
    }

    /// What was seen of the other end under another key becomes a part of it.
    pub(super) fn join(&mut self, other: &Self) {
        for (from, half) in other.ends.iter().enumerate() {
            let (Some(half), Some(slot)) = (half, self.ends.iter().position(Option::is_none)) else {
                continue;
            };
            let (local, remote) = other.addresses.of(from);
            self.addresses.second(local, remote);
            self.ends[slot] = Some(*half);
            if self.slot_of(Role::Client) == Some(slot) && other.counts() == from {
                self.counts = u8::from(slot != 0);
                self.figures = other.figures;
            }
            if let Some(rare) = &other.rare {
                self.rare.get_or_insert_default().faults[slot] = rare.faults[from];
            }
        }
    }

    fn counts(&self) -> usize {
        usize::from(self.counts)
    }

    /// What is to be said of it when it is over.
    #[must_use]
    pub(super) fn recent(&self, backend: Option<At>, now: Ktime) -> Option<Recent> {
        let died = self.halves().find_map(|half| half.cause.death());
        let outcome = match (died, self.how) {
            (Some(death), _) => Outcome::Died(death),
            (None, Some((Cause::ResetByUs(reason), _))) => Outcome::Reset(reason),
            (None, Some((Cause::ResetByPeer, _))) => Outcome::Reset(None),
            _ if self.ended == Ktime(0) => Outcome::Vanished,
            _ => Outcome::Closed,
        };
        let tgid = |role| self.end(role).map_or(Tgid(0), |end| end.tgid);
        let [client, server] = self.sockets(backend)?;
        let counted = self.figures();
        Some(Recent {
            client,
            server,
            client_tgid: tgid(Role::Client),
            server_tgid: tgid(Role::Server),
            began: (self.began != Ktime(0)).then_some(self.began),
            ended: if self.ended == Ktime(0) { now } else { self.ended },
            bytes: counted.bytes,
            retransmits: counted.retransmits,
            rtt: self.rtt(),
            outcome,
        })
    }

    /// The client's address and the server's, each as its own socket has it, where that is seen. `backend`: where
    /// a server is that was not seen but named.
    #[must_use]
    pub(super) fn sockets(&self, backend: Option<At>) -> Option<[At; 2]> {
        let (client, server) = (self.end(Role::Client), self.end(Role::Server));
        let local = |end: Option<End>| end.map(|end| end.local);
        let remote = |end: Option<End>| end.map(|end| end.remote);
        Some([local(client).or(remote(server))?, local(server).or(backend).or(remote(client))?])
    }

    /// Smoothed, as the end has it that says less: the other one may have waited for acknowledgements that were
    /// held back. `None` before the first sample.
    #[must_use]
    pub(super) fn rtt(&self) -> Option<Duration> {
        let srtt_us = self.halves().map(|half| half.srtt_us).filter(|it| *it != 0).min();
        srtt_us.and_then(micros)
    }

    fn halves(&self) -> impl Iterator<Item = &Half> {
        self.ends.iter().flatten()
    }

    fn view(&self, slot: usize) -> Option<End> {
        let Half { tgid, netns, role, confidence, opened, .. } = self.ends[slot]?;
        let (local, remote) = self.addresses.of(slot);
        Some(End { tgid, netns, role, confidence, local, remote, opened })
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = End> + '_ {
        (0..self.ends.len()).filter_map(|slot| self.view(slot))
    }

    /// How the socket with this cookie ended, as far as that was seen last; `None` when it was never seen.
    #[must_use]
    pub(super) fn known(&self, cookie: u64) -> Option<Cause> {
        self.halves().find(|half| half.cookie == low(cookie)).map(|half| half.cause)
    }

    /// Whether no whole dump since `oldest` has shown one of its open ends.
    #[must_use]
    pub(super) fn is_missed(&self, oldest: u32) -> bool {
        self.halves().any(|half| half.is_missed(oldest))
    }

    /// Those have ended unseen; returns how many.
    pub(super) fn end_unseen(&mut self, oldest: u32) -> u64 {
        let mut n_ended = 0;
        for half in self.ends.iter_mut().flatten().filter(|half| half.is_missed(oldest)) {
            half.closed = true;
            n_ended += 1;
        }
        n_ended
    }

    #[must_use]
    pub(super) fn is_paired(&self) -> bool {
        self.ends.iter().all(Option::is_some)
    }

    /// All ends that are seen are closed.
    #[must_use]
    pub(super) fn is_closed(&self) -> bool {
        self.halves().all(|half| half.closed)
    }

    /// Of the end with the surest role; it decides for both. That somebody listens is surer than that
    /// nobody does.
    fn surest(&self) -> Option<usize> {
        let slots = (0..self.ends.len()).filter_map(|slot| Some((slot, self.ends[slot]?)));
        let surest = slots.max_by_key(|(_, half)| (half.confidence, half.role == Role::Server));
        surest.map(|(slot, _)| slot)
    }

    fn slot_of(&self, role: Role) -> Option<usize> {
        let surest = self.surest()?;
        let slot = if self.ends[surest]?.role == role { surest } else { 1 - surest };
        self.ends[slot].map(|_| slot)
    }

    #[must_use]
    pub(super) fn confidence(&self) -> Confidence {
        self.surest().and_then(|slot| self.ends[slot]).map_or(Confidence::None, |half| half.confidence)
    }

    /// The socket of the client or of the server, where it is seen.
    #[must_use]
    pub(super) fn end(&self, role: Role) -> Option<End> {
        self.slot_of(role).and_then(|slot| self.view(slot))
    }

    /// The figures so far: the client's, else the server's. Never both, but for what each sent again.
    #[must_use]
    pub(super) fn figures(&self) -> Counted {
        let is_client = self.slot_of(Role::Client) == Some(self.counts());
        let both = |sent: u64, received: u64| {
            let (to_server, to_client) = if is_client { (sent, received) } else { (received, sent) };
            BothWays { to_server, to_client }
        };
        let Figures { sent_bytes, received_bytes, segments_out, segments_in, .. } = self.figures;
        Counted {
            bytes: both(sent_bytes, received_bytes),
            packets: both(segments_out.into(), segments_in.into()),
            retransmits: self.halves().map(|half| u64::from(half.retransmits)).sum(),
            faults: self.faults(),
            opened: self.halves().any(|half| half.opened).into(),
            active: (!self.is_closed()).into(),
        }
    }

    /// What each end sent again is its own.
    fn faults(&self) -> Own {
        let mut sum = self.rare.as_ref().map_or(Own::default(), |rare| rare.faults[0].plus(&rare.faults[1]));
        // A server repeats its SYN-ACK, too, when the client has long been content.
        let opener = self.slot_of(Role::Client).or_else(|| self.slot_of(Role::Server));
        sum.retried = opener.and_then(|slot| self.ends[slot]).is_some_and(|half| half.retried);
        sum.ended = self.how;
        sum
    }

    /// Says how it ended, once it has.
    pub(super) fn judge(&mut self) {
        // Whoever still has one of its sockets: a connection that died does not come back.
        let is_over = self.is_closed() || self.halves().any(|half| half.cause.death().is_some());
        if self.how.is_none() && is_over {
            self.how = self.verdict();
        }
    }

    fn verdict(&self) -> Option<(Cause, Role)> {
        let as_seen_by = |role| Some((self.ends[self.slot_of(role)?]?.cause, role));
        [Role::Client, Role::Server].into_iter().filter_map(as_seen_by).max_by_key(|(cause, _)| *cause)
    }

    /// One round trip for the handshake, one for each time that the peer was heard since the last, one at
    /// the end. When that is, says the client's socket, else the server's.
    pub(super) fn times(&mut self) -> Times {
        let Figures { handshake_rtt_us, connect_us, .. } = self.figures;
        let srtt = self.rtt();
        let closed = self.ends[self.counts()].is_some_and(|half| half.closed);
        let mut times = Times::default();
        let sampled = &mut self.sampled;
        if !sampled.handshake {
            times.connect = connect_us.map(NonZeroU32::get).and_then(micros);
            times.round_trips[0] = micros(handshake_rtt_us);
        }
        let heard = sampled.is_old && !closed && sampled.handshake;
        if heard || (closed && !sampled.end) {
            times.round_trips[1] = srtt;
        }
        *sampled = Sampled { handshake: true, is_old: false, end: closed };
        times
    }
}

/// 0 is none.
fn micros(us: u32) -> Option<Duration> {
    (us != 0).then(|| Duration::from_micros(us.into()))
}
