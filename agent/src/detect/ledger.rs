//! Findings that stand. The same verdict on the same thing is one finding with a larger count.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use super::finding::{Finding, FindingKind, Severity};
use crate::{
    clock::Ktime,
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const MAX_FINDINGS: usize = 1000;

/// Bounded: a worse finding takes the place of the least severe that was not seen for longest. What
/// finds no room, or loses it, is counted.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    standing: HashMap<Key, Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: FindingKind,
    target: Option<(Tgid, Option<u64>)>,
    about: String,
}

impl Key {
    fn of(finding: &Finding) -> Self {
        Self {
            kind: finding.kind,
            target: finding.target.as_ref().map(|it| it.identity()),
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
            return;
        }
        if MAX_FINDINGS <= n_standing {
            vitals.add(Vital::FindingsDropped, 1);
            if !self.make_room(finding.severity) {
                return;
            }
        }
        vitals.add(Vital::Findings, 1);
        self.standing.insert(key, Finding { count: finding.count.max(1), ..finding });
    }

    /// Lets go of one that is less severe.
    fn make_room(&mut self, severity: Severity) -> bool {
        // The worst severity is the smallest.
        let least = self.standing.iter().max_by_key(|(_, it)| (it.severity, Reverse(it.last_seen)));
        let Some(key) = least.filter(|(_, it)| severity < it.severity).map(|(key, _)| key.clone()) else {
            return false;
        };
        self.standing.remove(&key).is_some()
    }

    pub(super) fn sweep(&mut self, now: Ktime, window: Duration) {
        self.standing.retain(|_, finding| now.since(finding.last_seen) <= window);
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.standing.values().cloned().collect();
        findings.sort_by_key(|it| (it.severity, Reverse(it.last_seen)));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_counted_when_it_begins() {
        let (mut ledger, vitals) = (Ledger::default(), Vitals::new());
        let mut add = |count, n| {
            ledger.add(Finding { count, about: String::new(), ..finding(Severity::Warning, n) }, &vitals);
            let found = ledger.findings();
            (found.len(), found[0].count, found[0].first_seen, found[0].last_seen)
        };
        assert_eq!(add(1, 1), (1, 1, Ktime(1), Ktime(1)));
        assert_eq!(add(0, 2), (1, 1, Ktime(1), Ktime(2)));
        assert_eq!(add(1, 9), (1, 2, Ktime(1), Ktime(9)));
        // It had no room when it began.
        let mut ledger = Ledger::default();
        ledger.add(Finding { count: 0, ..finding(Severity::Warning, 1) }, &vitals);
        assert_eq!(ledger.findings()[0].count, 1);
    }

    fn finding(severity: Severity, n: u64) -> Finding {
        Finding {
            severity,
            kind: FindingKind::ConnectRefused,
            target: None,
            about: n.to_string(),
            summary: String::new(),
            evidence: Vec::new(),
            count: 1,
            first_seen: Ktime(n),
            last_seen: Ktime(n),
            next: String::new(),
            span: None,
        }
    }

    #[test]
    fn a_worse_finding_takes_the_place_of_the_least_and_oldest() {
        let (mut ledger, vitals) = (Ledger::default(), Vitals::new());
        ledger.add(finding(Severity::Advice, 9), &vitals);
        for n in 10..10 + MAX_FINDINGS as u64 - 1 {
            ledger.add(finding(Severity::Warning, n), &vitals);
        }
        for (severity, n, want_gone) in [
            (Severity::Advice, 2000, Some(2000)),
            (Severity::Critical, 2001, Some(9)),
            (Severity::Critical, 2002, Some(10)),
            (Severity::Warning, 2003, Some(2003)),
            (Severity::Warning, 11, None),
        ] {
            ledger.add(finding(severity, n), &vitals);
            let gone =
                want_gone.is_some_and(|it| ledger.findings().iter().all(|f| f.about != it.to_string()));
            assert_eq!(gone, want_gone.is_some(), "{severity:?} {n}");
            assert_eq!(ledger.standing.len(), MAX_FINDINGS);
        }
        assert_eq!(vitals.get(Vital::FindingsDropped), 4);
    }
}
