//! When sockets are dumped, and which of them.
//!
//! Of very many connections most are idle, so a dump mostly shows what is new. A whole one comes now and
//! then, and after a loss: whoever it does not show has ended unseen.

use std::time::Duration;

use crate::{assemble::state::DumpKind, clock::Ktime};

const EVERY: Duration = Duration::from_secs(1);
/// Dumps take at most this part of a core in the long run: with many sockets that change they become rarer.
const SHARE: u32 = 200;
/// What looking at sockets costs that did not change: the cheapest of so many dumps in a row.
const SAMPLES: usize = 8;
/// What they may take at once: very many sockets may be new.
const CREDIT: Duration = Duration::from_secs(1);
/// An end whose record was lost is noticed after three of them.
const WHOLE_EVERY: Duration = Duration::from_secs(10);
/// Of whole ones, which are the dearest.
const WHOLE_SHARE: u32 = 400;
/// At most so many times what news of the same sockets take.
const WHOLE_TAKES: u32 = 20;
/// Listeners, which say who is the server of an older connection, are all known at the second.
const WHOLE_AT_FIRST: u32 = 2;
/// As many whole ones must have missed a socket before it counts as gone.
const WHOLE_AFTER_LOSS: u32 = 3;

#[derive(Debug)]
pub(super) struct Dumps {
    next: Ktime,
    /// What dumps may take, and since when more of it is saved.
    credit: Duration,
    saved: Ktime,
    /// What dumps of news took, the last one first.
    samples: [Duration; SAMPLES],
    /// Whole ones that are wanted, one after the other.
    n_whole: u32,
    /// The last one, and what it took.
    whole_at: Ktime,
    whole_took: Duration,
    losses: u64,
}

impl Default for Dumps {
    fn default() -> Self {
        Self {
            next: Ktime(0),
            credit: CREDIT,
            saved: Ktime(0),
            samples: [Duration::ZERO; SAMPLES],
            n_whole: WHOLE_AT_FIRST,
            whole_at: Ktime(0),
            whole_took: Duration::ZERO,
            losses: 0,
        }
    }
}

impl Dumps {
    pub(super) fn are_due(&self, now: Ktime) -> bool {
        self.next <= now
    }

    /// The next one comes at once.
    pub(super) fn hurry(&mut self) {
        self.next = Ktime(0);
    }

    /// `losses`: of records that may have told of an end, so far.
    pub(super) fn kind(&mut self, now: Ktime, losses: u64) -> DumpKind {
        if self.losses != losses {
            self.losses = losses;
            self.n_whole = WHOLE_AFTER_LOSS;
        }
        if self.whole_at.plus(WHOLE_EVERY) <= now {
            self.n_whole = self.n_whole.max(1);
        }
        // News look at each socket, too: there may be far fewer now.
        let takes = self.whole_took.min(self.samples[0].saturating_mul(WHOLE_TAKES));
        let is_too_soon = now < self.whole_at.plus(takes.saturating_mul(WHOLE_SHARE));
        if self.n_whole == 0 || is_too_soon { DumpKind::News } else { DumpKind::Whole }
    }

    /// One that began at `now` came to its end, after `took` of CPU time. Returns when the next one is due.
    pub(super) fn took(&mut self, now: Ktime, kind: DumpKind, took: Duration) -> Duration {
        let credit = self.credit.saturating_add(now.since(self.saved) / SHARE).min(CREDIT);
        let debt_paid_in = took.saturating_sub(credit).saturating_mul(SHARE);
        self.credit = credit.saturating_sub(took);
        self.saved = now.plus(debt_paid_in);
        if kind == DumpKind::News {
            self.samples.rotate_right(1);
            self.samples[0] = took;
        }
        let least = self.samples.iter().min().copied().unwrap_or_default();
        let next_in = EVERY.max(debt_paid_in).max(least.saturating_mul(SHARE));
        if kind == DumpKind::Whole {
            (self.whole_at, self.whole_took) = (now, took);
        }
        self.next = now.plus(next_in);
        next_in
    }

    pub(super) fn heard(&mut self, kind: DumpKind) {
        if kind == DumpKind::Whole {
            self.n_whole = self.n_whole.saturating_sub(1);
        }
    }

    /// What it has shown is not news any more, and nobody heard of it.
    pub(super) fn broken(&mut self) {
        self.n_whole = self.n_whole.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn whole_dumps_come_first_and_after_losses_and_now_and_then() {
        let mut dumps = Dumps::default();
        let mut kinds = String::new();
        // Second, losses, whether it was heard.
        for (at, losses, is_heard) in [
            (0, 0, true),
            (1, 0, true),
            (2, 0, true),
            (3, 7, true),
            (4, 7, true),
            (5, 7, true),
            (6, 7, true),
            (7, 7, false),
            (8, 7, true),
            (9, 7, true),
            (17, 7, true),
            (18, 7, true),
            (19, 7, true),
        ] {
            let now = Ktime(at * SECOND);
            let kind = dumps.kind(now, losses);
            kinds.push(if kind == DumpKind::Whole { 'w' } else { 'n' });
            dumps.took(now, kind, Duration::ZERO);
            if is_heard { dumps.heard(kind) } else { dumps.broken() }
        }
        assert_eq!(kinds, "wwnwwwnnwnnwn");
    }

    #[test]
    fn dear_dumps_are_rare_once_the_credit_is_spent() {
        let mut dumps = Dumps::default();
        // When, milliseconds that it took, and when the next one is due, in seconds.
        for (at, took, want) in
            [(0, 900, 1), (1, 105, 1), (2, 15, 2), (4, 5, 1), (5, 15, 3), (8, 0, 1), (9, 10, 1)]
        {
            assert!(dumps.are_due(Ktime(at * SECOND)));
            let next_in = dumps.took(Ktime(at * SECOND), DumpKind::News, Duration::from_millis(took));
            assert_eq!(next_in, Duration::from_secs(want), "at {at}");
        }
        assert!(!dumps.are_due(Ktime(9 * SECOND)));
        dumps.hurry();
        assert!(dumps.are_due(Ktime(9 * SECOND)));
    }

    #[test]
    fn what_each_dump_takes_is_within_the_share_whatever_the_credit() {
        let mut dumps = Dumps::default();
        let millis = |n| Duration::from_millis(n);
        let mut period = |took| dumps.took(Ktime(0), DumpKind::News, millis(took));
        let periods: Vec<_> = [40, 60, 90, 30, 12, 12, 12].map(&mut period).to_vec();
        assert_eq!(periods, [EVERY; 7]);
        assert_eq!([period(12), period(9), period(12)], [12, 9, 9].map(|it| millis(it) * SHARE));
    }

    #[test]
    fn a_dear_whole_dump_is_not_repeated_soon() {
        let mut dumps = Dumps::default();
        let whole = dumps.kind(Ktime(0), 0);
        dumps.took(Ktime(0), whole, Duration::from_millis(500));
        dumps.heard(whole);
        dumps.took(Ktime(0), DumpKind::News, Duration::from_millis(30));
        let kinds = [1, 199, 200].map(|at| dumps.kind(Ktime(at * SECOND), 5));
        assert_eq!(kinds, [DumpKind::News, DumpKind::News, DumpKind::Whole]);
        // Most of them are gone.
        dumps.took(Ktime(SECOND), DumpKind::News, Duration::from_millis(1));
        let kinds = [7, 8].map(|at| dumps.kind(Ktime(at * SECOND), 5));
        assert_eq!(kinds, [DumpKind::News, DumpKind::Whole]);
    }
}
