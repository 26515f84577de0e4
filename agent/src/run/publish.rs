//! Snapshots for those who ask.

use std::sync::Arc;

use super::{loads::Load, probes::Probes};
use crate::{
    assemble::{edge::Edges, state::State},
    clock::{self, Clock, Ktime},
    config::settings::{Otlp, Settings},
    detect::Detectors,
    query::snapshot::{ExporterView, Snapshot},
    vitals::Vitals,
};

/// What a snapshot is made of.
pub(super) struct Sources<'a> {
    pub(super) settings: &'a Settings,
    pub(super) state: &'a State,
    pub(super) detectors: &'a Detectors,
    pub(super) probes: &'a Probes,
    pub(super) vitals: &'a Vitals,
    pub(super) clock: Clock,
    pub(super) now: Ktime,
    pub(super) cpu_ratio: Option<f64>,
}

pub(super) fn snapshot(from: &Sources<'_>) -> Snapshot {
    Snapshot {
        node: from.settings.node.clone(),
        version: env!("CARGO_PKG_VERSION"),
        at: from.now,
        clock: from.clock,
        window: from.settings.window,
        edges: from.state.edges(),
        spans: from.state.spans(),
        findings: from.detectors.findings(),
        targets: from.probes.views(|tgid| from.state.knows(tgid).map(Arc::clone)),
        exporters: exporters(from.settings),
        lost: from.vitals.lost().collect(),
        cpu_ratio: from.cpu_ratio,
        rss_bytes: Load::rss_bytes(),
    }
}

/// Before the first events.
pub(super) fn empty(settings: &Settings) -> Snapshot {
    Snapshot {
        node: settings.node.clone(),
        version: env!("CARGO_PKG_VERSION"),
        at: clock::now(),
        clock: Clock::new(),
        window: settings.window,
        edges: Edges::default(),
        spans: Vec::new(),
        findings: Vec::new(),
        targets: Vec::new(),
        exporters: Vec::new(),
        lost: Vec::new(),
        cpu_ratio: None,
        rss_bytes: None,
    }
}

fn exporters(settings: &Settings) -> Vec<ExporterView> {
    let view = |(signal, otlp): (_, &Otlp)| ExporterView { signal, endpoint: otlp.endpoint.clone() };
    settings.otlp.each().map(view).collect()
}
