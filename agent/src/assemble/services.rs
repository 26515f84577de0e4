//! Whose an address is, where only the client's end of a connection is seen: it may be that of a service,
//! which is translated on the way.
//!
//! not asked --question--> asked --answer, or none in time--> known
//!
//! A service may have many servers, so there is a question for each connection. That an address is no
//! service's, or that nobody knows, is remembered for a while.

use std::{net::SocketAddr, time::Duration};

use ahash::AHashMap;

use super::connection::{End, Key};
use crate::clock::Ktime;

/// Under way at once. Answers come in some 50 ms, so this is a bound on their number in a second, too.
const MAX_ASKED: usize = 64;
const MAX_REMEMBERED: usize = 4096;
/// An address outside does not become a service's every day.
const OWN_FOR: Duration = Duration::from_secs(60);
/// Rules and connections that are not tracked now may be soon.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// A connection waits so long for its answer, and as long again for room to ask.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Which server took the connection?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub client: SocketAddr,
    /// As the client knows it.
    pub server: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The one that the client knows.
    Same,
    Other(SocketAddr),
    /// Nobody knows the connection.
    Unknown,
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
#[derive(Debug, Default)]
pub(super) struct Services {
    is_answered: bool,
    questions: Vec<Question>,
    asked: AHashMap<Question, Key>,
    /// Addresses that are nobody's service, or that nobody knows.
    remembered: AHashMap<SocketAddr, (Ktime, Answer)>,
}

impl Services {
    /// There is somebody who answers; before that all is unknown.
    pub(super) fn are_known(&mut self) {
        self.is_answered = true;
    }

    pub(super) fn take_questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.questions)
    }

    /// Asks for the server of a connection, unless it is known already; `NotAsked` when there is no room.
    pub(super) fn ask(&mut self, key: Key, client: &End, now: Ktime) -> Knowledge {
        let socket = |(ip, port)| SocketAddr::new(ip, port);
        let question = Question { client: socket(client.local), server: socket(client.remote) };
        if question.server.ip().is_loopback() {
            return Knowledge::Known(Answer::Same);
        }
        if !self.is_answered {
            return Knowledge::Known(Answer::Unknown);
        }
        if let Some((until, answer)) = self.remembered.get(&question.server)
            && now < *until
        {
            return Knowledge::Known(*answer);
        }
        if MAX_ASKED <= self.asked.len() {
            return Knowledge::NotAsked;
        }
        self.asked.insert(question, key);
        self.questions.push(question);
        Knowledge::Asked(now)
    }

    /// Whose question it was; `None` when nobody asked.
    pub(super) fn answered(&mut self, question: &Question, answer: Answer, now: Ktime) -> Option<Key> {
        let key = self.asked.remove(question)?;
        let remembered_for = match answer {
            Answer::Same => OWN_FOR,
            Answer::Unknown => UNKNOWN_FOR,
            Answer::Other(_) => Duration::ZERO,
        };
        if remembered_for.is_zero() {
            self.remembered.remove(&question.server);
        } else if self.remembered.len() < MAX_REMEMBERED || self.make_room(now) {
            self.remembered.insert(question.server, (now.plus(remembered_for), answer));
        }
        Some(key)
    }

    /// Without room it is asked again, which is all that is lost.
    fn make_room(&mut self, now: Ktime) -> bool {
        self.remembered.retain(|_, (until, _)| now < *until);
        self.remembered.len() < MAX_REMEMBERED
    }
}
