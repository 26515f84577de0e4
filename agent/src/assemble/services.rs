//! Whose an address is, where only the client's end of a connection is seen: it may be that of a service,
//! which is translated on the way.
//!
//! not asked --question--> asked --answer, or none in time--> known
//!
//! A service may have many servers, so there is a question for each connection. That an address is no
//! service's, or that nobody knows, is remembered for a while; and who served, for connects that reach nobody.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use ahash::AHashMap;
use lru::LruCache;

use super::{edge::Transport, key::Key, udp::TalkKey};
use crate::{
    clock::Ktime,
    vitals::{Vital, Vitals},
};

/// Under way at once. Answers come in some 50 ms, so this is a bound on their number in a second, too.
const MAX_ASKED: usize = 64;
/// Of these, for connections that are older than the agent; and how many of them wait for that.
const MAX_OLDER_ASKED: usize = 16;
const MAX_OLDER: usize = 4096;
const MAX_REMEMBERED: usize = 4096;
/// An address outside does not become a service's every day.
const OWN_FOR: Duration = Duration::from_secs(60);
/// Rules and connections that are not tracked now may be soon.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// Addresses of services, and how many servers are remembered of each.
const MAX_SERVICES: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");
const MAX_SERVERS: usize = 8;
/// A server may leave its service.
const SERVES_FOR: Duration = Duration::from_secs(5 * 60);
/// A connection waits so long for its answer, and as long again for room to ask.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Which server took the connection?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub transport: Transport,
    pub client: SocketAddr,
    /// As the client knows it.
    pub server: SocketAddr,
}

impl Question {
    #[must_use]
    pub(super) fn new(transport: Transport, client: (IpAddr, u16), server: (IpAddr, u16)) -> Self {
        Self { transport, client: client.into(), server: server.into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The one that the client knows.
    Same,
    /// Another one; and the client, as that server knows it.
    Other { server: SocketAddr, client: SocketAddr },
    /// Nobody knows the connection.
    Unknown,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Connection(Key),
    /// One that is older than the agent.
    Older(Key),
    /// A connect that failed.
    Failure,
    Talk(TalkKey),
}

/// Who served those that used an address, if it is a service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Nobody, as far as is known.
    Nobody,
    One(SocketAddr),
    /// All of them by one port.
    Several {
        port: u16,
    },
}

/// What is known of the server of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Knowledge {
    #[default]
    NotAsked,
    Asked(Ktime),
    Known(Answer),
}

/// Questions and answers.
#[derive(Debug)]
pub(super) struct Services {
    is_answered: bool,
    questions: Vec<Question>,
    asked: AHashMap<Question, Subject>,
    /// To be asked when there is room, the newest last.
    older: Vec<(Key, Question)>,
    /// Addresses that are nobody's service, or that nobody knows.
    remembered: AHashMap<(Transport, SocketAddr), (Ktime, Answer)>,
    /// Who served last behind an address, the newest last.
    servers: LruCache<(Transport, SocketAddr), Vec<(SocketAddr, Ktime)>, ahash::RandomState>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            is_answered: false,
            questions: Vec::new(),
            asked: AHashMap::new(),
            older: Vec::new(),
            remembered: AHashMap::new(),
            servers: LruCache::with_hasher(MAX_SERVICES, ahash::RandomState::new()),
        }
    }
}

impl Services {
    /// There is somebody who answers; before that all is unknown.
    pub(super) fn are_known(&mut self) {
        self.is_answered = true;
    }

    pub(super) fn take_questions(&mut self) -> Vec<Question> {
        let is_older = |it: &&Subject| matches!(it, Subject::Older(_));
        let mut n_older = self.asked.values().filter(is_older).count();
        while n_older < MAX_OLDER_ASKED
            && self.asked.len() < MAX_ASKED
            && let Some((key, question)) = self.older.pop()
        {
            if self.asked.insert(question, Subject::Older(key)).is_none() {
                self.questions.push(question);
                n_older += 1;
            }
        }
        std::mem::take(&mut self.questions)
    }

    /// Whether it is not known yet where a server is; asks for it. `since`: when that was wanted first, and a little
    /// later is soon enough.
    pub(super) fn waits(
        &mut self,
        server: &mut Knowledge,
        (subject, question): (Subject, Question),
        since: Ktime,
        now: Ktime,
        vitals: &Vitals,
    ) -> bool {
        if *server == Knowledge::NotAsked {
            *server = self.ask(subject, question, now);
        }
        let waits = match *server {
            Knowledge::Known(_) => return false,
            Knowledge::Asked(at) => now.since(at) < PATIENCE,
            Knowledge::NotAsked => now.since(since) < PATIENCE,
        };
        if !waits {
            vitals.add(Vital::ServersNotAsked, 1);
            *server = Knowledge::Known(Answer::Unknown);
        }
        waits
    }

    /// What there is to say without asking.
    fn known(&self, question: &Question, now: Ktime) -> Option<Answer> {
        if question.server.ip().is_loopback() {
            return Some(Answer::Same);
        }
        if !self.is_answered {
            return Some(Answer::Unknown);
        }
        let (until, answer) = self.remembered.get(&(question.transport, question.server))?;
        (now < *until).then_some(*answer)
    }

    /// Asks for the server of a connection, unless it is known already; `NotAsked` when there is no room.
    pub(super) fn ask(&mut self, subject: Subject, question: Question, now: Ktime) -> Knowledge {
        if let Some(answer) = self.known(&question, now) {
            return Knowledge::Known(answer);
        }
        if MAX_ASKED <= self.asked.len() {
            return Knowledge::NotAsked;
        }
        self.asked.insert(question, subject);
        self.questions.push(question);
        Knowledge::Asked(now)
    }

    /// As [`Services::ask`], when there is room: nobody waits for the answer. There are many when the agent starts,
    /// and those that are opened now must not wait behind them.
    pub(super) fn ask_some_time(&mut self, key: Key, question: Question, now: Ktime) -> Knowledge {
        if let Some(answer) = self.known(&question, now) {
            return Knowledge::Known(answer);
        }
        if MAX_OLDER <= self.older.len() {
            return Knowledge::NotAsked;
        }
        self.older.push((key, question));
        Knowledge::Asked(now)
    }

    /// What the question was about; `None` when nobody asked.
    pub(super) fn answered(&mut self, question: &Question, answer: Answer, now: Ktime) -> Option<Subject> {
        let subject = self.asked.remove(question)?;
        if let Answer::Other { server, .. } = answer {
            self.served(question.transport, question.server, server, now);
        }
        let remembered_for = match answer {
            Answer::Same => OWN_FOR,
            // Of others there is something to know all the same.
            Answer::Unknown if subject == Subject::Failure => return Some(subject),
            Answer::Unknown => UNKNOWN_FOR,
            Answer::Other { .. } => Duration::ZERO,
        };
        let address = (question.transport, question.server);
        if remembered_for.is_zero() {
            self.remembered.remove(&address);
        } else if self.remembered.len() < MAX_REMEMBERED || self.make_room(now) {
            self.remembered.insert(address, (now.plus(remembered_for), answer));
        }
        Some(subject)
    }

    /// Somebody used the address of a service and got a server.
    pub(super) fn served(
        &mut self,
        transport: Transport,
        service: SocketAddr,
        server: SocketAddr,
        now: Ktime,
    ) {
        let servers = self.servers.get_or_insert_mut((transport, service), Vec::new);
        servers.retain(|(it, _)| *it != server);
        if MAX_SERVERS <= servers.len() {
            servers.remove(0);
        }
        servers.push((server, now));
    }

    pub(super) fn behind(&self, transport: Transport, service: SocketAddr, now: Ktime) -> Behind {
        let servers = self.servers.peek(&(transport, service)).into_iter().flatten();
        let mut serving = servers.filter(|(_, at)| now.since(*at) < SERVES_FOR).map(|(it, _)| *it);
        match (serving.next(), serving.next()) {
            (None, _) => Behind::Nobody,
            (Some(one), None) => Behind::One(one),
            (Some(one), Some(other)) => {
                let port = one.port();
                let is_same = other.port() == port && serving.all(|it| it.port() == port);
                if is_same { Behind::Several { port } } else { Behind::Nobody }
            }
        }
    }

    /// Without room it is asked again, which is all that is lost.
    fn make_room(&mut self, now: Ktime) -> bool {
        self.remembered.retain(|_, (until, _)| now < *until);
        self.remembered.len() < MAX_REMEMBERED
    }
}
