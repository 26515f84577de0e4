//! `taskscope findings`: verdicts, worst first.

use super::{
    Refusal,
    select::Selection,
    shapes::{self, count, number, text},
    sort::{self, Column},
};
use crate::{
    detect::finding::{self, Evidence},
    query::{
        proto::{Filter, Finding, FindingsAnswer, Value},
        snapshot::Snapshot,
    },
};

pub(crate) const COLUMNS: &[Column<finding::Finding>] = &[
    ("severity", |a, b| a.severity.cmp(&b.severity).then(b.last_seen.cmp(&a.last_seen))),
    ("count", |a, b| b.count.cmp(&a.count)),
    ("last_seen", |a, b| b.last_seen.cmp(&a.last_seen)),
    ("kind", |a, b| a.kind.name().cmp(b.kind.name())),
];

pub(crate) fn answer(snapshot: &Snapshot, filter: &Filter) -> Result<FindingsAnswer, Refusal> {
    let selection = Selection::new(filter, snapshot)?;
    let mut findings: Vec<_> = snapshot
        .findings
        .iter()
        .filter(|it| match &it.target {
            Some(process) => selection.process(process),
            None => !selection.asks_for_processes(),
        })
        .filter(|it| selection.time(it.last_seen))
        .collect();
    sort::sort_and_cut(&mut findings, COLUMNS, filter)?;
    Ok(FindingsAnswer {
        head: Some(shapes::head("findings", snapshot, shapes::window(snapshot, filter))),
        items: findings.into_iter().map(|it| verdict(it, snapshot)).collect(),
        lost: shapes::lost(snapshot),
    })
}

fn verdict(finding: &finding::Finding, snapshot: &Snapshot) -> Finding {
    let evidence = finding.evidence.iter().map(|(name, it)| ((*name).to_owned(), value(it)));
    Finding {
        severity: finding.severity.name().to_owned(),
        kind: finding.kind.name().to_owned(),
        target: finding.target.as_ref().map(|it| shapes::target(it, &snapshot.node)),
        summary: finding.summary.clone(),
        evidence: evidence.collect(),
        count: finding.count,
        first_seen: snapshot.wall(finding.first_seen).0,
        last_seen: snapshot.wall(finding.last_seen).0,
        next: finding.next.clone(),
        span: finding.span.map(shapes::span_ref),
    }
}

fn value(evidence: &Evidence) -> Value {
    match evidence {
        Evidence::Count(it) => count(*it),
        Evidence::Seconds(it) | Evidence::Ratio(it) => number(*it),
        Evidence::Text(it) => text(it),
    }
}
