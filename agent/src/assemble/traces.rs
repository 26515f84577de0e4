//! The traces of late, for those who ask on the node. Bounded; the oldest leave.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ahash::AHashMap;

use super::span::{Span, TraceId};
use crate::clock::Ktime;

const MAX_TRACES: usize = 1000;
const MAX_SPANS_OF_A_TRACE: usize = 200;

/// Spans that belong together, in the order in which they ended.
#[derive(Clone, Debug)]
pub struct Trace {
    pub trace_id: TraceId,
    pub spans: Vec<Arc<Span>>,
    pub last_ended: Ktime,
}

/// By id, in the order in which they began to be seen.
#[derive(Debug, Default)]
pub struct Traces {
    by_id: AHashMap<TraceId, Arc<Trace>>,
    order: VecDeque<TraceId>,
}

impl Traces {
    pub fn add(&mut self, span: Arc<Span>) {
        let trace_id = span.trace_id;
        if let Some(trace) = self.by_id.get_mut(&trace_id) {
            let trace = Arc::make_mut(trace);
            trace.last_ended = trace.last_ended.max(span.ended);
            if trace.spans.len() < MAX_SPANS_OF_A_TRACE {
                trace.spans.push(span);
            }
            return;
        }
        if MAX_TRACES <= self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        let last_ended = span.ended;
        self.by_id.insert(trace_id, Arc::new(Trace { trace_id, spans: vec![span], last_ended }));
        self.order.push_back(trace_id);
    }

    /// Newest first.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<Trace>> {
        self.order.iter().rev().filter_map(|id| self.by_id.get(id)).map(Arc::clone).collect()
    }

    /// Forgets what is older than the window.
    pub fn sweep(&mut self, now: Ktime, window: Duration) {
        while let Some(oldest) = self.order.front() {
            let is_old = self.by_id.get(oldest).is_none_or(|trace| window < now.since(trace.last_ended));
            if !is_old {
                return;
            }
            self.by_id.remove(oldest);
            self.order.pop_front();
        }
    }
}
