//! Network events on their way to logs: of those that are alike the first is told at once, and those of the
//! next seconds together, with their number. A storm of failures is one event an interval.

use std::{net::SocketAddr, time::Duration};

use ahash::AHashMap;

use crate::{
    assemble::network_event::{NetworkEvent, NetworkEventKind},
    clock::Ktime,
    targets::process::Tgid,
};

const INTERVAL: Duration = Duration::from_secs(10);
/// Pairs of a client and a server that something fails between at the same time.
const MAX_KEYS: usize = 4096;

/// One event for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::export) struct Told {
    /// The last one.
    pub(in crate::export) event: NetworkEvent,
    /// How many it stands for.
    pub(in crate::export) count: u64,
}

#[derive(Debug, Default)]
pub(in crate::export) struct Digest {
    open: AHashMap<Key, Interval>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    owner: Option<(Tgid, Option<u64>)>,
    other: SocketAddr,
    behind: Option<SocketAddr>,
    kind: NetworkEventKind,
}

#[derive(Debug)]
struct Interval {
    ends: Ktime,
    waiting: Option<Told>,
}

/// There are too many that are not alike: it is in no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) struct TooMany;

impl Digest {
    /// What is to be told of it at once.
    pub(in crate::export) fn record(
        &mut self,
        event: NetworkEvent,
        now: Ktime,
    ) -> Result<Option<Told>, TooMany> {
        let owner = event.owner().map(|it| it.identity());
        let key = Key { owner, other: event.other(), behind: event.behind(), kind: event.kind() };
        if let Some(interval) = self.open.get_mut(&key) {
            let count = interval.waiting.as_ref().map_or(0, |it| it.count) + 1;
            interval.waiting = Some(Told { event, count });
            return Ok(None);
        }
        if MAX_KEYS <= self.open.len() {
            return Err(TooMany);
        }
        self.open.insert(key, Interval { ends: now.plus(INTERVAL), waiting: None });
        Ok(Some(Told { event, count: 1 }))
    }

    /// What has waited for its interval.
    pub(in crate::export) fn due(&mut self, now: Ktime) -> Vec<Told> {
        let mut told = Vec::new();
        self.open.retain(|_, interval| {
            if now < interval.ends {
                return true;
            }
            interval.ends = now.plus(INTERVAL);
            let waiting = interval.waiting.take();
            // Who was quiet for an interval is told at once the next time.
            let goes_on = waiting.is_some();
            told.extend(waiting);
            goes_on
        });
        told
    }

    /// All that waits, since there will be no other time.
    pub(in crate::export) fn rest(&mut self) -> Vec<Told> {
        self.open.drain().filter_map(|(_, interval)| interval.waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assemble::{
            failure::{ConnectFailure, FailureClass},
            network_event::What,
        },
        export::testing,
    };

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_storm_is_one_event_an_interval() {
        let mut digest = Digest::default();
        let mut counts = Vec::new();
        // Ten a second for 35 s, then silence.
        for tick in 0..600 {
            let now = Ktime(tick * SECOND / 10);
            counts.extend(digest.due(now).iter().map(|it| (tick, it.count)));
            if tick < 350 {
                let told = digest.record(testing::failure(FailureClass::Refused, 80), now).unwrap();
                counts.extend(told.map(|it| (tick, it.count)));
            }
        }
        assert_eq!(counts, [(0, 1), (100, 99), (200, 100), (300, 100), (400, 50)]);
        assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), 350);
        assert!(digest.open.is_empty(), "who is quiet costs nothing");
    }

    #[test]
    fn what_is_not_alike_is_told_apart() {
        let mut digest = Digest::default();
        let mut told =
            |class, port| digest.record(testing::failure(class, port), Ktime(5)).unwrap().is_some();
        assert!(told(FailureClass::Refused, 80));
        assert!(told(FailureClass::TimedOut, 80));
        assert!(told(FailureClass::Refused, 81));
        assert!(!told(FailureClass::Refused, 80));
        let failure = testing::connect_failure(FailureClass::Refused, 80);
        let mut told = |server| {
            let behind = Some(([10, 0, 1, server], 8080).into());
            let what = What::ConnectFailed(ConnectFailure { behind, ..failure.clone() });
            digest.record(NetworkEvent { what, span: None }, Ktime(5)).unwrap().is_some()
        };
        assert_eq!([7, 8, 7].map(&mut told), [true, true, false], "of servers behind one address");
    }

    #[test]
    fn the_last_words_are_all_that_waits() {
        let mut digest = Digest::default();
        for _ in 0..3 {
            digest.record(testing::failure(FailureClass::Refused, 80), Ktime(5)).unwrap();
        }
        assert_eq!(digest.rest().iter().map(|it| it.count).collect::<Vec<_>>(), [2]);
        assert!(digest.rest().is_empty());
    }

    #[test]
    fn memory_is_bounded_and_what_finds_no_room_is_said() {
        let mut digest = Digest::default();
        let ports = 1..=u16::try_from(MAX_KEYS).unwrap() + 3;
        let refused = ports
            .filter(|port| {
                digest.record(testing::failure(FailureClass::Refused, *port), Ktime(5)) == Err(TooMany)
            })
            .count();
        assert_eq!((refused, digest.open.len()), (3, MAX_KEYS));
        // The same again is no new one.
        assert_eq!(digest.record(testing::failure(FailureClass::Refused, 1), Ktime(5)), Ok(None));
    }
}
