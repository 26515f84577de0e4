//! `taskscope targets`: watched processes, their probes and what was refused.

use super::{
    Refusal,
    select::Selection,
    shapes,
    sort::{self, Column},
};
use crate::query::{
    proto::{Binary, Filter, Probe, Refused, TargetsAnswer, WatchedTarget},
    snapshot::{BinaryView, ProbeView, Snapshot, TargetView},
};

pub(crate) const COLUMNS: &[Column<TargetView>] = &[
    ("pid", |a, b| a.process.tgid.cmp(&b.process.tgid)),
    ("service", |a, b| a.process.service.name.cmp(&b.process.service.name)),
    ("cpu", |a, b| cpu_ratio(b).total_cmp(&cpu_ratio(a))),
    ("refused", |a, b| b.refused.len().cmp(&a.refused.len())),
];

pub(crate) fn answer(snapshot: &Snapshot, filter: &Filter) -> Result<TargetsAnswer, Refusal> {
    let selection = Selection::new(filter, snapshot)?;
    let mut targets: Vec<_> = snapshot.targets.iter().filter(|it| selection.process(&it.process)).collect();
    sort::sort_and_cut(&mut targets, COLUMNS, filter)?;
    Ok(TargetsAnswer {
        head: Some(shapes::head("targets", snapshot, None)),
        items: targets.into_iter().map(|it| watched(it, &snapshot.node)).collect(),
        lost: shapes::lost(snapshot),
    })
}

fn cpu_ratio(target: &TargetView) -> f64 {
    target.probes.iter().filter_map(|it| it.cpu_ratio).sum()
}

fn watched(target: &TargetView, node: &str) -> WatchedTarget {
    let TargetView { process, binary: seen, probes, refused } = target;
    let refused = refused.iter().map(|(name, reason)| Refused { name: name.clone(), reason: reason.clone() });
    WatchedTarget {
        target: Some(shapes::target(process, node)),
        binary: seen.as_ref().map(binary),
        probes: probes.iter().map(probe).collect(),
        refused: refused.collect(),
        snapshot: None,
    }
}

fn binary(binary: &BinaryView) -> Binary {
    let BinaryView { build_id, go_version, stripped, pie, offsets_from } = binary;
    Binary {
        build_id: build_id.clone(),
        go_version: go_version.clone(),
        stripped: *stripped,
        pie: *pie,
        offsets_from: (*offsets_from).to_owned(),
    }
}

fn probe(probe: &ProbeView) -> Probe {
    let ProbeView { name, point, hits_per_second, ns_per_hit, cpu_ratio } = probe;
    Probe {
        name: name.clone(),
        point: point.clone(),
        hits_per_second: *hits_per_second,
        ns_per_hit: *ns_per_hit,
        cpu_ratio: *cpu_ratio,
    }
}
