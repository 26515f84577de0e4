//! `taskscope status`: the agent itself.

use super::shapes;
use crate::query::{
    proto::{AgentStatus, Component, Events, Exporter, Filter, StatusAnswer},
    snapshot::{ExporterView, Snapshot},
};

pub(crate) fn answer(snapshot: &Snapshot, filter: &Filter) -> StatusAnswer {
    let numbers = &snapshot.numbers;
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
        export: snapshot.exporters.iter().map(exporter).collect(),
        components: components.collect(),
    };
    StatusAnswer {
        head: Some(shapes::head("status", snapshot, filter)),
        items: vec![status],
        lost: shapes::lost(snapshot),
    }
}

fn exporter(exporter: &ExporterView) -> Exporter {
    let ExporterView { signal, endpoint, queued, sent, failed, dropped } = exporter;
    Exporter {
        signal: (*signal).to_owned(),
        endpoint: endpoint.clone(),
        queued: *queued,
        sent: *sent,
        failed: *failed,
        dropped: *dropped,
    }
}
