//! Durations of lookups by client, resolver and result.
//!
//! Bounded: beyond [`MAX_SERIES`] lookups are counted in one series, until idle ones are forgotten.

use std::{cell::OnceCell, net::IpAddr, sync::Arc, time::Duration};

use ahash::AHashMap;

use super::lookup::{Lookup, Outcome};
use crate::{clock::Ktime, decode::dns::ResponseCode};

/// From what a cache on the same host takes to what most clients wait.
pub const BOUNDS: [Duration; 14] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
];

const MAX_SERIES: usize = 1000;
const MAX_IDLE: Duration = Duration::from_secs(15 * 60);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    Service(String),
    Address(IpAddr),
}

/// What tells two series apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResolutionKey {
    pub client: Asker,
    pub resolver: IpAddr,
    /// `None`: no answer in time.
    pub code: Option<ResponseCode>,
}

/// Cumulative since `first`. Of those without an answer it is the time that was waited.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// `None`: those that found no room.
    pub key: Option<ResolutionKey>,
    /// By [`BOUNDS`]; the last one holds what is longer.
    pub buckets: [u64; BOUNDS.len() + 1],
    pub sum: Duration,
    pub first: Ktime,
    last: Ktime,
}

impl Resolution {
    #[must_use]
    pub fn new(key: Option<ResolutionKey>, first: Ktime) -> Self {
        Self { key, buckets: [0; BOUNDS.len() + 1], sum: Duration::ZERO, first, last: first }
    }
}

/// All series at one moment. Those that did not change are shared with the moments before.
pub type ResolutionSeries = Arc<Vec<Arc<Resolution>>>;

#[derive(Debug, Default)]
pub(super) struct Resolutions {
    series: AHashMap<Option<ResolutionKey>, Arc<Resolution>>,
    /// The last snapshot, until something changes.
    kept: OnceCell<ResolutionSeries>,
}

impl Resolutions {
    pub(super) fn record(&mut self, lookup: &Lookup) {
        self.kept.take();
        let (code, took) = match lookup.outcome {
            Outcome::Answered { code, took } => (Some(code), took),
            Outcome::Unanswered { waited } => (None, waited),
        };
        let client = match &lookup.client {
            Some(process) => Asker::Service(process.service.name.clone()),
            None => Asker::Address(lookup.client_ip),
        };
        let mut key = Some(ResolutionKey { client, resolver: lookup.resolver.ip(), code });
        if MAX_SERIES <= self.series.len() && !self.series.contains_key(&key) {
            key = None;
        }
        let at = lookup.at;
        let new = || Arc::new(Resolution::new(key.clone(), at));
        let series = self.series.entry(key.clone()).or_insert_with(new);
        let series = Arc::make_mut(series);
        series.buckets[BOUNDS.partition_point(|bound| *bound < took)] += 1;
        series.sum = series.sum.saturating_add(took);
        series.last = series.last.max(at);
    }

    #[must_use]
    pub(super) fn snapshot(&self) -> ResolutionSeries {
        Arc::clone(self.kept.get_or_init(|| Arc::new(self.series.values().map(Arc::clone).collect())))
    }

    /// Makes room for others.
    pub(super) fn sweep(&mut self, now: Ktime) {
        let n_series = self.series.len();
        self.series.retain(|_, series| now.since(series.last) < MAX_IDLE);
        if self.series.len() != n_series {
            self.kept.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::dns::{Question, RecordKind};

    #[test]
    fn each_client_resolver_and_result_is_counted_apart() {
        let mut resolutions = Resolutions::default();
        let answered = |code| Outcome::Answered { code, took: Duration::from_millis(3) };
        for (client, outcome) in [
            (1, answered(ResponseCode::NO_ERROR)),
            (1, answered(ResponseCode::NO_ERROR)),
            (1, answered(ResponseCode::SERVER_FAILURE)),
            (2, answered(ResponseCode::NO_ERROR)),
            (2, Outcome::Unanswered { waited: Duration::from_secs(5) }),
        ] {
            resolutions.record(&lookup(client, outcome, Ktime(7)));
        }
        let mut got: Vec<_> = resolutions.snapshot().iter().map(|it| line(it)).collect();
        got.sort();
        assert_eq!(got, ["10.0.0.1 NOERROR 2", "10.0.0.1 SERVFAIL 1", "10.0.0.2 - 1", "10.0.0.2 NOERROR 1"]);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut resolutions = Resolutions::default();
        for took in [Duration::ZERO, BOUNDS[0], BOUNDS[0] + Duration::from_nanos(1), BOUNDS[13] * 2] {
            let outcome = Outcome::Answered { code: ResponseCode::NO_ERROR, took };
            resolutions.record(&lookup(1, outcome, Ktime(7)));
        }
        let series = &resolutions.snapshot()[0];
        assert_eq!(series.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(series.sum, BOUNDS[0] * 2 + Duration::from_nanos(1) + BOUNDS[13] * 2);
    }

    #[test]
    fn the_excess_is_counted_together_until_idle_ones_are_gone() {
        let mut resolutions = Resolutions::default();
        let outcome = Outcome::Unanswered { waited: Duration::from_secs(5) };
        for client in 0..MAX_SERIES as u32 + 5 {
            resolutions.record(&lookup(client, outcome, Ktime(7)));
        }
        let snapshot = resolutions.snapshot();
        let other = snapshot.iter().find(|it| it.key.is_none()).unwrap();
        assert_eq!((snapshot.len(), other.buckets.iter().sum::<u64>()), (MAX_SERIES + 1, 5));
        resolutions.sweep(Ktime(7).plus(MAX_IDLE));
        assert_eq!(resolutions.snapshot().len(), 0);
    }

    fn line(series: &Resolution) -> String {
        let key = series.key.as_ref().unwrap();
        let Asker::Address(client) = key.client else { panic!("{key:?}") };
        let n_lookups: u64 = series.buckets.iter().sum();
        format!("{client} {} {n_lookups}", key.code.map_or("-", ResponseCode::name))
    }

    fn lookup(client: u32, outcome: Outcome, at: Ktime) -> Lookup {
        Lookup {
            client: None,
            client_ip: std::net::Ipv4Addr::from(0x0a00_0000 + client).into(),
            resolver: "10.0.0.53:53".parse().unwrap(),
            question: Question { name: "a.example".into(), kind: RecordKind(1) },
            outcome,
            at,
        }
    }
}
