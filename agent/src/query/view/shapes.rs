//! Shapes that several answers share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    assemble::{
        edge,
        span::{SpanId, TraceId},
    },
    query::{
        proto::{Address, Agent, Filter, Head, Peer, Runtime, SpanRef, Target, Value, peer, value},
        snapshot::Snapshot,
    },
    targets::process::{self, Process},
};

/// Attributes of a process that name its workload, the most telling first.
const WORKLOADS: [&str; 5] =
    ["k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name"];

/// `window`: how far back the items look, if there is one length for all.
pub(crate) fn head(command: &str, snapshot: &Snapshot, window: Option<Duration>) -> Head {
    Head {
        command: command.to_owned(),
        agent: Some(Agent { node: snapshot.node.clone(), version: snapshot.version.to_owned() }),
        time: snapshot.wall(snapshot.at).0,
        window_seconds: window.as_ref().map(Duration::as_secs_f64),
    }
}

/// Of what is forgotten after a while: traces and findings.
pub(crate) fn window(snapshot: &Snapshot, filter: &Filter) -> Option<Duration> {
    let asked = filter.since_ns.map_or(Duration::MAX, Duration::from_nanos);
    Some(snapshot.window.min(asked))
}

pub(crate) fn lost(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    reasons(&snapshot.lost)
}

pub(crate) fn reasons(lost: &[(&'static str, u64)]) -> BTreeMap<String, u64> {
    lost.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect()
}

pub(crate) fn target(process: &Process, node: &str) -> Target {
    Target {
        pid: process.tgid.0,
        start_time: process.started.0,
        service: process.service.name.clone(),
        exe: process.exe.clone(),
        runtime: Some(runtime(&process.runtime)),
        container_id: process.container_id.clone(),
        pod: pod(process).map(str::to_owned),
        namespace: namespace(process).map(str::to_owned),
        workload: owner(process).map(str::to_owned),
        node: node.to_owned(),
    }
}

fn runtime(runtime: &process::Runtime) -> Runtime {
    match runtime {
        process::Runtime::Go(version) => Runtime { kind: "go".to_owned(), version: Some(version.clone()) },
        process::Runtime::Native => Runtime { kind: "native".to_owned(), version: None },
    }
}

/// Of its pod.
pub(crate) fn owner(process: &Process) -> Option<&str> {
    WORKLOADS.iter().find_map(|name| attribute(process, name))
}

pub(crate) fn pod(process: &Process) -> Option<&str> {
    attribute(process, "k8s.pod.name")
}

pub(crate) fn namespace(process: &Process) -> Option<&str> {
    attribute(process, "k8s.namespace.name")
}

fn attribute<'a>(process: &'a Process, asked: &str) -> Option<&'a str> {
    process.attributes.iter().find(|(name, _)| name == asked).map(|(_, value)| value.as_str())
}

pub(crate) fn peer(peer: &edge::Peer, node: &str) -> Peer {
    let of = match peer {
        edge::Peer::Process(process) => peer::Of::Target(target(process, node)),
        edge::Peer::Address { ip, name } => {
            peer::Of::Outside(Address { address: ip.to_string(), name: name.clone() })
        }
    };
    Peer { of: Some(of) }
}

pub(crate) fn span_ref((trace_id, span_id): (TraceId, SpanId)) -> SpanRef {
    SpanRef { trace_id: trace_id.to_string(), span_id: span_id.to_string() }
}

pub(crate) fn text(text: impl Into<String>) -> Value {
    Value { of: Some(value::Of::Text(text.into())) }
}

pub(crate) fn count(count: u64) -> Value {
    Value { of: Some(value::Of::Count(count)) }
}

pub(crate) fn number(number: f64) -> Value {
    Value { of: Some(value::Of::Number(number)) }
}

/// How many of the processes carry different service names.
pub(crate) fn n_services<'a>(processes: impl Iterator<Item = &'a Arc<Process>>) -> u64 {
    let names: std::collections::BTreeSet<_> = processes.map(|it| it.service.name.as_str()).collect();
    names.len() as u64
}
