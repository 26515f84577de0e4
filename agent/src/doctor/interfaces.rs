//! Interfaces by kind, and what the agent puts on each.

use super::{
    facts::{Facts, TCX},
    verdict::{Check, State, Verdict},
};
use crate::{
    config::settings::{Settings, TcMode, XdpMode},
    links::{Kind, Link},
};

/// What to do about filters that stay.
pub(super) const SWEEP: &str = "if the agent was killed and shall not come back: `for i in /sys/class/net/*; do \
    for s in ingress egress; do tc filter delete dev ${i##*/} $s protocol all pref 1 handle 0x7473 bpf; done; done`";

/// Whether there are filters of clsact, which outlive a kill -9.
pub(super) fn has_filters(facts: &Facts, settings: &Settings) -> bool {
    match settings.tc {
        TcMode::Auto => !facts.since(TCX),
        TcMode::Tcx => false,
        TcMode::Clsact => true,
    }
}

/// One for each interface, and for each that is asked for and not there.
pub(super) fn checks(facts: &Facts, interfaces: &[Link], settings: &Settings) -> Vec<Check> {
    let absent = settings.interfaces.iter().filter(|name| !interfaces.iter().any(|it| it.name == **name));
    let absent = absent.map(|name| {
        let mut verdict = Verdict::new();
        let names: Vec<_> = interfaces.iter().map(|it| it.name.as_str()).collect();
        let remedy = format!("name one of {} with --interface", names.join(", "));
        verdict.against(State::Missing, "there is no such interface here", &remedy);
        verdict.check(format!("interface {name}"), "")
    });
    interfaces.iter().map(|it| check(facts, it, settings)).chain(absent).collect()
}

fn check(facts: &Facts, interface: &Link, settings: &Settings) -> Check {
    let mut verdict = Verdict::new();
    let kind = interface.kind.name();
    let named = settings.interfaces.contains(&interface.name);
    let is_card = named || settings.interfaces.is_empty() && interface.kind.is_card();
    let needs_tcx = is_card || matches!(interface.kind, Kind::Workload | Kind::Loopback);
    let tc = if has_filters(facts, settings) { "clsact" } else { "TCX" };
    let what = match (settings.xdp, &interface.kind) {
        (XdpMode::Off, _) => "nothing, the setting xdp is off".to_owned(),
        (XdpMode::Native, _) if is_card => format!("native XDP for what comes in, {tc} for what leaves"),
        (XdpMode::Auto, _) if is_card => {
            format!("native XDP, else {tc} for what comes in, {tc} for what leaves")
        }
        (_, Kind::Workload) => format!("{tc}, both ways"),
        (_, Kind::Loopback) => format!("{tc} for what is sent"),
        (_, kind) if kind.is_uncovered() => "nothing".to_owned(),
        _ => "nothing, its packets are met elsewhere".to_owned(),
    };
    if settings.xdp != XdpMode::Off {
        if matches!(interface.kind, Kind::Unknown(_)) && !named {
            let remedy = format!("if its packets matter: --interface {}", interface.name);
            verdict.against(State::Degraded, format!("{kind}: nothing is attached"), &remedy);
        }
        if interface.kind == Kind::Netkit && !named {
            let detail =
                format!("{kind}: nothing is attached: UDP and DNS of its pod may not be seen, TCP is");
            let remedy = "if they matter: pods on veth pairs (Cilium: `bpf.datapathMode=veth`)";
            verdict.against(State::Degraded, detail, remedy);
        }
        if needs_tcx && settings.tc == TcMode::Tcx {
            let rest = if is_card { "only native XDP for what comes in" } else { "nothing is attached" };
            let why = format!("{kind}: {rest}, TCX");
            facts.need_version(&mut verdict, State::Degraded, TCX, &why);
        }
    }
    verdict.check(format!("interface {}", interface.name), format!("{kind}: {what}"))
}
