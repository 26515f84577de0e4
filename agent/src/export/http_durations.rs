//! Durations of requests by service, side, method and result, and of statements, in the conventions' buckets.
//!
//! Counts spans before the queue, so that what the queue drops is still in the metrics. Bounded: beyond
//! [`MAX_SERIES`], and until idle ones are forgotten, they are counted in one series for each kind.

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;

use super::{
    otlp::span_attributes::server,
    semconv::{self, DB_DURATION_BOUNDS, HTTP_DURATION_BOUNDS},
};
use crate::{
    assemble::span::{Protocol, Side, Span},
    clock::Ktime,
    targets::process::Process,
};

const MAX_SERIES: usize = 2000;
/// Long enough for a collector to have seen the last value several times.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// What tells two series apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// `None`: those that found no room.
    pub(super) process: Option<ByIdentity>,
    pub(super) kind: Kind,
    /// Of a statement its operation.
    pub(super) method: &'static str,
    pub(super) route: Option<Arc<str>>,
    pub(super) status: Option<u16>,
    pub(super) error_type: Option<Cow<'static, str>>,
    /// Of clients only: what a client writes to us is not ours to bound.
    pub(super) server: Option<(String, Option<u16>)>,
}

/// Of which metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Server,
    Client,
    /// With the system.
    Database(&'static str),
}

impl Kind {
    fn of(span: &Span) -> Self {
        match (&span.statement, span.side) {
            (Some(statement), _) => Self::Database(statement.system),
            (None, Side::Server) => Self::Server,
            (None, Side::Client) => Self::Client,
        }
    }

    pub(super) fn bounds(self) -> &'static [f64] {
        match self {
            Self::Server | Self::Client => &HTTP_DURATION_BOUNDS,
            Self::Database(_) => &DB_DURATION_BOUNDS,
        }
    }
}

/// A process as a key: compared in full, hashed by its id.
#[derive(Clone, Debug)]
pub(super) struct ByIdentity(pub(super) Arc<Process>);

impl PartialEq for ByIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for ByIdentity {}

impl Hash for ByIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.tgid.hash(state);
        self.0.started.hash(state);
    }
}

/// Cumulative since `first`.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) first: Ktime,
    last: Ktime,
    /// The one behind the last bound holds what is longer than all of them; the rest are of no use.
    pub(super) buckets: [u64; HTTP_DURATION_BOUNDS.len() + 1],
    pub(super) sum: Duration,
}

/// All series.
#[derive(Clone, Debug, Default)]
pub struct HttpDurations {
    series: AHashMap<Key, Series>,
}

impl HttpDurations {
    /// Calls of gRPC are none of HTTP's.
    pub fn record(&mut self, span: &Span) {
        if span.protocol == Protocol::Grpc {
            return;
        }
        let mut key = key(span);
        if MAX_SERIES <= self.series.len() && !self.series.contains_key(&key) {
            key = overflow(key.kind);
        }
        let duration = span.duration();
        let seconds = duration.as_secs_f64();
        let bucket = key.kind.bounds().partition_point(|bound| *bound < seconds);
        let series = self.series.entry(key).or_insert_with(|| Series::new(span.ended));
        series.buckets[bucket] += 1;
        series.sum = series.sum.saturating_add(duration);
        series.last = series.last.max(span.ended);
    }

    /// Makes room: processes that are gone never come back under the same key.
    pub fn forget_idle(&mut self, now: Ktime) {
        self.series.retain(|_, series| now.since(series.last) < IDLE);
    }

    /// Those of one process next to each other.
    pub(super) fn rows(&self) -> Vec<(&Key, &Series)> {
        let mut rows: Vec<_> = self.series.iter().collect();
        rows.sort_by_key(|(key, _)| key.process.as_ref().map(|it| (it.0.tgid, it.0.started)));
        rows
    }
}

impl Series {
    fn new(first: Ktime) -> Self {
        let buckets = [0; HTTP_DURATION_BOUNDS.len() + 1];
        Self { first, last: first, buckets, sum: Duration::ZERO }
    }
}

fn key(span: &Span) -> Key {
    let kind = Kind::of(span);
    let server = match (kind, server(span)) {
        (Kind::Client, (Some(address), port)) => Some((address.into_owned(), port)),
        _ => None,
    };
    let operation = span.statement.as_ref().map(|it| it.operation.unwrap_or_default());
    Key {
        process: Some(ByIdentity(Arc::clone(&span.process))),
        kind,
        method: operation.unwrap_or_else(|| semconv::method(&span.method)),
        route: span.route.as_ref().map(Arc::clone),
        status: span.status(),
        error_type: semconv::error_type(span),
        server,
    }
}

fn overflow(kind: Kind) -> Key {
    let kind = if let Kind::Database(_) = kind { Kind::Database("") } else { kind };
    let method = semconv::METHOD_OTHER;
    Key { process: None, kind, method, route: None, status: None, error_type: None, server: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assemble::span::Outcome, export::testing};

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut durations = HttpDurations::default();
        for micros in [1, 5_000, 5_001, 10_000_000, 10_000_001] {
            durations.record(&lasting(micros));
        }
        let rows = durations.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].1.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(rows[0].1.sum, Duration::from_micros(20_010_003));
    }

    #[test]
    fn statements_have_buckets_of_their_own() {
        let mut durations = HttpDurations::default();
        durations.record(&testing::statement(1));
        let slow = Span { ended: Ktime(20_000_000_000), ..testing::statement(2) };
        durations.record(&slow);
        let rows = durations.rows();
        let (key, series) = rows[0];
        assert_eq!((rows.len(), key.kind, key.method), (1, Kind::Database("postgresql"), "SELECT"));
        assert_eq!(series.buckets[..=DB_DURATION_BOUNDS.len()], [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn calls_of_grpc_do_not_count() {
        let mut durations = HttpDurations::default();
        durations.record(&Span { protocol: Protocol::Grpc, ..lasting(1) });
        assert!(durations.rows().is_empty());
    }

    #[test]
    fn the_excess_is_counted_together() {
        let mut durations = HttpDurations::default();
        for n in 0..MAX_SERIES + 5 {
            let mut span = testing::span(1);
            span.outcome = Outcome::Status(u16::try_from(n).unwrap());
            durations.record(&span);
            durations.record(&span);
        }
        let rows = durations.rows();
        assert_eq!(rows.len(), MAX_SERIES + 1);
        let (key, series) = rows[0];
        assert_eq!((key.process.is_none(), key.kind), (true, Kind::Server));
        assert_eq!(series.buckets.iter().sum::<u64>(), 10);
    }

    #[test]
    fn idle_series_make_room() {
        let mut durations = HttpDurations::default();
        let span = testing::span(1);
        durations.record(&span);
        durations.forget_idle(span.ended.plus(IDLE).minus(Duration::from_nanos(1)));
        assert_eq!(durations.rows().len(), 1);
        durations.forget_idle(span.ended.plus(IDLE));
        assert_eq!(durations.rows().len(), 0);
    }

    fn lasting(micros: u64) -> Span {
        let mut span = testing::span(1);
        span.ended = span.began.plus(Duration::from_micros(micros));
        span
    }
}
