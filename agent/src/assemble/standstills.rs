//! Who waits for whom just now, and since when: what dumps show, put together for each process and peer.
//!
//! not there --shown by a dump--> stands --not shown by the next one--> gone
//!
//! State is kept of what stands still, not of connections: however many wait for the same, it is one.

use std::{
    mem::{self, Discriminant},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use agent_common::event::sock::Row;
use ahash::AHashMap;

use super::{
    address,
    dialogs::{Dialogs, Pair},
    edge::Confidence,
    incident::Other,
    key::Key,
    role::Role,
    seen::End,
    sockets::Surroundings,
    standstill::{self, Standstill},
};
use crate::{
    clock::Ktime,
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const MAX_STANDING: usize = 1024;

/// What is one for its reader. Clients by the port that they use: each of many may be another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Subject {
    what: Discriminant<Standstill>,
    owner: Tgid,
    /// The server, or the own address.
    at: (Option<IpAddr>, u16),
}

/// All that stand still for the same reason, as a dump shows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub what: Standstill,
    pub owner: Tgid,
    pub other: Other,
    /// The longest of them; this and all of the above are of that one.
    pub lasts: Duration,
    /// `None`: a listener.
    pub connection: Option<Key>,
    pub connections: u32,
    /// No dump showed it before.
    pub is_new: bool,
    asked: Asked,
}

/// How far the conversation was of the connection that waits longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    cookie: u64,
    sent_bytes: u64,
    received_bytes: u64,
}

#[derive(Debug)]
struct Episode {
    began: Ktime,
    /// By the dump that is under way.
    shown: Option<Standing>,
    /// By the dump before.
    asked: Asked,
    is_told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Standstills {
    standing: AHashMap<Subject, Episode>,
    dialogs: Dialogs,
    /// Of those that stand: whether somebody waits for an answer.
    is_anybody_unanswered: bool,
}

impl Standstills {
    pub(super) fn listener(&mut self, row: &Row, now: Ktime, vitals: &Vitals) {
        let Some(what) = standstill::of_listener(&row.figures) else {
            return;
        };
        let at = SocketAddr::new(address::ip(row.state.local), row.state.local_port);
        let standing = Standing {
            what,
            owner: Tgid(row.state.tgid),
            other: Other::Anybody(at),
            // As long as it is shown: the kernel does not say.
            lasts: Duration::ZERO,
            connection: None,
            connections: row.figures.accept_backlog,
            is_new: true,
            asked: Asked::default(),
        };
        self.show(standing, now, vitals);
    }

    /// A socket of a connection that is open.
    pub(super) fn socket(&mut self, row: &Row, end: &End, connection: Key, around: &Surroundings<'_>) {
        let surely = (Confidence::Listener <= end.confidence).then_some(end.role);
        let pair = (surely == Some(Role::Client)).then_some(Pair { client: end.tgid, server: end.remote });
        let asked = Asked {
            cookie: row.cookie,
            sent_bytes: row.figures.sent_bytes,
            received_bytes: row.figures.received_bytes,
        };
        if let Some(pair) = pair {
            // A dump or two may be late, or lost.
            let lately = around.dump_every.saturating_mul(3);
            if let Some((took, ago)) = standstill::answered(&row.figures, lately) {
                self.dialogs.answered(pair, took, around.now.minus(ago), around.vitals);
            }
            if self.is_anybody_unanswered {
                self.heed(pair, asked);
            }
        }
        let seen = standstill::of(row, surely, around.now);
        let Some((what, lasts)) = seen.or_else(|| self.unanswered(pair?, row)) else {
            return;
        };
        let other = match end.role {
            Role::Client => Other::Server(end.remote.into()),
            Role::Server => Other::Client(end.remote.0, end.local.1),
        };
        let (owner, connection) = (end.tgid, Some(connection));
        let standing =
            Standing { what, owner, other, lasts, connection, connections: 1, is_new: true, asked };
        self.show(standing, around.now, around.vitals);
    }

    fn unanswered(&self, pair: Pair, row: &Row) -> Option<(Standstill, Duration)> {
        let waits = standstill::last_word(&row.figures)?;
        let longest = self.dialogs.is_late(pair, waits)?;
        Some((Standstill::Unanswered { longest }, waits))
    }

    /// Whoever was said to wait and says something else did not wait.
    fn heed(&mut self, pair: Pair, now: Asked) {
        let Some(before) = self.standing.get(&Subject::unanswered(&pair)).map(|it| it.asked) else {
            return;
        };
        let is_same = before.cookie == now.cookie && before.received_bytes == now.received_bytes;
        if is_same && before.sent_bytes < now.sent_bytes {
            self.dialogs.spoke_again(pair);
        }
    }

    fn show(&mut self, standing: Standing, now: Ktime, vitals: &Vitals) {
        let subject = Subject::of(&standing);
        if MAX_STANDING <= self.standing.len() && !self.standing.contains_key(&subject) {
            return vitals.add(Vital::StandstillsNotKept, 1);
        }
        let new = || Episode { began: now, shown: None, asked: Asked::default(), is_told: false };
        let episode = self.standing.entry(subject).or_insert_with(new);
        let others = episode.shown.map_or(0, |it| it.connections);
        let connections = others.saturating_add(standing.connections);
        let longest = episode.shown.filter(|it| standing.lasts <= it.lasts).unwrap_or(standing);
        episode.shown = Some(Standing { connections, ..longest });
    }

    /// What one has shown that was broken off counts for nothing.
    pub(super) fn dump_begins(&mut self) {
        self.standing.values_mut().for_each(|episode| episode.shown = None);
    }

    /// A dump is over: whatever it did not show stands no more.
    pub(super) fn dump_ends(&mut self, around: &Surroundings<'_>) -> Vec<Standing> {
        let now = around.now;
        let mut all = Vec::new();
        self.standing.retain(|_, episode| {
            let Some(mut standing) = episode.shown.take() else {
                return false;
            };
            standing.is_new = !mem::replace(&mut episode.is_told, true);
            if standing.connection.is_none() {
                standing.lasts = now.since(episode.began);
            }
            episode.asked = standing.asked;
            all.push(standing);
            true
        });
        let Self { standing, dialogs, .. } = self;
        let lives = |tgid| around.directory.get(tgid).is_some();
        dialogs.sweep(now, lives, |pair| standing.contains_key(&Subject::unanswered(pair)));
        self.is_anybody_unanswered = all.iter().any(|it| matches!(it.what, Standstill::Unanswered { .. }));
        all
    }
}

impl Subject {
    fn of(standing: &Standing) -> Self {
        let at = match standing.other {
            Other::Server(at) | Other::Anybody(at) => (Some(at.ip()), at.port()),
            Other::Client(_, own_port) => (None, own_port),
        };
        Self { what: mem::discriminant(&standing.what), owner: standing.owner, at }
    }

    fn unanswered(pair: &Pair) -> Self {
        let what = mem::discriminant(&Standstill::Unanswered { longest: Duration::ZERO });
        Self { what, owner: pair.client, at: (Some(pair.server.0), pair.server.1) }
    }
}
