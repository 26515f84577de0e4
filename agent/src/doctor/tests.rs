use crate::{
    config::{self, AgentArgs},
    links::{Kind, Link},
};

use super::*;

const ALL: &str = "CapEff:\t000001ffffffffff\nSeccomp:\t0\n";
const NONE: &str = "CapEff:\t0000000000000000\nSeccomp:\t0\n";
/// BPF, PERFMON, NET_ADMIN, SYS_PTRACE.
const POD: &str = "CapEff:\t000000c000081000\nSeccomp:\t2\n";
const BTF: &[u8] =
    b"x\0btf_trace_inet_sock_set_state\0btf_trace_tcp_rcv_space_adjust\0btf_trace_tcp_destroy_sock\0y";

/// Root on a plain Linux 6.18 with one network card.
fn root() -> Inputs {
    let interface = |index, name: &str, kind| Link { index, name: name.into(), kind };
    Inputs {
        release: "6.18.44-amd64".into(),
        architecture: "x86_64".into(),
        status: ALL.into(),
        mountinfo:
            "22 27 0:21 / /proc rw - proc proc rw\n31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw".into(),
        limits: "Max locked memory         8388608              8388608              bytes".into(),
        uid_map: "         0          0 4294967295".into(),
        pid_namespace: "pid:[4026531836]".into(),
        net_namespace: "net:[4026531833]".into(),
        net_namespace_of_init: Some("net:[4026531833]".into()),
        btf: Some(BTF.to_vec()),
        unprivileged_bpf_disabled: Some("2".into()),
        perf_event_paranoid: Some("3".into()),
        ptrace_scope: Some("1".into()),
        lockdown: Some("[none] integrity confidentiality".into()),
        confinement: Some("unconfined".into()),
        tracked: Some("7".into()),
        tracking: Some(Ok(())),
        interfaces: vec![interface(2, "eth0", Kind::Physical), interface(1, "lo", Kind::Loopback)],
    }
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let env = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
    config::load(&AgentArgs::default(), &env).unwrap()
}

const ENDPOINT: (&str, &str) = ("TASKSCOPE_OTLP_ENDPOINT", "http://localhost:4317");

fn find(inputs: &Inputs, feature: &str) -> Check {
    find_with(inputs, feature, &[ENDPOINT])
}

fn find_with(inputs: &Inputs, feature: &str, variables: &[(&str, &str)]) -> Check {
    let checks = examine(inputs, &settings(variables));
    checks.into_iter().find(|it| it.feature == feature).unwrap()
}

/// The state of each feature, and words that its detail or remedy must have.
fn check(inputs: &Inputs, want: &[(&str, State, &str)]) {
    for (feature, state, words) in want {
        let check = find(inputs, feature);
        let said = format!("{} | {}", check.detail, check.remedy.clone().unwrap_or_default());
        assert_eq!(check.state, *state, "{feature}: {said}");
        assert!(said.contains(words), "{feature}: `{said}` does not say `{words}`");
    }
}

#[test]
fn root_on_a_new_kernel_has_everything() {
    for check in examine(&root(), &settings(&[ENDPOINT])) {
        assert_eq!((check.state, &check.remedy), (State::Ok, &None), "{check:?}");
    }
    check(
        &root(),
        &[
            ("service addresses", State::Ok, "connection tracking answers, and tracks 7 connections"),
            ("export", State::Ok, "to http://localhost:4317 by gRPC"),
            ("interface eth0", State::Ok, "physical: native XDP, else TCX"),
            ("interface lo", State::Ok, "loopback: TCX for what is sent"),
        ],
    );
}

#[test]
fn an_ordinary_user_is_told_what_is_missing_and_how_to_get_it() {
    let inputs = Inputs { status: NONE.into(), net_namespace_of_init: None, ..root() };
    check(
        &inputs,
        &[
            (
                "topology",
                State::Missing,
                "needs CAP_BPF, CAP_PERFMON | run it as root (`sudo taskscope agent`)",
            ),
            ("packets", State::Missing, "CAP_NET_ADMIN"),
            ("http spans", State::Missing, "needs CAP_SYS_PTRACE"),
            ("container names", State::Degraded, "CAP_DAC_READ_SEARCH | run it as root"),
            ("export", State::Ok, ""),
            ("kernel", State::Ok, "Linux 6.18.44-amd64"),
            ("capabilities", State::Missing, "sudo setcap cap_bpf,cap_perfmon"),
            ("ptrace_scope", State::Degraded, "1: needs CAP_SYS_PTRACE"),
        ],
    );
}

#[test]
fn an_old_kernel_lacks_topology_and_cheap_uprobes() {
    let inputs = Inputs { release: "5.10.0-33-amd64".into(), status: POD.into(), ..root() };
    check(
        &inputs,
        &[
            ("topology", State::Missing, "storage of sockets in tracing needs Linux 5.11 | use Linux 6.6"),
            (
                "packets",
                State::Degraded,
                "processes of UDP sockets that live short needs Linux 6.3; UDP and control packets, by filters of clsact",
            ),
            ("http spans", State::Missing, "CAP_SYS_ADMIN"),
            ("kernel", State::Missing, "Linux 5.10.0-33-amd64"),
            ("perf_event_paranoid", State::Degraded, "3: uprobes of this kernel"),
            ("locked memory", State::Degraded, "the limit is 8388608 bytes"),
            (
                "interface eth0",
                State::Ok,
                "native XDP, else clsact for what comes in, clsact for what leaves",
            ),
            ("interface lo", State::Ok, "loopback: clsact for what is sent"),
        ],
    );
    let middle = Inputs { release: "6.1.0-18".into(), ..root() };
    check(
        &middle,
        &[
            ("topology", State::Ok, ""),
            ("http spans", State::Degraded, "detaching is slow"),
            ("kernel", State::Degraded, "uprobe_multi needs Linux 6.6"),
            ("locked memory", State::Ok, "by cgroup"),
        ],
    );
    let unknown = Inputs { release: "custom".into(), ..root() };
    check(&unknown, &[("topology", State::Missing, ""), ("kernel", State::Missing, "Linux custom")]);
}

#[test]
fn a_container_without_the_hosts_namespaces_sees_only_itself() {
    let inputs = Inputs {
        status: POD.into(),
        pid_namespace: "pid:[4026532999]".into(),
        net_namespace: "net:[4026532900]".into(),
        net_namespace_of_init: Some("net:[4026532901]".into()),
        confinement: Some("cri-containerd.apparmor.d (enforce)".into()),
        interfaces: Vec::new(),
        ..root()
    };
    check(
        &inputs,
        &[
            (
                "topology",
                State::Degraded,
                "only processes of this container are seen | share the host's process ids: `hostPID: true`",
            ),
            (
                "packets",
                State::Degraded,
                "there is no physical interface here; only interfaces of this network namespace",
            ),
            ("http spans", State::Degraded, "hostPID"),
            ("container names", State::Degraded, "CAP_DAC_READ_SEARCH"),
            ("capabilities", State::Degraded, "no CAP_DAC_READ_SEARCH"),
            ("confinement", State::Degraded, "seccomp"),
        ],
    );
}

#[test]
fn root_of_a_rootless_container_is_no_root() {
    let inputs = Inputs { uid_map: "0 1000 1\n1 100000 65536".into(), ..root() };
    check(
        &inputs,
        &[
            ("topology", State::Missing, "outside of this user namespace | run it as the host's root"),
            ("user namespace", State::Missing, "its own"),
            ("capabilities", State::Missing, "no CAP_BPF"),
        ],
    );
}

#[test]
fn what_a_kernel_was_built_or_booted_without() {
    check(
        &Inputs { btf: None, ..root() },
        &[
            ("topology", State::Missing, "no BTF | use a kernel with CONFIG_DEBUG_INFO_BTF"),
            ("packets", State::Missing, "cannot start: the kernel has no BTF"),
            ("http spans", State::Missing, "cannot start: the kernel has no BTF"),
            ("container names", State::Missing, "cannot start: the kernel has no BTF"),
            ("export", State::Missing, "cannot start: the kernel has no BTF"),
            ("btf", State::Missing, "/sys/kernel/btf/vmlinux"),
        ],
    );
    let half = b"\0btf_trace_inet_sock_set_state\0btf_trace_tcp_rcv_space_adjusted\0";
    check(
        &Inputs { btf: Some(half.to_vec()), ..root() },
        &[("topology", State::Missing, "no tracepoint tcp_rcv_space_adjust, tcp_destroy_sock")],
    );
    check(
        &Inputs { unprivileged_bpf_disabled: None, ..root() },
        &[
            ("topology", State::Missing, "the kernel has no bpf()"),
            ("packets", State::Missing, "the kernel has no bpf()"),
            ("kernel", State::Missing, "CONFIG_BPF_SYSCALL"),
        ],
    );
    let lockdown = Some("none integrity [confidentiality]".to_owned());
    check(
        &Inputs { lockdown, ..root() },
        &[("topology", State::Missing, "lockdown"), ("lockdown", State::Missing, "lockdown=integrity")],
    );
    let hiding = root().mountinfo.replace("proc rw\n", "proc rw,hidepid=invisible\n");
    check(&Inputs { mountinfo: hiding.clone(), ..root() }, &[("process ids", State::Ok, "")]);
    check(
        &Inputs { mountinfo: hiding, status: NONE.into(), ..root() },
        &[("process ids", State::Degraded, "hidepid")],
    );
    check(&Inputs { mountinfo: String::new(), ..root() }, &[("cgroups", State::Degraded, "no cgroup v2")]);
    check(&Inputs { architecture: "aarch64".into(), ..root() }, &[("http spans", State::Missing, "aarch64")]);
    check(
        &Inputs { ptrace_scope: Some("3".into()), ..root() },
        &[("ptrace_scope", State::Degraded, "nobody")],
    );
}

#[test]
fn what_is_known_of_services_without_connection_tracking() {
    const FEATURE: &str = "service addresses";
    let refused = Some(Err("cannot ask: EPERM".to_owned()));
    check(
        &Inputs { tracked: None, tracking: refused.clone(), ..root() },
        &[(
            FEATURE,
            State::Degraded,
            "no connections are tracked here: of services only the address is known",
        )],
    );
    check(
        &Inputs { tracking: refused.clone(), status: NONE.into(), ..root() },
        &[(FEATURE, State::Degraded, "asking connection tracking needs CAP_NET_ADMIN | run it as root")],
    );
    check(
        &Inputs { tracking: refused, ..root() },
        &[(FEATURE, State::Degraded, "cannot ask: EPERM: of services only")],
    );
    check(&Inputs { tracking: None, ..root() }, &[(FEATURE, State::Ok, "was not tried")]);
}

#[test]
fn settings_change_what_is_wanted() {
    let inputs = root();
    let off = [("TASKSCOPE_XDP", "off"), ("TASKSCOPE_HTTP_SPANS", "false")];
    for feature in ["packets", "http spans"] {
        let check = find_with(&Inputs { status: NONE.into(), ..root() }, feature, &off);
        assert!(check.state == State::Ok && check.detail.contains("switched off"), "{check:?}");
    }
    assert_eq!(find_with(&inputs, "export", &[]).state, State::Degraded);
    let named = [("TASKSCOPE_INTERFACE", "eth7,lo")];
    let absent = find_with(&inputs, "interface eth7", &named);
    assert_eq!(absent.state, State::Missing);
    assert_eq!(absent.remedy.unwrap(), "name one of eth0, lo with --interface");
    assert!(find_with(&inputs, "interface lo", &named).detail.contains("native XDP, else TCX"));
    assert!(find_with(&inputs, "interface eth0", &named).detail.contains("nothing"));
}

#[test]
fn filters_and_what_stays_of_them_are_told() {
    let old = Inputs { release: "6.5.0-1-amd64".into(), ..root() };
    let said = |inputs: &Inputs, feature: &str, tc: &str| {
        let check = find_with(inputs, feature, &[("TASKSCOPE_TC", tc)]);
        (check.state, format!("{} | {}", check.detail, check.remedy.unwrap_or_default()))
    };
    for (inputs, tc) in [(&old, "auto"), (&old, "clsact"), (&root(), "clsact")] {
        let (state, detail) = said(inputs, "packets", tc);
        assert_eq!(state, State::Ok, "{detail}");
        assert!(detail.contains("empty ones stay") && detail.contains("tc filter delete"), "{detail}");
        assert!(said(inputs, "interface lo", tc).1.contains("clsact"), "{tc}");
    }
    for tc in ["auto", "tcx"] {
        let (state, detail) = said(&root(), "packets", tc);
        assert!(state == State::Ok && !detail.contains("filter"), "{detail}");
    }
    let (state, detail) = said(&old, "packets", "tcx");
    assert_eq!(state, State::Degraded);
    assert!(detail.starts_with("UDP and DNS of this node are not seen: TCX needs Linux 6.6"), "{detail}");
    let (state, detail) = said(&old, "interface lo", "tcx");
    assert_eq!(state, State::Degraded);
    assert!(detail.starts_with("loopback: nothing is attached, TCX needs Linux 6.6"), "{detail}");
}

#[test]
fn interfaces_by_kind() {
    let all = [
        (Kind::Workload, State::Ok, "veth of a workload: TCX, both ways"),
        (Kind::Bond, State::Ok, "bond: native XDP, else TCX"),
        (Kind::Slave, State::Ok, "part of a bond: nothing, its packets are met elsewhere"),
        (Kind::Bridge, State::Ok, "bridge: nothing"),
        (Kind::Tunnel("vxlan".into()), State::Ok, "tunnel (vxlan): nothing"),
        (
            Kind::Unknown("wwan".into()),
            State::Degraded,
            "unknown (wwan): nothing is attached | if its packets",
        ),
        (
            Kind::Netkit,
            State::Degraded,
            "UDP and DNS of its pod may not be seen, TCP is | if they matter: pods",
        ),
        (Kind::Pair, State::Ok, "pair, both ends here: nothing"),
    ];
    for (kind, state, words) in all {
        let interfaces = vec![Link { index: 3, name: "x".into(), kind }];
        check(&Inputs { interfaces, ..root() }, &[("interface x", state, words)]);
    }
}

#[test]
fn nothing_readable_is_no_panic() {
    let checks = examine(&Inputs::default(), &settings(&[]));
    assert!(checks.iter().any(|it| it.state == State::Missing));
}

#[test]
fn this_machine_can_be_examined() {
    let inputs = Inputs::read();
    assert!(inputs.release.contains('.') && inputs.status.contains("CapEff:"));
    let features: Vec<_> =
        examine(&inputs, &settings(&[])).into_iter().take(6).map(|it| it.feature).collect();
    let want = ["topology", "packets", "service addresses", "http spans", "container names", "export"];
    assert_eq!(features, want);
}
