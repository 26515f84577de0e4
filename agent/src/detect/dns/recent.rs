//! The last lookups of one client at one resolver.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{SLOW, WINDOW};
use crate::{
    assemble::lookup::{Lookup, Outcome},
    clock::Ktime,
    decode::dns::ResponseCode,
};

/// Of a client that asks more often the window is shorter.
const MAX_LOOKUPS: usize = 256;

#[derive(Debug)]
struct Entry {
    at: Ktime,
    name: Arc<str>,
    outcome: Outcome,
}

/// Bounded, in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
}

/// Of the lookups within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub lookups: u64,
    pub unanswered: u64,
    pub failures: u64,
    pub missing: u64,
    /// Of these: what remains without some labels at the end was found.
    pub searched: u64,
    pub slow: u64,
    /// Of those that were answered, whatever the answer.
    pub p50: Duration,
    pub p95: Duration,
    pub max: Duration,
}

impl Recent {
    pub(super) fn add(&mut self, lookup: &Lookup) {
        if MAX_LOOKUPS <= self.entries.len() {
            self.entries.pop_front();
        }
        let (at, name) = (lookup.at, Arc::clone(&lookup.question.name));
        self.entries.push_back(Entry { at, name, outcome: lookup.outcome });
    }

    pub(super) fn newest(&self) -> Ktime {
        self.entries.iter().map(|it| it.at).max().unwrap_or(Ktime(0))
    }

    pub(super) fn sum(&self) -> Sum {
        let newest = self.newest();
        let within: Vec<&Entry> = self.entries.iter().filter(|it| newest.since(it.at) <= WINDOW).collect();
        let mut sum = Sum { lookups: within.len() as u64, ..Sum::default() };
        let mut durations = Vec::new();
        for entry in &within {
            match entry.outcome {
                Outcome::Unanswered { .. } => sum.unanswered += 1,
                Outcome::Answered { code, took } => {
                    durations.push(took);
                    sum.failures += u64::from(code == ResponseCode::SERVER_FAILURE);
                    sum.missing += u64::from(code == ResponseCode::NO_SUCH_NAME);
                    sum.slow += u64::from(SLOW <= took);
                }
            }
        }
        sum.searched = searched(&within);
        durations.sort_unstable();
        let quantile = |percent: usize| durations.get(durations.len() * percent / 100).copied();
        sum.p50 = quantile(50).unwrap_or_default();
        sum.p95 = quantile(95).unwrap_or_default();
        sum.max = durations.last().copied().unwrap_or_default();
        sum
    }
}

impl Sum {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    pub(super) fn share(&self, part: u64) -> f64 {
        part as f64 / self.lookups.max(1) as f64
    }
}

/// Names that do not exist and begin with one that does: a client with search domains tries
/// `db.example.prod.svc.cluster.local` before `db.example`.
fn searched(entries: &[&Entry]) -> u64 {
    let has =
        |entry: &Entry, wanted| matches!(entry.outcome, Outcome::Answered { code, .. } if code == wanted);
    let of = |wanted| entries.iter().filter(move |it| has(it, wanted));
    let found: ahash::AHashSet<&str> = of(ResponseCode::NO_ERROR).map(|it| &*it.name).collect();
    let begins_with_one = |name: &str| name.match_indices('.').any(|(at, _)| found.contains(&name[..at]));
    of(ResponseCode::NO_SUCH_NAME).filter(|it| begins_with_one(&it.name)).count() as u64
}
