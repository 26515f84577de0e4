//! Questions to resolvers, until they are answered or nobody waits any more.
//!
//! asked --answer--> over
//! asked --asked again, of this resolver or another--> asked
//! asked --5 s--> told as unanswered --all that was asked is told--> over
//!
//! When a message was lost, it may have been an answer: then nothing is said of what was asked before. Of what was
//! asked over TCP so is each segment that was not read.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use agent_common::counter;
use ahash::AHashMap;

use super::lookup::Outcome;
use crate::{
    clock::Ktime,
    decode::dns::{Body, DnsMessage, Question},
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const MAX_OPEN: usize = 16_384;
/// Those that are answered wait on.
const MAX_WAITING: usize = 65_536;
/// Resolvers that one question is sent to.
const MAX_ASKS: usize = 4;
/// The time-out of glibc and of Go.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// An answer that came in time may still be in the ring.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// A client that asks twice at once takes another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    client: SocketAddr,
    is_tcp: bool,
    id: u16,
}

#[derive(Clone, Debug)]
struct Open {
    question: Question,
    asker: Tgid,
    cookie: u64,
    asks: Vec<Ask>,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    resolver: SocketAddr,
    at: Ktime,
    is_told: bool,
}

/// An end, before it is known who the client is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    /// 0: not known.
    pub asker: Tgid,
    /// Of its socket; 0: not known.
    pub cookie: u64,
    pub client: SocketAddr,
    pub resolver: SocketAddr,
    pub question: Question,
    pub outcome: Outcome,
    pub at: Ktime,
}

#[derive(Debug)]
pub(super) struct Lookups {
    open: AHashMap<Key, Open>,
    /// In the order in which they were sent.
    waiting: VecDeque<(Ktime, Key)>,
    /// Messages that had been lost when that was looked at last.
    lost: u64,
    /// As `lost`, segments that were not read.
    not_read: u64,
    vitals: Arc<Vitals>,
}

impl Lookups {
    pub(super) fn new(vitals: Arc<Vitals>) -> Self {
        Self { open: AHashMap::new(), waiting: VecDeque::new(), lost: 0, not_read: 0, vitals }
    }

    /// `None`: nothing has ended. An answer that nobody asked for is none, whoever sent it.
    pub(super) fn take(&mut self, message: &DnsMessage) -> Option<Ended> {
        let key = Key { client: message.client, is_tcp: message.is_tcp, id: message.id };
        match &message.body {
            Body::Query(question) => {
                self.asked(key, message, question);
                None
            }
            // It came, but nobody can say what it was.
            Body::Malformed => {
                self.open.remove(&key);
                None
            }
            Body::Answer { question, code, .. } => {
                let is_it = |open: &Open| question.as_ref().is_none_or(|it| *it == open.question);
                if !self.open.get(&key).is_some_and(is_it) {
                    self.vitals.add(Vital::DnsAnswersUnasked, 1);
                    return None;
                }
                let open = self.open.remove(&key)?;
                let ask = open.answered_by(message.resolver)?;
                let outcome = Outcome::Answered { code: *code, took: message.at.since(ask.at) };
                Some(open.ended(message.client, ask.resolver, outcome, message.at))
            }
        }
    }

    fn asked(&mut self, key: Key, message: &DnsMessage, question: &Question) {
        let is_full = MAX_OPEN <= self.open.len() || MAX_WAITING <= self.waiting.len();
        let ask = Ask { resolver: message.resolver, at: message.at, is_told: false };
        match self.open.get_mut(&key).filter(|open| open.question == *question) {
            Some(open) if MAX_ASKS <= open.asks.len() => return,
            // Of the same resolver: the first time counts.
            Some(open) if open.asks.iter().any(|it| it.resolver == ask.resolver && !it.is_told) => return,
            Some(open) => open.asks.push(ask),
            None if is_full => return self.vitals.add(Vital::DnsQueriesNotFollowed, 1),
            None => {
                let DnsMessage { asker, cookie, .. } = *message;
                let open = Open { question: question.clone(), asker, cookie, asks: vec![ask] };
                self.open.insert(key, open);
            }
        }
        self.waiting.push_back((ask.at, key));
    }

    /// Those that nobody has answered in time.
    pub(super) fn unanswered(&mut self, now: Ktime) -> Vec<Ended> {
        self.forget_after_loss();
        let mut ended = Vec::new();
        while let Some((at, key)) = self.waiting.front().copied()
            && PATIENCE + UNDER_WAY <= now.since(at)
        {
            self.waiting.pop_front();
            // It may have been answered, and even the key used again.
            let Some(open) = self.open.get_mut(&key) else {
                continue;
            };
            let Some(ask) = open.asks.iter_mut().find(|ask| ask.at == at && !ask.is_told) else {
                continue;
            };
            ask.is_told = true;
            let (resolver, outcome) = (ask.resolver, Outcome::Unanswered { waited: PATIENCE });
            ended.push(open.ended(key.client, resolver, outcome, at.plus(PATIENCE)));
            if open.asks.iter().all(|ask| ask.is_told) {
                self.open.remove(&key);
            }
        }
        ended
    }

    fn forget_after_loss(&mut self) {
        let kernel = [counter::DNS_RING_FULL, counter::DNS_THROTTLED, counter::DNS_SHORT];
        let lost = kernel.map(|slot| self.vitals.kernel(slot)).iter().sum::<u64>()
            + self.vitals.get(Vital::EventsQueueFull);
        let not_read = self.vitals.kernel(counter::DNS_TCP_NOT_READ);
        let (is_lost, is_not_read) = (self.lost != lost, self.not_read != not_read);
        (self.lost, self.not_read) = (lost, not_read);
        if !is_lost && !is_not_read {
            return;
        }
        let n_open = self.open.len();
        self.open.retain(|key, _| !is_lost && !key.is_tcp);
        self.vitals.add(Vital::DnsQueriesUnjudged, (n_open - self.open.len()) as u64);
        if is_lost {
            self.waiting.clear();
        }
    }
}

impl Open {
    /// Where addresses are translated the answer comes from another one: then it is the newest that was asked.
    fn answered_by(&self, resolver: SocketAddr) -> Option<Ask> {
        self.asks.iter().find(|ask| ask.resolver == resolver).or(self.asks.last()).copied()
    }

    fn ended(&self, client: SocketAddr, resolver: SocketAddr, outcome: Outcome, at: Ktime) -> Ended {
        let Self { asker, cookie, .. } = *self;
        Ended { asker, cookie, client, resolver, question: self.question.clone(), outcome, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::dns::{RecordKind, ResponseCode};

    #[test]
    fn an_answer_ends_the_question() {
        check("0 ask a 1 x; 30 answer a 1 x", "30 x answered after 30 by 10.0.0.53");
        check("0 ask a 1 x; 30 answer a 1 x; 31 answer a 1 x", "30 x answered after 30 by 10.0.0.53");
        check(
            "0 ask a 1 x; 1 ask a 2 y; 30 answer a 2 y; 40 answer a 1 x",
            "30 y answered after 29 by 10.0.0.53; 40 x answered after 40 by 10.0.0.53",
        );
    }

    #[test]
    fn what_nobody_asked_is_no_answer() {
        for script in [
            "0 answer a 1 x",
            "0 ask a 1 x; 1 answer b 1 x",
            "0 ask a 1 x; 1 answer a 2 x",
            "0 ask a 1 x; 1 answer a 1 y",
        ] {
            let vitals = check(script, "");
            assert_eq!(vitals.get(Vital::DnsAnswersUnasked), 1, "{script}");
        }
    }

    #[test]
    fn an_answer_may_leave_the_question_out() {
        check("0 ask a 1 x; 30 answer a 1 -", "30 x answered after 30 by 10.0.0.53");
    }

    #[test]
    fn five_seconds_without_an_answer() {
        check("0 ask a 1 x; 5499 tick", "");
        check("0 ask a 1 x; 5500 tick; 6000 tick", "5500 x unanswered by 10.0.0.53");
        // It is over: who comes so late finds nobody.
        check("0 ask a 1 x; 5500 tick; 6000 answer a 1 x", "5500 x unanswered by 10.0.0.53");
        // It came in time, and was read late.
        check("0 ask a 1 x; 5400 answer a 1 x; 5600 tick", "5400 x answered after 5400 by 10.0.0.53");
    }

    /// glibc sends the same message to the next resolver.
    #[test]
    fn a_second_resolver_is_asked_after_the_first() {
        check("0 ask a 1 x; 5000 ask@2 a 1 x; 5010 answer@2 a 1 x", "5010 x answered after 10 by 10.0.0.2");
        check(
            "0 ask a 1 x; 5000 ask@2 a 1 x; 5600 tick; 5700 answer@2 a 1 x",
            "5600 x unanswered by 10.0.0.53; 5700 x answered after 700 by 10.0.0.2",
        );
        check(
            "0 ask a 1 x; 2000 ask@2 a 1 x; 5600 tick; 7600 tick",
            "5600 x unanswered by 10.0.0.53; 7600 x unanswered by 10.0.0.2",
        );
        // From an address that the client does not know: it is translated on the way.
        check("0 ask a 1 x; 20 answer@9 a 1 x", "20 x answered after 20 by 10.0.0.53");
    }

    #[test]
    fn the_same_again_counts_from_the_first_time() {
        check("0 ask a 1 x; 1000 ask a 1 x; 1010 answer a 1 x", "1010 x answered after 1010 by 10.0.0.53");
        check("0 ask a 1 x; 1000 ask a 1 y; 1010 answer a 1 y", "1010 y answered after 10 by 10.0.0.53");
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_one_all_the_same() {
        check("0 ask a 1 x; 30 garbage a 1 x; 6000 tick", "");
    }

    #[test]
    fn after_a_loss_nothing_is_said() {
        for lost in ["lose", "drop"] {
            let vitals = check(&format!("0 ask a 1 x; 1 {lost} a 1 x; 6000 tick"), "");
            assert_eq!(vitals.get(Vital::DnsQueriesUnjudged), 1);
        }
        check("0 lose a 1 x; 1 tick; 2 ask a 1 x; 6000 tick", "6000 x unanswered by 10.0.0.53");
    }

    /// It may have been the answer of one that came that way.
    #[test]
    fn after_a_segment_that_was_not_read_nothing_is_said_of_tcp() {
        let vitals =
            check("0 ask+tcp a 1 x; 0 ask b 1 y; 1 skip a 1 x; 6000 tick", "6000 y unanswered by 10.0.0.53");
        assert_eq!(vitals.get(Vital::DnsQueriesUnjudged), 1);
        check("0 skip a 1 x; 1 tick; 2 ask+tcp a 1 x; 6000 tick", "6000 x unanswered by 10.0.0.53");
    }

    /// The same ports and the same id: libc asks again over TCP when an answer did not fit.
    #[test]
    fn what_is_asked_over_tcp_is_answered_over_tcp() {
        check(
            "0 ask a 1 x; 10 answer a 1 x; 20 ask+tcp a 1 x; 50 answer+tcp a 1 x",
            "10 x answered after 10 by 10.0.0.53; 50 x answered after 30 by 10.0.0.53",
        );
        let vitals = check("0 ask a 1 x; 10 answer+tcp a 1 x", "");
        assert_eq!(vitals.get(Vital::DnsAnswersUnasked), 1);
    }

    #[test]
    fn open_questions_are_bounded() {
        let vitals = Arc::new(Vitals::new());
        let mut lookups = Lookups::new(Arc::clone(&vitals));
        for n in 0..20_000_u32 {
            let mut message = message("ask", "a", 1, "x", 0);
            message.client.set_port(u16::try_from(n).unwrap());
            lookups.take(&message);
        }
        assert_eq!(lookups.open.len(), MAX_OPEN);
        assert_eq!(vitals.get(Vital::DnsQueriesNotFollowed), 20_000 - MAX_OPEN as u64);
        assert_eq!(lookups.unanswered(Ktime(6_000_000_000)).len(), MAX_OPEN);
        assert_eq!((lookups.open.len(), lookups.waiting.len()), (0, 0));
        // A question that is asked again and again, of the same and of others.
        for n in 0..1000 {
            let resolver = u8::try_from(n % 100).unwrap();
            lookups.take(&message(&format!("ask@{resolver}"), "a", 1, "x", n));
        }
        assert_eq!((lookups.open.len(), lookups.waiting.len()), (1, MAX_ASKS));
    }

    /// `millis verb[@resolver] client id name`.
    #[track_caller]
    fn check(script: &str, want: &str) -> Arc<Vitals> {
        let vitals = Arc::new(Vitals::new());
        let mut lookups = Lookups::new(Arc::clone(&vitals));
        let mut got = Vec::new();
        for step in script.split("; ") {
            let words: Vec<&str> = step.split(' ').collect();
            let millis: u64 = words[0].parse().unwrap();
            let ended = match words[1..] {
                ["tick"] => lookups.unanswered(Ktime(millis * 1_000_000)),
                ["lose", ..] => {
                    vitals.set_kernel(counter::DNS_THROTTLED, 1);
                    Vec::new()
                }
                ["skip", ..] => {
                    vitals.set_kernel(counter::DNS_TCP_NOT_READ, 1);
                    Vec::new()
                }
                ["drop", ..] => {
                    vitals.add(Vital::EventsQueueFull, 1);
                    Vec::new()
                }
                [verb, client, id, name] => {
                    let message = message(verb, client, id.parse().unwrap(), name, millis);
                    lookups.take(&message).into_iter().collect()
                }
                _ => panic!("`{step}` is not a step"),
            };
            got.extend(ended.iter().map(|it| {
                let (name, resolver) = (&it.question.name, it.resolver.ip());
                match it.outcome {
                    Outcome::Answered { took, .. } => {
                        format!("{millis} {name} answered after {} by {resolver}", took.as_millis())
                    }
                    Outcome::Unanswered { .. } => format!("{millis} {name} unanswered by {resolver}"),
                }
            }));
        }
        assert_eq!(got.join("; "), want, "\n{script}");
        vitals
    }

    fn message(verb: &str, client: &str, id: u16, name: &str, millis: u64) -> DnsMessage {
        let (verb, resolver) = verb.split_once('@').unwrap_or((verb, "53"));
        let (verb, is_tcp) = verb.strip_suffix("+tcp").map_or((verb, false), |it| (it, true));
        let question = Question { name: name.into(), kind: RecordKind(1) };
        let body = match verb {
            "ask" => Body::Query(question),
            "garbage" => Body::Malformed,
            "answer" => Body::Answer {
                question: (name != "-").then_some(question),
                code: ResponseCode::NO_ERROR,
                addresses: Vec::new(),
            },
            verb => panic!("`{verb}` is not a step"),
        };
        DnsMessage {
            at: Ktime(millis * 1_000_000),
            asker: Tgid(0),
            cookie: 0,
            client: SocketAddr::new([10, 0, 0, client.as_bytes()[0]].into(), 40_000),
            resolver: SocketAddr::new([10, 0, 0, resolver.parse().unwrap()].into(), 53),
            is_tcp,
            id,
            body,
        }
    }
}
