//! How servers answer their clients: what tells a request that waits from a connection that rests.
//!
//! unknown --(some answers)--> judged --(a client spoke twice without an answer in between)--> never again
//!
//! Of a process and a server, not of a connection; as long as the process lives and the server is heard.

use std::{net::IpAddr, time::Duration};

use ahash::AHashMap;

use crate::{
    clock::Ktime,
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const MAX_DIALOGS: usize = 4096;
/// One answer may be a greeting.
const MIN_ANSWERS: u32 = 3;
/// An answer is late after so many times the longest one.
const LATE: u32 = 4;
/// The kernel's ticks, and the time from dump to dump, are not exact.
const ALIKE: Duration = Duration::from_millis(200);
/// A long answer counts for as long, and at most twice as long: whoever pops from a queue that is empty at night
/// waits so each night.
const SPAN: Duration = Duration::from_secs(12 * 60 * 60);
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A process, and the server as it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    pub client: Tgid,
    pub server: (IpAddr, u16),
}

#[derive(Debug)]
struct Dialog {
    answers: u32,
    /// When the newest of them came.
    newest: Ktime,
    /// Of this span, and of the one before.
    longest: [Option<Duration>; 2],
    began: Ktime,
    /// The client says things to which there is no answer.
    is_free: bool,
}

#[derive(Debug, Default)]
pub(super) struct Dialogs {
    known: AHashMap<Pair, Dialog>,
    next_sweep: Ktime,
}

impl Dialogs {
    /// An answer that came at about `at`. Told again it is the same one.
    pub(super) fn answered(&mut self, pair: Pair, took: Duration, at: Ktime, vitals: &Vitals) {
        if MAX_DIALOGS <= self.known.len() && !self.known.contains_key(&pair) {
            return vitals.add(Vital::AnswersNotKept, 1);
        }
        let new = || Dialog { answers: 0, newest: Ktime(0), longest: [None; 2], began: at, is_free: false };
        let dialog = self.known.entry(pair).or_insert_with(new);
        if dialog.answers == 0 || ALIKE < at.since(dialog.newest) {
            dialog.answers = dialog.answers.saturating_add(1);
            dialog.newest = at;
            dialog.longest[0] = dialog.longest[0].max(Some(took));
        }
    }

    /// The longest that an answer took, if one that has not come for so long is late.
    #[must_use]
    pub(super) fn is_late(&self, pair: Pair, waits: Duration) -> Option<Duration> {
        let dialog = self.known.get(&pair)?;
        let [this, before] = dialog.longest;
        let longest = this.max(before)?;
        let is_judged = !dialog.is_free && MIN_ANSWERS <= dialog.answers;
        (is_judged && longest.saturating_mul(LATE) <= waits).then_some(longest)
    }

    /// The client did not wait for an answer after all.
    pub(super) fn spoke_again(&mut self, pair: Pair) {
        if let Some(dialog) = self.known.get_mut(&pair) {
            dialog.is_free = true;
        }
    }

    /// Forgets processes that ended, and servers that were not heard for two spans, unless somebody waits for
    /// them: that is judged by what they did before.
    pub(super) fn sweep(&mut self, now: Ktime, lives: impl Fn(Tgid) -> bool, waits: impl Fn(&Pair) -> bool) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now.plus(SWEEP_EVERY);
        self.known.retain(|pair, dialog| {
            if now.since(dialog.began) < SPAN || waits(pair) {
                return lives(pair.client);
            }
            dialog.longest = [None, dialog.longest[0]];
            dialog.began = now;
            dialog.longest[1].is_some() && lives(pair.client)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Pair = Pair { client: Tgid(1), server: (IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80) };

    #[test]
    fn a_server_is_judged_by_what_it_did_lately() {
        check("", 3600, None);
        // Too few.
        check("0h 5; 1h 5", 3600, None);
        check("0h 5; 1h 5; 1h 5; 1h 5", 3600, None);
        check("0h 5; 1h 5; 2h 5", 19, None);
        check("0h 5; 1h 5; 2h 5", 20, Some(5));
        check("0h 5; 1h 60; 2h 5", 239, None);
        check("0h 5; 1h 60; 2h 5", 240, Some(60));
        // Forgotten in the second span after it.
        check("0h 60; 1h 5; 2h 5; 13h 5", 100, None);
        check("0h 60; 1h 5; 2h 5; 13h 5; 26h 5", 100, Some(5));
        // Not heard for two spans.
        check("0h 5; 1h 5; 2h 5; 13h sweep", 100, Some(5));
        check("0h 5; 1h 5; 2h 5; 13h sweep; 26h sweep", 100, None);
        check("0h 5; 1h 5; 2h 5; 13h sweep; 26h waits; 99h waits", 100, Some(5));
        check("0h 5; 1h 5; 2h 5; 3h ended", 100, None);
        check("0h 5; 1h 5; 2h 5; 13h ended", 100, None);
    }

    #[test]
    fn who_speaks_without_an_answer_is_not_judged_again() {
        check("0h 5; 1h 5; 2h 5; 3h again", 3600, None);
        check("0h 5; 1h 5; 2h 5; 3h again; 4h 5; 5h 5; 6h 5", 3600, None);
        // Not for ever.
        check("0h 5; 1h 5; 2h 5; 3h again; 13h sweep; 26h sweep; 27h 5; 28h 5; 29h 5", 3600, Some(5));
    }

    #[test]
    fn dialogs_are_bounded() {
        let (mut dialogs, vitals) = (Dialogs::default(), Vitals::new());
        for port in 0..=u16::try_from(MAX_DIALOGS).unwrap() {
            let pair = Pair { server: (PAIR.server.0, port), ..PAIR };
            dialogs.answered(pair, SPAN, Ktime(0), &vitals);
        }
        assert_eq!((dialogs.known.len(), vitals.get(Vital::AnswersNotKept)), (MAX_DIALOGS, 1));
    }

    /// Hours, then how many seconds an answer took, or what else happened; sweeps before each.
    #[track_caller]
    fn check(script: &str, waits_secs: u64, want_secs: Option<u64>) {
        let (mut dialogs, vitals) = (Dialogs::default(), Vitals::new());
        for step in script.split("; ").filter(|it| !it.is_empty()) {
            let (at, what) = step.split_once("h ").unwrap();
            let now = Ktime(0).plus(Duration::from_secs(3600 * at.parse::<u64>().unwrap()));
            dialogs.sweep(now, |_| what != "ended", |_| what == "waits");
            match what {
                "sweep" | "waits" | "ended" => {}
                "again" => dialogs.spoke_again(PAIR),
                secs => dialogs.answered(PAIR, Duration::from_secs(secs.parse().unwrap()), now, &vitals),
            }
        }
        let late = dialogs.is_late(PAIR, Duration::from_secs(waits_secs));
        assert_eq!(late.map(|it| it.as_secs()), want_secs, "{script}");
    }
}
