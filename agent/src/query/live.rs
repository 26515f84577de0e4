//! What changed on the edges from one answer to the next, for those who watch.

use ahash::AHashMap;

use super::{
    proto,
    topology::{Edge, Topology},
};

/// The last two answers that are of different moments.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    before: Option<Topology>,
    now: Option<Topology>,
}

impl Watcher {
    /// Whoever asks more often than the agent's state is published gets the same answer again.
    pub(crate) fn see(&mut self, answer: Topology) -> Option<Change<'_>> {
        let is_same = self.now.as_ref().is_some_and(|now| now.head.time == answer.head.time);
        if !is_same {
            self.before = self.now.replace(answer);
        }
        self.now.as_ref().map(|now| Change { before: self.before.as_ref(), now })
    }
}

/// From one answer to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) before: Option<&'a Topology>,
    pub(crate) now: &'a Topology,
}

/// An edge with what it did in between.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) edge: Edge<'a>,
    /// `None`: there was no answer before, or the edge is gone.
    pub(crate) rates: Option<Rates>,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Nothing worth a word.
    Steady,
    New,
    /// It was there before.
    Gone,
    /// Requests fail.
    Errors,
    /// Connects fail.
    Failing,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) sent_bytes: f64,
    pub(crate) received_bytes: f64,
    pub(crate) opened: f64,
    pub(crate) failed: f64,
    pub(crate) requests: f64,
    pub(crate) errors: f64,
    pub(crate) retransmits: f64,
}

impl<'a> Change<'a> {
    /// `None`: there was no answer before.
    pub(crate) fn seconds(&self) -> Option<f64> {
        let nanos = self.now.head.time.saturating_sub(self.before?.head.time);
        #[expect(clippy::cast_precision_loss, reason = "a rate shows two digits")]
        Some(nanos as f64 / 1e9).filter(|seconds| 0.0 < *seconds)
    }

    /// In the order of the answer, and then those that are gone.
    pub(crate) fn rows(&self) -> Vec<Row<'a>> {
        let before = self.before.map(Topology::edges).unwrap_or_default();
        let mut before: AHashMap<_, _> = before.into_iter().map(|it| (it.numbers.id, it)).collect();
        let seconds = self.seconds();
        let since = seconds.zip(self.before.map(|it| it.head.time));
        let now = self.now.edges().into_iter();
        let mut rows: Vec<_> = now.map(|edge| row(before.remove(&edge.numbers.id), edge, since)).collect();
        let mut gone: Vec<_> = before.into_values().collect();
        gone.sort_by_key(|edge| edge.numbers.id);
        rows.extend(gone.into_iter().map(|edge| Row { edge, rates: None, state: State::Gone }));
        rows
    }
}

/// `since`: how long ago the answer before was, and when.
fn row<'a>(before: Option<Edge<'a>>, edge: Edge<'a>, since: Option<(f64, u64)>) -> Row<'a> {
    let unknown = |edge| Row { edge, rates: None, state: State::Steady };
    let Some((seconds, time)) = since else {
        return unknown(edge);
    };
    // It is not new, but was not asked for: when it did what it counts is not known.
    if before.is_none() && edge.numbers.first_seen < time {
        return unknown(edge);
    }
    let nothing = proto::Edge::default();
    let rates = rates(before.as_ref().map_or(&nothing, |it| it.numbers), edge.numbers, seconds);
    let state = if 0.0 < rates.failed {
        State::Failing
    } else if 0.0 < rates.errors {
        State::Errors
    } else if before.is_none() {
        State::New
    } else {
        State::Steady
    };
    Row { edge, rates: Some(rates), state }
}

fn rates(before: &proto::Edge, now: &proto::Edge, seconds: f64) -> Rates {
    // A number may fall, when a connection turns out to belong elsewhere.
    #[expect(clippy::cast_precision_loss, reason = "a rate shows two digits")]
    let rate = |number: fn(&proto::Edge) -> Option<u64>| {
        let [before, now] = [before, now].map(|edge| number(edge).unwrap_or(0));
        now.saturating_sub(before) as f64 / seconds
    };
    Rates {
        sent_bytes: rate(|it| Some(it.bytes?.to_server)),
        received_bytes: rate(|it| Some(it.bytes?.to_client)),
        opened: rate(|it| Some(it.connections?.opened)),
        failed: rate(|it| Some(it.connections?.failed)),
        requests: rate(|it| Some(it.requests.as_ref()?.count)),
        errors: rate(|it| Some(it.requests.as_ref()?.errors)),
        retransmits: rate(|it| Some(it.network.as_ref()?.retransmits?.total)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        assemble::edge::{self, EdgeId},
        query::{proto::Filter, samples, snapshot::Snapshot, view::topology},
    };

    #[test]
    fn rates_are_of_what_came_in_between() {
        let mut watcher = Watcher::default();
        let first = watcher.see(answer(&samples::snapshot())).unwrap();
        assert!(first.seconds().is_none() && first.rows().iter().all(|it| it.rates.is_none()));
        assert_eq!(words(&first), "abc Steady, def Steady");

        let change = watcher.see(answer(&later())).unwrap();
        assert_eq!(
            (change.seconds(), words(&change).as_str()),
            (Some(2.0), "7 New, abc Errors, def Failing")
        );
        let rates = change.rows()[1].rates.unwrap();
        assert_eq!((rates.requests, rates.errors, rates.sent_bytes), (50.0, 1.0, 512.0));
        assert_eq!(change.rows()[2].rates.unwrap().failed, 3.0);

        let again = watcher.see(answer(&later())).unwrap();
        assert_eq!(words(&again), "7 New, abc Errors, def Failing", "nothing new was published");
        let mut last = later();
        last.at = last.at.plus(Duration::from_secs(1));
        last.edges = Arc::new(last.edges[1..].to_vec());
        assert_eq!(words(&watcher.see(answer(&last)).unwrap()), "7 Steady, def Steady, abc Gone");
    }

    /// Seldom used, and asked for with `--since`.
    #[test]
    fn an_edge_that_comes_back_is_not_new() {
        let mut watcher = Watcher::default();
        let mut without = samples::snapshot();
        without.edges = Arc::new(without.edges[1..].to_vec());
        watcher.see(answer(&without));
        let change = watcher.see(answer(&later())).unwrap();
        assert_eq!(words(&change), "7 New, abc Steady, def Failing");
        assert_eq!(change.rows()[1].rates, None);
    }

    /// A connection moved to another edge.
    #[test]
    fn what_was_taken_back_is_no_rate() {
        let mut watcher = Watcher::default();
        watcher.see(answer(&later()));
        let mut less = samples::snapshot();
        less.at = later().at.plus(Duration::from_secs(2));
        let rows = watcher.see(answer(&less)).unwrap().rows();
        assert_eq!((rows[0].state, rows[0].rates), (State::Steady, Some(Rates::default())));
    }

    /// Two seconds after the samples: more of all, and one more.
    pub(in crate::query) fn later() -> Snapshot {
        let mut snapshot = samples::snapshot();
        snapshot.at = snapshot.at.plus(Duration::from_secs(2));
        let edges = Arc::make_mut(&mut snapshot.edges);
        let [called, refused] = [0, 1].map(|it| edge::Edge::clone(&edges[it]));
        let new = edge::Edge {
            id: EdgeId(7),
            bytes: edge::BothWays { to_server: 1 << 22, to_client: 0 },
            first_seen: samples::AT.plus(Duration::from_secs(1)),
            ..called.clone()
        };
        let mut called = called;
        called.bytes.to_server += 1024;
        let requests = called.requests.as_mut().unwrap();
        (requests.count, requests.errors) = (requests.count + 100, requests.errors + 2);
        let mut refused = refused;
        refused.connections.failed += 6;
        let new = edge::Edge { requests: None, ..new };
        *edges = [called, refused, new].map(Arc::new).to_vec();
        snapshot
    }

    pub(in crate::query) fn answer(snapshot: &Snapshot) -> Topology {
        topology::answer(snapshot, &Filter::default()).unwrap().try_into().unwrap()
    }

    fn words(change: &Change<'_>) -> String {
        let rows = change.rows();
        let words: Vec<_> =
            rows.iter().map(|it| format!("{:x} {:?}", it.edge.numbers.id, it.state)).collect();
        words.join(", ")
    }
}
