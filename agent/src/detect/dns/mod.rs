//! Resolvers that are silent, fail, are slow, or are asked for what does not exist.
//!
//! Judged for each client and resolver, by the last lookups within [`WINDOW`]. Each lookup that makes a
//! case makes it again, and the ledger merges.

mod recent;

use std::{net::IpAddr, sync::Arc, time::Duration};

use ahash::AHashMap;

use self::recent::{Recent, Sum};
use super::{
    Detector, Input,
    finding::{Evidence, Finding, FindingKind, Severity},
};
use crate::{
    assemble::lookup::{Lookup, Outcome},
    clock::Ktime,
    decode::dns::ResponseCode,
    targets::process::Tgid,
    vitals::{Vital, Vitals},
};

const WINDOW: Duration = Duration::from_secs(10);
const MIN_FAILURES: u64 = 5;
const MIN_FAILURE_SHARE: f64 = 0.1;
/// A name that does not exist is an answer; only many of them say something.
const MIN_MISSING: u64 = 20;
const MIN_MISSING_SHARE: f64 = 0.5;
const MIN_LOOKUPS: u64 = 20;
/// A resolver on the network answers from its cache within some milliseconds.
const SLOW: Duration = Duration::from_millis(200);
/// Of `SLOW` ones, so that a few names that are looked up far away are none.
const MIN_SLOW_SHARE: f64 = 0.05;
const MAX_PAIRS: usize = 1024;

/// Who asks whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pair {
    client: Result<(Tgid, Option<u64>), IpAddr>,
    resolver: IpAddr,
}

/// Lookups within the window, by client and resolver.
#[derive(Debug)]
pub(super) struct Resolvers {
    pairs: AHashMap<Pair, Recent>,
    vitals: Arc<Vitals>,
}

impl Resolvers {
    pub(super) fn new(vitals: Arc<Vitals>) -> Self {
        Self { pairs: AHashMap::new(), vitals }
    }

    fn recent(&mut self, lookup: &Lookup) -> &mut Recent {
        let client = lookup.client.as_ref().map(|it| it.identity()).ok_or(lookup.client_ip);
        let pair = Pair { client, resolver: lookup.resolver.ip() };
        if MAX_PAIRS <= self.pairs.len() && !self.pairs.contains_key(&pair) {
            self.make_room(lookup.at);
        }
        self.pairs.entry(pair).or_default()
    }

    /// Those go that had no lookup within the window, or else the one that had none for longest.
    fn make_room(&mut self, now: Ktime) {
        self.pairs.retain(|_, recent| now.since(recent.newest()) <= WINDOW);
        if self.pairs.len() < MAX_PAIRS {
            return;
        }
        let oldest = self.pairs.iter().min_by_key(|(_, recent)| recent.newest()).map(|(it, _)| it.clone());
        if let Some(oldest) = oldest {
            self.pairs.remove(&oldest);
            self.vitals.add(Vital::DnsClientsForgotten, 1);
        }
    }
}

impl Detector for Resolvers {
    fn name(&self) -> &'static str {
        "resolvers"
    }

    fn input(&mut self, input: Input<'_>) -> Option<Finding> {
        let Input::Lookup(lookup) = input else {
            return None;
        };
        let recent = self.recent(lookup);
        recent.add(lookup);
        match lookup.outcome {
            Outcome::Unanswered { waited } => Some(unanswered(lookup, waited, &recent.sum())),
            Outcome::Answered { code: ResponseCode::SERVER_FAILURE, .. } => failing(lookup, &recent.sum()),
            Outcome::Answered { code: ResponseCode::NO_SUCH_NAME, .. } => missing(lookup, &recent.sum()),
            Outcome::Answered { took, .. } if SLOW <= took => slow(lookup, &recent.sum()),
            Outcome::Answered { .. } => None,
        }
    }
}

fn unanswered(lookup: &Lookup, waited: Duration, sum: &Sum) -> Finding {
    let (who, Lookup { resolver, question, .. }) = (lookup.client_name(), lookup);
    let summary = format!(
        "{who} gets no answer from the resolver {resolver} within {} s, the last time for {} ({})",
        waited.as_secs(),
        question.name,
        question.kind
    );
    let evidence = vec![
        ("unanswered", Evidence::Count(sum.unanswered)),
        ("waited_seconds", Evidence::Seconds(waited.as_secs_f64())),
    ];
    finding(lookup, FindingKind::DnsNoAnswer, Severity::Critical, summary, sum, evidence)
}

fn failing(lookup: &Lookup, sum: &Sum) -> Option<Finding> {
    if sum.failures < MIN_FAILURES || sum.share(sum.failures) < MIN_FAILURE_SHARE {
        return None;
    }
    let (who, Lookup { resolver, question, .. }) = (lookup.client_name(), lookup);
    let summary = format!(
        "the resolver {resolver} fails {} of {} lookups of {who} within {} s, the last for {} ({})",
        sum.failures,
        sum.lookups,
        WINDOW.as_secs(),
        question.name,
        question.kind
    );
    let evidence = vec![
        ("failures", Evidence::Count(sum.failures)),
        ("failure_ratio", Evidence::Ratio(sum.share(sum.failures))),
    ];
    Some(finding(lookup, FindingKind::DnsServerFailures, Severity::Critical, summary, sum, evidence))
}

fn missing(lookup: &Lookup, sum: &Sum) -> Option<Finding> {
    if sum.missing < MIN_MISSING || sum.share(sum.missing) < MIN_MISSING_SHARE {
        return None;
    }
    let (who, Lookup { resolver, question, .. }) = (lookup.client_name(), lookup);
    let asks = format!(
        "{who} asks {resolver} for names that do not exist: {} of {} lookups within {} s, the last {}",
        sum.missing,
        sum.lookups,
        WINDOW.as_secs(),
        question.name
    );
    let is_search = sum.missing < sum.searched.saturating_mul(2);
    let (severity, summary) = if is_search {
        let why = format!("{} are names that exist with a search domain after them", sum.searched);
        (Severity::Advice, format!("{asks}; {why} (`ndots`): write such names with a dot at the end"))
    } else {
        (Severity::Warning, asks)
    };
    let evidence = vec![
        ("missing", Evidence::Count(sum.missing)),
        ("missing_ratio", Evidence::Ratio(sum.share(sum.missing))),
        ("search_domain_lookups", Evidence::Count(sum.searched)),
    ];
    Some(finding(lookup, FindingKind::DnsNoSuchNames, severity, summary, sum, evidence))
}

fn slow(lookup: &Lookup, sum: &Sum) -> Option<Finding> {
    if sum.lookups < MIN_LOOKUPS || sum.share(sum.slow) < MIN_SLOW_SHARE {
        return None;
    }
    let (who, resolver) = (lookup.client_name(), lookup.resolver);
    let millis = |it: Duration| it.as_millis();
    let summary = format!(
        "the resolver {resolver} is slow for {who}: of {} lookups within {} s half took more than {} ms, 5 % \
         more than {} ms",
        sum.lookups,
        WINDOW.as_secs(),
        millis(sum.p50),
        millis(sum.p95)
    );
    let evidence = vec![
        ("p50_seconds", Evidence::Seconds(sum.p50.as_secs_f64())),
        ("p95_seconds", Evidence::Seconds(sum.p95.as_secs_f64())),
        ("max_seconds", Evidence::Seconds(sum.max.as_secs_f64())),
    ];
    Some(finding(lookup, FindingKind::DnsSlow, Severity::Warning, summary, sum, evidence))
}

fn finding(
    lookup: &Lookup,
    kind: FindingKind,
    severity: Severity,
    summary: String,
    sum: &Sum,
    evidence: Vec<(&'static str, Evidence)>,
) -> Finding {
    let Lookup { client, client_ip, resolver, question, .. } = lookup;
    let mut all = vec![
        ("client_address", Evidence::Text(client_ip.to_string())),
        ("resolver_address", Evidence::Text(resolver.ip().to_string())),
        ("last_name", Evidence::Text(question.name.to_string())),
        ("last_type", Evidence::Text(question.kind.to_string())),
        ("lookups", Evidence::Count(sum.lookups)),
    ];
    all.extend(evidence);
    Finding {
        severity,
        kind,
        target: client.clone(),
        about: format!("{client_ip} {}", resolver.ip()),
        summary,
        evidence: all,
        count: 1,
        first_seen: lookup.at,
        last_seen: lookup.at,
        next: match client {
            Some(client) => format!("taskscope topology --pid {}", client.tgid.0),
            None => "taskscope topology".to_owned(),
        },
        span: None,
    }
}

#[cfg(test)]
mod tests;
