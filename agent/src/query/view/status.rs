//! `taskscope status`: the agent itself.

use super::shapes;
use crate::{
    clock::Ktime,
    config::settings::Signal,
    query::{
        proto::{AgentStatus, Component, Events, Exporter, Head, Interfaces, Nat, StatusAnswer},
        snapshot::{self, Exported, ExporterView, Numbers, Snapshot},
    },
};

/// `numbers` were read `now`; the snapshot may be older.
pub(crate) fn answer(snapshot: &Snapshot, numbers: &Numbers, now: Ktime) -> StatusAnswer {
    let components = numbers.beats.iter().map(|(name, beat)| Component {
        name: (*name).to_owned(),
        last_beat: beat.map(|beat| snapshot.wall(beat).0),
    });
    let status = AgentStatus {
        uptime_seconds: numbers.uptime.as_secs_f64(),
        cpu_ratio: snapshot.cpu_ratio,
        rss_bytes: snapshot.rss_bytes,
        bpf_map_bytes: Some(numbers.map_bytes),
        events: Some(Events {
            made: numbers.made,
            delivered: numbers.delivered,
            lost: shapes::reasons(&numbers.events_lost),
        }),
        export: snapshot.exporters.iter().map(|it| exporter(it, numbers)).collect(),
        components: components.collect(),
        nat: Some(nat(&numbers.nat)),
        interfaces: Some(interfaces(&numbers.interfaces)),
    };
    StatusAnswer {
        head: Some(Head { time: snapshot.wall(now).0, ..shapes::head("status", snapshot, None) }),
        items: vec![status],
        lost: shapes::reasons(&numbers.lost),
    }
}

fn nat(nat: &snapshot::Nat) -> Nat {
    let snapshot::Nat { by_sequence, by_conntrack, unresolved } = *nat;
    Nat { resolved_by_sequence: by_sequence, resolved_by_conntrack: by_conntrack, unresolved }
}

fn interfaces(interfaces: &snapshot::Interfaces) -> Interfaces {
    let snapshot::Interfaces { watched, unknown, behind, clsact } = *interfaces;
    Interfaces { watched, unknown, behind, clsact }
}

fn exporter(ExporterView { signal, endpoint }: &ExporterView, numbers: &Numbers) -> Exporter {
    let Exported { queued, sent, failed, dropped } = match signal {
        Signal::Traces => numbers.traces,
        Signal::Metrics => numbers.metrics,
        Signal::Logs => numbers.logs,
    };
    Exporter { signal: signal.name().to_owned(), endpoint: endpoint.clone(), queued, sent, failed, dropped }
}
