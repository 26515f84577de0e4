//! Findings that stand. The same verdict on the same thing is one finding with a larger count.

use std::{collections::HashMap, time::Duration};

use super::finding::Finding;
use crate::{
    clock::Ktime,
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const MAX_FINDINGS: usize = 1000;

/// Bounded; a new finding that finds no room is counted.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    standing: HashMap<Key, Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: &'static str,
    target: Option<Tgid>,
    about: String,
}

impl Key {
    fn of(finding: &Finding) -> Self {
        Self {
            kind: finding.kind.name(),
            target: finding.target.as_ref().map(|it| it.tgid),
            about: finding.about.clone(),
        }
    }
}

impl Ledger {
    pub(super) fn add(&mut self, finding: Finding, vitals: &Vitals) {
        let n_standing = self.standing.len();
        let key = Key::of(&finding);
        if let Some(known) = self.standing.get_mut(&key) {
            let (count, first_seen) = (known.count + finding.count, known.first_seen);
            *known = Finding { count, first_seen, ..finding };
        } else if n_standing < MAX_FINDINGS {
            vitals.add(Vital::Findings, 1);
            self.standing.insert(key, finding);
        } else {
            vitals.add(Vital::FindingsDropped, 1);
        }
    }

    pub(super) fn sweep(&mut self, now: Ktime, window: Duration) {
        self.standing.retain(|_, finding| now.since(finding.last_seen) <= window);
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.standing.values().cloned().collect();
        findings.sort_by_key(|it| (it.severity, std::cmp::Reverse(it.last_seen)));
        findings
    }
}
