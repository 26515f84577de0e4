//! Bursts of 5xx from a server.
//!
//! Calm --enough errors, and a large enough share, within the window--> Burst --window over--> Calm
//!
//! Time is that of the spans; those of two CPUs may come out of order.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Detector, Input,
    finding::{Evidence, Finding, FindingKind, Severity},
};
use crate::{
    assemble::span::{Side, Span},
    clock::Ktime,
    targets::process::Tgid,
};

const WINDOW: Duration = Duration::from_secs(10);
const MIN_ERRORS: usize = 5;
const MIN_SHARE: f64 = 0.02;
/// Of one process; beyond, the oldest of the window are forgotten early.
const MAX_REMEMBERED: usize = 50_000;
const MAX_PROCESSES: usize = 4096;

/// Ends of requests within the window, by process.
#[derive(Debug, Default)]
pub(super) struct ServerErrors {
    processes: HashMap<Tgid, Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    ends: VecDeque<(Ktime, bool)>,
    errors: usize,
}

impl Recent {
    fn add(&mut self, at: Ktime, is_error: bool) {
        self.ends.push_back((at, is_error));
        self.errors += usize::from(is_error);
        while let Some(&(first, was_error)) = self.ends.front()
            && (WINDOW < at.since(first) || MAX_REMEMBERED < self.ends.len())
        {
            self.ends.pop_front();
            self.errors -= usize::from(was_error);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "at most MAX_REMEMBERED")]
    fn share(&self) -> f64 {
        self.errors as f64 / self.ends.len().max(1) as f64
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
        if span.side != Side::Server {
            return None;
        }
        let tgid = span.process.tgid;
        if MAX_PROCESSES <= self.processes.len() && !self.processes.contains_key(&tgid) {
            self.processes.clear();
        }
        let recent = self.processes.entry(tgid).or_default();
        recent.add(span.ended, span.is_error());
        let is_burst = MIN_ERRORS <= recent.errors && MIN_SHARE <= recent.share();
        (span.is_error() && is_burst).then(|| finding(span, recent))
    }
}

fn finding(span: &Span, recent: &Recent) -> Finding {
    let name = &span.process.service.name;
    let status = span.status().map_or_else(|| "no status".to_owned(), |it| it.to_string());
    Finding {
        severity: Severity::Critical,
        kind: FindingKind::HttpServerErrors,
        target: Some(Arc::clone(&span.process)),
        about: String::new(),
        summary: format!(
            "{name} fails {} of {} requests within {} s, the last with {status}",
            recent.errors,
            recent.ends.len(),
            WINDOW.as_secs()
        ),
        evidence: vec![
            ("errors", Evidence::Count(recent.errors as u64)),
            ("requests", Evidence::Count(recent.ends.len() as u64)),
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
    use crate::assemble::span::{JoinedBy, Outcome, SpanId, TraceId};

    #[test]
    fn a_few_errors_are_no_burst() {
        check("1 500; 2 500; 3 500; 4 500", "");
    }

    #[test]
    fn the_fifth_within_ten_seconds_is() {
        check("1 500; 2 500; 3 503; 4 500; 5 502", "5: 5 of 5, the last with 502");
        check("1 500; 2 500; 3 503; 4 500; 15 502", "");
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

    #[test]
    fn time_may_run_backwards() {
        check("9 500; 5 500; 8 500; 7 500; 6 500", "6: 5 of 5, the last with 500");
    }

    #[track_caller]
    fn check(script: &str, want: &str) {
        let mut detector = ServerErrors::default();
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
            process: Arc::new(process),
            began: Ktime(0),
            ended: Ktime(second * 1_000_000_000),
            method: "GET".into(),
            path: "/".into(),
            has_query: false,
            host: "".into(),
            outcome: Outcome::Status(status),
            local: None,
            peer: None,
            goid: 1,
        }
    }
}
