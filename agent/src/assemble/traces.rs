//! The spans of late, for those who ask on the node. Bounded; the oldest leave.
//!
//! Kept as they come: which of them make a trace is found out when somebody asks.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ahash::AHashMap;

use super::span::{Batch, Span, TraceId};
use crate::clock::Ktime;

/// A span takes some 200 bytes.
const MAX_SPANS: usize = 20_000;

/// Spans that belong together, in the order in which they ended. Never empty.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    pub trace_id: TraceId,
    pub spans: Vec<&'a Span>,
}

/// Puts spans together to their traces: those whose first span came last stand first.
#[must_use]
pub fn traces(batches: &[Batch]) -> Vec<Trace<'_>> {
    let mut places = AHashMap::new();
    let mut traces: Vec<Trace<'_>> = Vec::new();
    for span in batches.iter().flat_map(|batch| batch.iter()) {
        let place = *places.entry(span.trace_id).or_insert(traces.len());
        match traces.get_mut(place) {
            Some(trace) => trace.spans.push(span),
            None => traces.push(Trace { trace_id: span.trace_id, spans: vec![span] }),
        }
    }
    traces.reverse();
    traces
}

/// In the order in which they came.
#[derive(Debug, Default)]
pub struct Traces {
    batches: VecDeque<Batch>,
    n_spans: usize,
}

impl Traces {
    pub fn add(&mut self, batch: Batch) {
        self.n_spans += batch.len();
        self.batches.push_back(batch);
        while MAX_SPANS < self.n_spans && 1 < self.batches.len() {
            self.forget_oldest();
        }
    }

    #[must_use]
    pub fn snapshot(&self) -> Vec<Batch> {
        self.batches.iter().map(Arc::clone).collect()
    }

    /// Forgets what is older than the window.
    pub fn sweep(&mut self, now: Ktime, window: Duration) {
        let is_old = |batch: &Batch| batch.iter().all(|span| window < now.since(span.ended));
        while self.batches.front().is_some_and(is_old) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let gone = self.batches.pop_front();
        self.n_spans -= gone.map_or(0, |batch| batch.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::{directory, http, texts::Texts};

    #[test]
    fn spans_of_a_trace_are_found_in_several_batches() {
        let mut all = Traces::default();
        all.add(batch(&[(1, 10), (2, 11)]));
        all.add(batch(&[(1, 12)]));
        all.add(batch(&[(3, 13), (3, 14)]));
        let snapshot = all.snapshot();
        let got: Vec<_> = traces(&snapshot).iter().map(|it| (it.trace_id.0[0], it.spans.len())).collect();
        assert_eq!(got, [(3, 2), (2, 1), (1, 2)]);
    }

    #[test]
    fn the_oldest_leave() {
        let mut all = Traces::default();
        for second in 0..5 {
            all.add(batch(&vec![(second as u8, second); MAX_SPANS / 4]));
        }
        assert_eq!((all.n_spans, all.batches.len()), (MAX_SPANS, 4));
        all.add(batch(&vec![(9, 9); MAX_SPANS + 1]));
        assert_eq!(all.batches.len(), 1, "one batch is kept, however large");
    }

    #[test]
    fn what_is_older_than_the_window_leaves() {
        let mut all = Traces::default();
        all.add(batch(&[(1, 10), (1, 20)]));
        all.add(batch(&[(2, 30)]));
        all.sweep(Ktime(25_000_000_000), Duration::from_secs(10));
        assert_eq!(all.n_spans, 3, "a part of the batch is young enough");
        all.sweep(Ktime(31_000_000_000), Duration::from_secs(10));
        assert_eq!(all.n_spans, 1);
    }

    /// Of (first byte of the trace id, second of the end).
    fn batch(spans: &[(u8, u64)]) -> Batch {
        let process = directory::tests::process(1, "/bin/a");
        let span = |(trace, second): &(u8, u64)| {
            let call = http::tests::returned();
            let span = http::span(&call, &process, &mut Texts::default()).unwrap();
            Span { trace_id: TraceId([*trace; 16]), ended: Ktime(second * 1_000_000_000), ..span }
        };
        Arc::new(spans.iter().map(span).collect())
    }
}
