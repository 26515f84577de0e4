//! Watched processes with their probes: hits become rates and prices.

use std::{collections::HashMap, sync::Arc, time::Duration};

use agent_common::layout::point;

use super::message::Attached;
use crate::{
    clock::{self, Ktime},
    kernel::{POINTS, PointRow, Prices},
    query::snapshot::{BinaryView, ProbeView, TargetView},
    targets::{
        golang::{GoBinary, OffsetsFrom, Point, PointName},
        plan::PlanError,
        process::{Process, Tgid},
    },
};

/// Rates are over at least this.
const RATE_OVER: Duration = Duration::from_secs(2);

/// What is known of the probes on each process.
#[derive(Debug, Default)]
pub(super) struct Probes {
    targets: HashMap<Tgid, Target>,
    prices: Option<Prices>,
}

#[derive(Debug)]
struct Target {
    binary: Option<Arc<GoBinary>>,
    points: Vec<PointName>,
    refused: Vec<(String, String)>,
    before: Option<Reading>,
    rates: Option<Rates>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Ktime,
    hits: [u64; point::COUNT],
    cpu: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Rates {
    hits_per_second: [f64; point::COUNT],
    /// CPU time of the process per second.
    cpu: Option<f64>,
}

impl Probes {
    pub(super) fn prices(&mut self, prices: Prices) {
        self.prices = Some(prices);
    }

    pub(super) fn attached(&mut self, attached: Attached) {
        let Attached { tgid, binary, sql: _, points, mut refused } = attached;
        refused.extend(binary.refused.iter().map(|it| (it.subject.to_string(), it.reason.to_string())));
        let target = Target { binary: Some(binary), points, refused, before: None, rates: None };
        self.targets.insert(tgid, target);
    }

    pub(super) fn not_watched(&mut self, tgid: Tgid, error: &PlanError) {
        let (binary, mut refused) = match error {
            PlanError::NoPoints(binary) => {
                let reasons = binary.refused.iter().map(|it| (it.subject.to_string(), it.reason.to_string()));
                (Some(Arc::clone(binary)), reasons.collect())
            }
            _ => (None, Vec::new()),
        };
        if refused.is_empty() {
            refused.push(("http".to_owned(), super::error::chain(error).to_string()));
        }
        self.targets.insert(tgid, Target { binary, points: Vec::new(), refused, before: None, rates: None });
    }

    pub(super) fn forget(&mut self, tgid: Tgid) {
        self.targets.remove(&tgid);
    }

    pub(super) fn hits(&mut self, hits: Vec<(Tgid, [u64; point::COUNT])>) {
        let at = clock::now();
        for (tgid, hits) in hits {
            let Some(target) = self.targets.get_mut(&tgid) else {
                continue;
            };
            if target.before.is_some_and(|before| at.since(before.at) < RATE_OVER) {
                continue;
            }
            let now = Reading { at, hits, cpu: cpu_time(tgid) };
            if let Some(before) = target.before.replace(now) {
                target.rates = Some(rates(&before, &now));
            }
        }
    }

    /// `process` is asked for each; those that are gone are left out.
    pub(super) fn views(&self, process: impl Fn(Tgid) -> Option<Arc<Process>>) -> Vec<TargetView> {
        let view = |(tgid, target): (&Tgid, &Target)| Some(self.view(process(*tgid)?, target));
        self.targets.iter().filter_map(view).collect()
    }

    fn view(&self, process: Arc<Process>, target: &Target) -> TargetView {
        TargetView {
            process,
            binary: target.binary.as_deref().map(binary_view),
            probes: once(&target.points).filter_map(|name| self.probe(name, target)).collect(),
            refused: target.refused.clone(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a price is some hundred nanoseconds")]
    fn probe(&self, name: PointName, target: &Target) -> Option<ProbeView> {
        let row: &PointRow = POINTS.iter().find(|row| row.point == name)?;
        let binary = target.binary.as_deref()?;
        let ns_per_hit = self.prices.map(|prices| prices.of(row.price) as f64);
        let hits_per_second = target.rates.map(|rates| rates.hits_per_second[row.hits]);
        let spent = hits_per_second.zip(ns_per_hit).map(|(hits, ns)| hits * ns / 1e9);
        let cpu = target.rates.and_then(|rates| rates.cpu).filter(|cpu| 0.0 < *cpu);
        Some(ProbeView {
            name: name.name().to_owned(),
            point: place(&binary.points, name)?,
            hits_per_second,
            ns_per_hit,
            cpu_ratio: spent.zip(cpu).map(|(spent, cpu)| spent / cpu),
        })
    }
}

fn binary_view(binary: &GoBinary) -> BinaryView {
    BinaryView {
        build_id: binary.build_id.clone(),
        go_version: Some(binary.version.to_string()),
        stripped: binary.stripped,
        pie: binary.pie,
        offsets_from: match binary.offsets_from {
            OffsetsFrom::Dwarf => "dwarf",
            OffsetsFrom::Table => "table",
        },
    }
}

/// Each name once: where the compiler has doubled a call, its points share a name, and their hits are
/// counted together.
fn once(names: &[PointName]) -> impl Iterator<Item = PointName> + '_ {
    names.iter().enumerate().filter(|(n, name)| !names[..*n].contains(name)).map(|(_, name)| *name)
}

/// Where the points of a name are.
fn place(points: &[Point], name: PointName) -> Option<String> {
    let first = points.iter().find(|point| point.name == name)?;
    let addresses: Vec<String> =
        points.iter().filter(|point| point.name == name).map(|it| format!("{:#x}", it.address)).collect();
    Some(format!("{} in {} at {}", first.kind.name(), first.symbol, addresses.join(", ")))
}

#[expect(clippy::cast_precision_loss, reason = "hits of some seconds")]
fn rates(before: &Reading, now: &Reading) -> Rates {
    let seconds = now.at.since(before.at).as_secs_f64();
    let per_second = |n: usize| now.hits[n].saturating_sub(before.hits[n]) as f64 / seconds;
    let cpu = now.cpu.zip(before.cpu).map(|(now, before)| now.saturating_sub(before).as_secs_f64() / seconds);
    Rates { hits_per_second: std::array::from_fn(per_second), cpu }
}

/// User and system time of a process so far, in steps of a clock tick.
fn cpu_time(tgid: Tgid) -> Option<Duration> {
    let stat = procfs::process::Process::new(i32::try_from(tgid.0).ok()?).ok()?.stat().ok()?;
    let ticks = stat.utime.checked_add(stat.stime)?;
    Some(Duration::from_nanos(ticks.checked_mul(1_000_000_000 / procfs::ticks_per_second().max(1))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::golang::PointKind;

    #[test]
    fn points_of_one_name_are_one_row() {
        let point = |name, symbol: &str, address| Point {
            name,
            symbol: symbol.to_owned(),
            file_offset: address,
            address,
            kind: PointKind::AfterCall,
        };
        let points = [
            point(PointName::ClientAttempted, "f", 0x10),
            point(PointName::ClientRetry, "g", 0x20),
            point(PointName::ClientAttempted, "f", 0x30),
        ];
        let names: Vec<_> = once(&points.each_ref().map(|it| it.name)).collect();
        assert_eq!(names, [PointName::ClientAttempted, PointName::ClientRetry]);
        let places = names.iter().map(|name| place(&points, *name).unwrap()).collect::<Vec<_>>();
        assert_eq!(places, ["after call in f at 0x10, 0x30", "after call in g at 0x20"]);
        assert_eq!(place(&points, PointName::ServerEnd), None);
    }
}
