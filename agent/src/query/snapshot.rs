//! What the agent publishes for its clients: plain data, true at one moment.
//!
//! The room that owns the state fills one and puts it into a `watch` channel; nobody writes to it
//! afterwards.

use std::{sync::Arc, time::Duration};

use agent_common::counter;

use crate::{
    assemble::{edge::Edges, span::Batch},
    clock::{Clock, Ktime, Wall},
    config::settings::Signal,
    detect::finding::Finding,
    targets::process::Process,
    vitals::{Part, Vital, Vitals},
};

/// Everything a client can ask for.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub node: String,
    pub version: &'static str,
    pub at: Ktime,
    pub clock: Clock,
    /// How long traces and findings are kept.
    pub window: Duration,
    pub edges: Edges,
    /// Of late, as they came.
    pub spans: Vec<Batch>,
    pub findings: Vec<Finding>,
    pub targets: Vec<TargetView>,
    pub exporters: Vec<ExporterView>,
    /// What every part lost, by reason.
    pub lost: Vec<(&'static str, u64)>,
    /// Of one core; `None` before there are two readings.
    pub cpu_ratio: Option<f64>,
    pub rss_bytes: Option<u64>,
}

impl Snapshot {
    pub(crate) fn wall(&self, ktime: Ktime) -> Wall {
        self.clock.wall(ktime)
    }
}

/// A watched process and what was done to it.
#[derive(Clone, Debug)]
pub struct TargetView {
    pub process: Arc<Process>,
    pub binary: Option<BinaryView>,
    pub probes: Vec<ProbeView>,
    /// Name of a probe, and why it is not attached.
    pub refused: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct BinaryView {
    pub build_id: Option<String>,
    pub go_version: Option<String>,
    pub stripped: bool,
    pub pie: bool,
    /// `dwarf`, `table` or `refused`.
    pub offsets_from: &'static str,
}

#[derive(Clone, Debug)]
pub struct ProbeView {
    pub name: String,
    /// Where it sits.
    pub point: String,
    pub hits_per_second: Option<f64>,
    pub ns_per_hit: Option<f64>,
    /// Of the target's CPU time.
    pub cpu_ratio: Option<f64>,
}

/// Where a signal goes.
#[derive(Clone, Debug)]
pub struct ExporterView {
    pub signal: Signal,
    pub endpoint: String,
}

/// What became of a signal's telemetry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exported {
    /// `None`: this signal has no queue.
    pub queued: Option<u64>,
    pub sent: u64,
    pub failed: u64,
    pub dropped: u64,
}

/// The agent's own numbers, read at one moment: that of the question, not that of the snapshot. Whoever
/// makes snapshots may hang, and then its last beat must be seen to grow old.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pub uptime: Duration,
    pub map_bytes: u64,
    /// Records that the kernel half wanted to deliver.
    pub made: u64,
    pub delivered: u64,
    /// Those that were made and not delivered.
    pub events_lost: Vec<(&'static str, u64)>,
    /// Every loss of every part.
    pub lost: Vec<(&'static str, u64)>,
    pub beats: Vec<(&'static str, Option<Ktime>)>,
    pub traces: Exported,
    pub metrics: Exported,
    pub logs: Exported,
    pub nat: Nat,
    pub interfaces: Interfaces,
}

/// Connections by how it is known where their server is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nat {
    pub by_sequence: u64,
    pub by_conntrack: u64,
    pub unresolved: u64,
}

/// Those with a packet program, those of an unknown kind, those where programs of others come first, and those with
/// filters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interfaces {
    pub watched: u64,
    pub unknown: u64,
    pub behind: u64,
    pub clsact: u64,
}

/// The kernel half's ways to lose a record.
const RING_FULL: [u32; 5] = [
    counter::PROC_RING_FULL,
    counter::SOCK_RING_FULL,
    counter::PACKET_RING_FULL,
    counter::HTTP_RING_FULL,
    counter::DNS_RING_FULL,
];

impl Numbers {
    #[must_use]
    pub fn read(vitals: &Vitals) -> Self {
        // Those who deliver are read before those who make, so that the sum never exceeds what was made.
        let delivered = vitals.get(Vital::EventsAssembled);
        let lost: Vec<_> = vitals.lost().collect();
        let events_lost: Vec<_> = lost.iter().copied().filter(|(reason, _)| is_event(reason)).collect();
        let never_submitted: u64 = RING_FULL.iter().map(|slot| vitals.kernel(*slot)).sum();
        Self {
            uptime: vitals.uptime(),
            map_bytes: vitals.get(Vital::MapBytes),
            made: vitals.kernel(counter::EVENTS_SUBMITTED).saturating_add(never_submitted),
            delivered,
            events_lost,
            lost,
            beats: Part::ALL.iter().map(|part| (part.name(), vitals.last_beat(*part))).collect(),
            traces: Exported {
                queued: Some(vitals.get(Vital::SpansQueued)),
                sent: vitals.get(Vital::SpansSent),
                failed: vitals.get(Vital::SpansRefused),
                dropped: vitals.get(Vital::SpansQueueFull),
            },
            metrics: Exported {
                queued: None,
                sent: vitals.get(Vital::MetricsSent),
                failed: vitals.get(Vital::MetricsFailed),
                dropped: 0,
            },
            logs: Exported {
                queued: Some(vitals.get(Vital::LogsQueued)),
                sent: vitals.get(Vital::LogsSent),
                failed: vitals.get(Vital::LogsRefused),
                dropped: vitals.get(Vital::LogsQueueFull),
            },
            nat: Nat {
                by_sequence: vitals.get(Vital::NatBySequence),
                by_conntrack: vitals.get(Vital::NatByConntrack),
                unresolved: vitals.get(Vital::NatUnresolved),
            },
            interfaces: Interfaces {
                watched: vitals.get(Vital::Interfaces),
                unknown: vitals.get(Vital::InterfacesUnknown),
                behind: vitals.get(Vital::InterfacesBehind),
                clsact: vitals.get(Vital::InterfacesClsact),
            },
        }
    }
}

/// Whether the reason is one for which a record of the kernel half is not delivered.
fn is_event(reason: &str) -> bool {
    let in_kernel = counter::TABLE.iter().any(|it| RING_FULL.contains(&it.slot) && it.name == reason);
    let here = [Vital::EventsUndecodable, Vital::EventsQueueFull]
        .iter()
        .any(|vital| matches!(vital.kind(), crate::vitals::Kind::Lost(name) if name == reason));
    in_kernel || here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_delivered_or_lost() {
        let vitals = Vitals::new();
        vitals.set_kernel(counter::EVENTS_SUBMITTED, 100);
        vitals.set_kernel(counter::HTTP_RING_FULL, 7);
        vitals.set_kernel(counter::USER_READ_FAILED, 50);
        vitals.add(Vital::EventsAssembled, 95);
        vitals.add(Vital::EventsUndecodable, 2);
        vitals.add(Vital::EventsQueueFull, 3);
        vitals.add(Vital::SpansQueueFull, 11);

        let numbers = Numbers::read(&vitals);
        let lost: u64 = numbers.events_lost.iter().map(|(_, n)| n).sum();
        assert_eq!((numbers.made, numbers.delivered + lost), (107, 107));
        assert_eq!(numbers.events_lost.len(), 7);
        assert_eq!(numbers.lost.iter().map(|(_, n)| n).sum::<u64>(), 73);
    }
}
