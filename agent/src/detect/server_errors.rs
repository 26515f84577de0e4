//! Bursts of 5xx from a server.
//!
//! An error is a finding when it and those of the last seconds are enough, and a large enough share of
//! all requests: each such error again, which the ledger merges.
//!
//! Time is that of the spans; those of two CPUs may come out of order.

use std::{array, sync::Arc};

use ahash::AHashMap;

use super::{
    Detector, Input,
    finding::{Evidence, Finding, FindingKind, Severity},
};
use crate::{
    assemble::span::{Protocol, Side, Span},
    clock::Ktime,
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const WINDOW_SECS: u64 = 10;
/// A second for each of the window, and the one that has begun.
const BUCKETS: usize = WINDOW_SECS as usize + 1;
const MIN_ERRORS: u64 = 5;
const MIN_SHARE: f64 = 0.02;
const MAX_PROCESSES: usize = 4096;

/// Ends of requests within the window, by process.
#[derive(Debug)]
pub(super) struct ServerErrors {
    processes: AHashMap<(Tgid, Option<u64>), Recent>,
    vitals: Arc<Vitals>,
}

/// The requests that ended within a second.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    second: u64,
    requests: u64,
    errors: u64,
}

/// Each bucket is at its second modulo their number.
#[derive(Clone, Copy, Debug)]
struct Recent {
    buckets: [Bucket; BUCKETS],
    newest: u64,
}

impl Recent {
    fn new() -> Self {
        Self { buckets: array::from_fn(|_| Bucket::default()), newest: 0 }
    }

    fn add(&mut self, at: Ktime, is_error: bool) {
        let second = at.0 / 1_000_000_000;
        let index = usize::try_from(second % BUCKETS as u64).unwrap_or(0);
        let bucket = &mut self.buckets[index];
        if bucket.second < second {
            *bucket = Bucket { second, ..Bucket::default() };
        }
        // Else it is older than the window: spans of two CPUs are not in order.
        if bucket.second == second {
            bucket.requests += 1;
            bucket.errors += u64::from(is_error);
        }
        self.newest = self.newest.max(second);
    }

    /// What ended within the window.
    fn total(&self) -> Bucket {
        let oldest = self.newest.saturating_sub(WINDOW_SECS);
        let within = self.buckets.iter().filter(|bucket| oldest <= bucket.second);
        within.fold(Bucket::default(), |sum, bucket| Bucket {
            second: self.newest,
            requests: sum.requests + bucket.requests,
            errors: sum.errors + bucket.errors,
        })
    }
}

impl Bucket {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn share(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }

    fn is_burst(&self) -> bool {
        MIN_ERRORS <= self.errors && MIN_SHARE <= self.share()
    }
}

impl ServerErrors {
    pub(super) fn new(vitals: Arc<Vitals>) -> Self {
        Self { processes: AHashMap::new(), vitals }
    }

    fn recent(&mut self, span: &Span) -> &mut Recent {
        let identity = span.process.identity();
        if MAX_PROCESSES <= self.processes.len() && !self.processes.contains_key(&identity) {
            self.make_room(span.ended.0 / 1_000_000_000);
        }
        self.processes.entry(identity).or_insert_with(Recent::new)
    }

    /// Those go that had no request within the window, or else the one that had none for longest.
    fn make_room(&mut self, second: u64) {
        self.processes.retain(|_, recent| second.saturating_sub(recent.newest) <= WINDOW_SECS);
        if self.processes.len() < MAX_PROCESSES {
            return;
        }
        let oldest = self.processes.iter().min_by_key(|(_, recent)| recent.newest).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.processes.remove(&oldest);
            self.vitals.add(Vital::ServersForgotten, 1);
        }
    }
}

impl Detector for ServerErrors {
    fn name(&self) -> &'static str {
        "server errors"
    }

    fn input(&mut self, input: Input<'_>) -> Option<Finding> {
        let Input::Span(span) = input else {
            return None;
        };
        if span.side != Side::Server || span.protocol == Protocol::Grpc {
            return None;
        }
        let recent = self.recent(span);
        recent.add(span.ended, span.is_error());
        if !span.is_error() {
            return None;
        }
        let total = recent.total();
        total.is_burst().then(|| finding(span, &total))
    }
}

fn finding(span: &Span, recent: &Bucket) -> Finding {
    let name = &span.process.service.name;
    let status = span.status().map_or_else(|| "no status".to_owned(), |it| it.to_string());
    Finding {
        severity: Severity::Critical,
        kind: FindingKind::HttpServerErrors,
        target: Some(Arc::clone(&span.process)),
        about: String::new(),
        summary: format!(
            "{name} fails {} of {} requests within {} s, the last with {status}",
            recent.errors, recent.requests, WINDOW_SECS
        ),
        evidence: vec![
            ("errors", Evidence::Count(recent.errors)),
            ("requests", Evidence::Count(recent.requests)),
            ("error_ratio", Evidence::Ratio(recent.share())),
            ("last_method", Evidence::Text(span.method.to_string())),
            ("last_path", Evidence::Text(span.path.to_string())),
        ],
        count: 1,
        first_seen: span.ended,
        last_seen: span.ended,
        next: format!("taskscope traces {}", span.trace_id),
        span: Some((span.trace_id, span.span_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assemble::span::{JoinedBy, Outcome, Protocol, SpanId, TraceId},
        targets::process::Process,
    };

    #[test]
    fn a_few_errors_are_no_burst() {
        check("1 500; 2 500; 3 500; 4 500", "");
    }

    #[test]
    fn the_fifth_within_ten_seconds_is() {
        check("1 500; 2 500; 3 503; 4 500; 5 502", "5: 5 of 5, the last with 502");
        check("1 500; 2 500; 3 503; 4 500; 11 502", "11: 5 of 5, the last with 502");
        check("1 500; 2 500; 3 503; 4 500; 12 502", "");
    }

    #[test]
    fn a_client_that_asks_wrongly_is_no_error_of_the_server() {
        check("1 404; 1 404; 1 404; 1 404; 1 404; 1 404", "");
    }

    #[test]
    fn five_of_many_are_noise() {
        let fine = vec!["1 200"; 400].join("; ");
        check(&format!("{fine}; 2 500; 2 500; 2 500; 2 500; 2 500"), "");
    }

    /// 60,000 requests a second, of which 1 % fail: a window that forgets by number sees the last errors only.
    #[test]
    fn a_busy_server_is_judged_by_its_whole_window() {
        let mut detector = ServerErrors::new(Arc::new(Vitals::new()));
        let fine: Vec<_> = (1..=10).map(|second| span(second, 200)).collect();
        for span in fine.iter().flat_map(|span| std::iter::repeat_n(span, 60_000)) {
            assert_eq!(detector.input(Input::Span(span)), None);
        }
        let error = span(10, 500);
        let found = (0..13_000).filter(|_| detector.input(Input::Span(&error)).is_some()).count();
        // 2 % of all are reached with error 12,245.
        assert_eq!(found, 13_000 - 12_244);
    }

    #[test]
    fn processes_are_bounded() {
        let vitals = Arc::new(Vitals::new());
        let mut detector = ServerErrors::new(Arc::clone(&vitals));
        let mut serve = |second, tgid| {
            let mut span = Span::clone(&span(second, 200));
            span.process = Arc::new(Process { tgid: Tgid(tgid), ..Process::clone(&span.process) });
            detector.input(Input::Span(&Arc::new(span)));
            detector.processes.len()
        };
        for tgid in 0..MAX_PROCESSES as u32 {
            serve(5, tgid);
        }
        assert_eq!((serve(6, 100_000), vitals.get(Vital::ServersForgotten)), (MAX_PROCESSES, 1));
        assert_eq!((serve(16, 100_001), vitals.get(Vital::ServersForgotten)), (2, 1));
    }

    #[test]
    fn time_may_run_backwards() {
        check("9 500; 5 500; 8 500; 7 500; 6 500", "6: 5 of 5, the last with 500");
    }

    #[track_caller]
    fn check(script: &str, want: &str) {
        let mut detector = ServerErrors::new(Arc::new(Vitals::new()));
        let mut got = Vec::new();
        for step in script.split("; ") {
            let (second, status) = step.split_once(' ').unwrap();
            let span = span(second.parse().unwrap(), status.parse().unwrap());
            if let Some(finding) = detector.input(Input::Span(&span)) {
                let text = finding.summary.replace("x fails ", "").replace(" requests within 10 s", "");
                got.push(format!("{second}: {text}"));
            }
        }
        assert_eq!(got.join("; "), want, "\n{script}");
    }

    fn span(second: u64, status: u16) -> Span {
        let process = crate::targets::proc::remembered(Tgid(1), "x", Ktime(0), &crate::clock::Clock::new());
        Span {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([2; 8]),
            parent: None,
            joined_by: JoinedBy::Nothing,
            side: Side::Server,
            protocol: Protocol::Http1(None),
            process: Arc::new(process),
            began: Ktime(0),
            ended: Ktime(second * 1_000_000_000),
            method: "GET".into(),
            path: "/".into(),
            route: None,
            has_query: false,
            host: "".into(),
            outcome: Outcome::Status(status),
            local: None,
            peer: None,
            goid: 1,
            causes: None,
            statement: None,
        }
    }
}
