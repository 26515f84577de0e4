//! The features of taskscope: what works of each.

use super::{
    capabilities::Capability,
    facts::{Facts, SOCKET_STORAGE_IN_TRACING, TCX, UDP_OWNERS, UPROBE_COOKIE, UPROBE_MULTI},
    inputs::Inputs,
    interfaces,
    verdict::{Check, State, Verdict},
};
use crate::config::settings::{Otlp, OtlpProtocol, Settings, Signal, TcMode, XdpMode};

pub(super) fn checks(facts: &Facts, inputs: &Inputs, settings: &Settings) -> [Check; 6] {
    [
        topology(facts),
        packets(facts, inputs, settings),
        service_addresses(facts, inputs),
        http_spans(facts, inputs, settings),
        container_names(facts),
        export(facts, settings),
    ]
}

fn topology(facts: &Facts) -> Check {
    let mut verdict = Verdict::new();
    facts.need_version(
        &mut verdict,
        State::Missing,
        SOCKET_STORAGE_IN_TRACING,
        "storage of sockets in tracing",
    );
    facts.need_start(&mut verdict);
    if facts.has_btf && !facts.tracepoints_missing.is_empty() {
        let names = facts.tracepoints_missing.join(", ");
        verdict.against(State::Missing, format!("the kernel has no tracepoint {names}"), "");
    }
    facts.need_tracing(&mut verdict);
    facts.need_all_processes(&mut verdict);
    verdict.check("topology", "TCP by socket, from tracepoints and iterators")
}

fn packets(facts: &Facts, inputs: &Inputs, settings: &Settings) -> Check {
    const FEATURE: &str = "packets";
    let mut verdict = Verdict::new();
    if settings.xdp == XdpMode::Off {
        return verdict.check(FEATURE, "switched off by the setting xdp");
    }
    facts.need_start(&mut verdict);
    if !facts.has_bpf {
        verdict.against(State::Missing, "the kernel has no bpf()", "use a kernel with CONFIG_BPF_SYSCALL");
    }
    let wanted = [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin];
    facts.need(&mut verdict, State::Missing, &wanted, "programs on interfaces");
    if settings.tc == TcMode::Tcx {
        facts.need_version(&mut verdict, State::Degraded, TCX, "UDP and DNS of this node are not seen: TCX");
    }
    let physical = inputs.interfaces.iter().any(|it| it.kind.is_card());
    if settings.interfaces.is_empty() && !physical {
        verdict.against(State::Degraded, "there is no physical interface here", "name one with --interface");
    }
    if facts.same_network_as_init == Some(false) {
        let remedy =
            "share the host's network: `hostNetwork: true` in a pod, `--network=host` for docker and podman";
        verdict.against(State::Degraded, "only interfaces of this network namespace are seen", remedy);
    }
    facts.need_version(&mut verdict, State::Degraded, UDP_OWNERS, "processes of UDP sockets that live short");
    if interfaces::has_filters(facts, settings) {
        let detail = "UDP and control packets, by filters of clsact: after a kill -9 empty ones stay until the next start";
        verdict.against(State::Ok, detail, interfaces::SWEEP);
    }
    verdict.check(FEATURE, "UDP and control packets at the interfaces below")
}

/// TCP between two processes of this node is joined without it.
fn service_addresses(facts: &Facts, inputs: &Inputs) -> Check {
    const LOST: &str = "of services only the address is known where their server is on another node, for UDP, and for \
                        connections that are older than the agent";
    let mut verdict = Verdict::new();
    facts.need_start(&mut verdict);
    let tracked = inputs.tracked.as_deref().unwrap_or("0");
    let mut fine = format!("connection tracking answers, and tracks {tracked} connections");
    match &inputs.tracking {
        _ if inputs.tracked.is_none() => {
            let remedy =
                "nothing, if no address is translated on this node; else `modprobe nf_conntrack_netlink`";
            verdict.against(State::Degraded, format!("no connections are tracked here: {LOST}"), remedy);
        }
        None => {
            fine =
                format!("{tracked} connections are tracked; whether the kernel tells of them was not tried")
        }
        Some(Ok(())) => {}
        Some(Err(_)) if !facts.has(Capability::NetAdmin) => {
            facts.need(&mut verdict, State::Degraded, &[Capability::NetAdmin], "asking connection tracking");
        }
        Some(Err(error)) => {
            let remedy = "`modprobe nf_conntrack_netlink`, or use a kernel with CONFIG_NF_CT_NETLINK";
            verdict.against(State::Degraded, format!("{error}: {LOST}"), remedy);
        }
    }
    verdict.check("service addresses", fine)
}

fn http_spans(facts: &Facts, inputs: &Inputs, settings: &Settings) -> Check {
    const FEATURE: &str = "http spans";
    let mut verdict = Verdict::new();
    if !settings.http_spans {
        return verdict.check(FEATURE, "switched off by the setting http_spans");
    }
    facts.need_start(&mut verdict);
    if inputs.architecture != "x86_64" {
        let detail = format!("probes are placed on x86_64 only, this is {}", inputs.architecture);
        verdict.against(State::Missing, detail, "");
    }
    facts.need_version(&mut verdict, State::Missing, UPROBE_COOKIE, "cookies of uprobes");
    facts.need_tracing(&mut verdict);
    facts.need(&mut verdict, State::Missing, &[Capability::SysPtrace], "reaching executables of processes");
    if !facts.since(UPROBE_MULTI) {
        let why = format!("attaching uprobes before Linux {UPROBE_MULTI}");
        facts.need(&mut verdict, State::Missing, &[Capability::SysAdmin], &why);
        verdict.against(
            State::Degraded,
            "detaching is slow on this kernel: 20 ms or more for each probe",
            "",
        );
    }
    facts.need_all_processes(&mut verdict);
    verdict.check(FEATURE, "uprobes on Go programs, by one link for each point")
}

fn container_names(facts: &Facts) -> Check {
    let mut verdict = Verdict::new();
    facts.need_start(&mut verdict);
    facts.need_all_processes(&mut verdict);
    let wanted = [Capability::SysPtrace, Capability::DacReadSearch];
    facts.need(
        &mut verdict,
        State::Degraded,
        &wanted,
        "reading service names in environments of other users",
    );
    verdict.check("container names", "container ids from cgroups, service names from environments")
}

/// Nothing is sent: an ordinary user may ask without being seen at the collector.
fn export(facts: &Facts, settings: &Settings) -> Check {
    let mut verdict = Verdict::new();
    facts.need_start(&mut verdict);
    let places: Vec<_> = settings.otlp.each().map(|(signal, otlp)| place(signal, otlp)).collect();
    let has_place = |signal: &Signal| settings.otlp.each().any(|(it, _)| it == *signal);
    let is_wanted = |signal: &Signal| *signal != Signal::Logs || settings.network_events;
    let without = Signal::ALL.into_iter().filter(|it| is_wanted(it) && !has_place(it));
    let without: Vec<_> = without.map(Signal::name).collect();
    if places.is_empty() {
        verdict.against(State::Degraded, "no endpoint is set: nothing is exported", "set --otlp-endpoint");
    } else if !without.is_empty() {
        let detail = format!("only {}: no endpoint for {}", places.join(", "), without.join(", "));
        verdict.against(State::Degraded, detail, "set --otlp-endpoint, which is for all");
    }
    verdict.check("export", format!("{}; whether it answers was not tried", places.join(", ")))
}

fn place(signal: Signal, otlp: &Otlp) -> String {
    let protocol = match otlp.protocol {
        OtlpProtocol::Grpc => "gRPC",
        OtlpProtocol::HttpProtobuf => "HTTP",
    };
    format!("{} to {} by {protocol}", signal.name(), otlp.endpoint)
}
