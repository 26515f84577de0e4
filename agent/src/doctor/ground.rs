//! What the features stand on: kernel, privileges, namespaces, limits.

use super::{
    capabilities::Capability,
    facts::{BPF_MEMORY_BY_CGROUP, Facts, HOST_PID, PRIVILEGES, SOCKET_STORAGE_IN_TRACING, UPROBE_MULTI},
    inputs::Inputs,
    verdict::{Check, State, Verdict},
};

/// Enough for all maps, and for what the kernel counts beside them.
const MEMLOCK_BYTES: u64 = 64 << 20;

pub(super) fn checks(facts: &Facts, inputs: &Inputs) -> Vec<Check> {
    vec![
        kernel(facts, inputs),
        btf(facts, inputs),
        capabilities(facts),
        user_namespace(facts),
        process_ids(facts),
        lockdown(facts, inputs),
        confinement(inputs),
        perf_event_paranoid(facts, inputs),
        ptrace_scope(facts, inputs),
        cgroups(inputs),
        locked_memory(facts, inputs),
    ]
}

fn kernel(facts: &Facts, inputs: &Inputs) -> Check {
    let mut verdict = Verdict::new();
    if !facts.has_bpf {
        verdict.against(State::Missing, "bpf() is not built in", "use a kernel with CONFIG_BPF_SYSCALL");
    }
    facts.need_version(&mut verdict, State::Missing, SOCKET_STORAGE_IN_TRACING, "topology");
    facts.need_version(&mut verdict, State::Degraded, UPROBE_MULTI, "uprobe_multi");
    let mut check = verdict.check("kernel", "has all that is used");
    check.detail = format!("Linux {}: {}", inputs.release, check.detail);
    check
}

fn btf(facts: &Facts, inputs: &Inputs) -> Check {
    let mut verdict = Verdict::new();
    if !facts.has_btf {
        let remedy = "use a kernel with CONFIG_DEBUG_INFO_BTF, and show /sys to the container";
        verdict.against(State::Missing, "/sys/kernel/btf/vmlinux cannot be read", remedy);
    } else if !facts.tracepoints_missing.is_empty() {
        let detail = format!("does not know {}", facts.tracepoints_missing.join(", "));
        verdict.against(State::Degraded, detail, "");
    }
    let kib = inputs.btf.as_ref().map_or(0, |it| it.len() / 1024);
    verdict.check("btf", format!("{kib} KiB, knows the tracepoints of sockets"))
}

fn capabilities(facts: &Facts) -> Check {
    let mut verdict = Verdict::new();
    for (capability, state, purpose) in [
        (Capability::Bpf, State::Missing, "to load programs"),
        (Capability::Perfmon, State::Missing, "to trace"),
        (Capability::NetAdmin, State::Degraded, "for programs on interfaces"),
        (Capability::SysPtrace, State::Degraded, "to read executables and memory of processes"),
        (Capability::DacReadSearch, State::Degraded, "to read environments of other users"),
    ] {
        if !facts.has(capability) {
            verdict.against(state, format!("no {} {purpose}", capability.name()), PRIVILEGES);
        }
    }
    verdict.check("capabilities", Capability::WANTED.map(Capability::name).join(", "))
}

fn user_namespace(facts: &Facts) -> Check {
    let mut verdict = Verdict::new();
    if !facts.first_user_namespace {
        let detail = "its own: the kernel does not count capabilities in it";
        verdict.against(State::Missing, detail, "run it as the host's root, not in a rootless container");
    }
    verdict.check("user namespace", "the host's")
}

fn process_ids(facts: &Facts) -> Check {
    let mut verdict = Verdict::new();
    if !facts.first_pid_namespace {
        verdict.against(State::Degraded, "a container's: other processes are not seen", HOST_PID);
    }
    if facts.hidden_processes {
        let remedy = "add CAP_SYS_PTRACE, or mount /proc without hidepid";
        verdict.against(State::Degraded, "/proc is mounted with hidepid", remedy);
    }
    verdict.check("process ids", "the host's")
}

fn lockdown(facts: &Facts, inputs: &Inputs) -> Check {
    let mut verdict = Verdict::new();
    if facts.confidential {
        let remedy = "boot with lockdown=integrity or without lockdown";
        verdict.against(State::Missing, "confidentiality: programs may not read kernel memory", remedy);
    }
    let fine = inputs.lockdown.clone().unwrap_or_else(|| "none that is shown".to_owned());
    verdict.check("lockdown", fine)
}

/// A profile may forbid little or much; which of it cannot be read, so only what is known is said.
fn confinement(inputs: &Inputs) -> Check {
    let mut verdict = Verdict::new();
    let label = inputs.confinement.as_deref().unwrap_or("");
    let free = label.is_empty() || label == "unconfined" || label.contains("unconfined_t");
    if !free {
        let detail = format!("runs as `{label}`: reading unconfined processes may be refused");
        let remedy = "`appArmorProfile: {type: Unconfined}` or `seLinuxOptions: {type: spc_t}` in a pod";
        verdict.against(State::Degraded, detail, remedy);
    }
    if inputs.status("Seccomp") == Some("2") {
        let remedy = "if loading fails with EPERM, use the runtime's newer default profile or none";
        verdict.against(State::Degraded, "a seccomp filter is active and may refuse bpf()", remedy);
    }
    verdict.check("confinement", "none")
}

fn perf_event_paranoid(facts: &Facts, inputs: &Inputs) -> Check {
    let mut verdict = Verdict::new();
    let value = inputs.perf_event_paranoid.as_deref().unwrap_or("not there");
    if !facts.since(UPROBE_MULTI) && !facts.has(Capability::SysAdmin) {
        let detail =
            format!("{value}: uprobes of this kernel go by perf_event_open, which needs CAP_SYS_ADMIN");
        verdict.against(State::Degraded, detail, "use Linux 6.6 or later, or add CAP_SYS_ADMIN");
    }
    verdict.check("perf_event_paranoid", format!("{value}; does not matter here"))
}

fn ptrace_scope(facts: &Facts, inputs: &Inputs) -> Check {
    let mut verdict = Verdict::new();
    let value = inputs.ptrace_scope.as_deref().unwrap_or("no yama");
    if value == "3" {
        let detail = "3: nobody may read the memory of processes";
        verdict.against(State::Degraded, detail, "boot with kernel.yama.ptrace_scope=2 or less");
    } else if inputs.ptrace_scope.as_deref().is_some_and(|it| it != "0") && !facts.has(Capability::SysPtrace)
    {
        verdict.against(State::Degraded, format!("{value}: needs CAP_SYS_PTRACE"), PRIVILEGES);
    }
    verdict.check("ptrace_scope", format!("{value}; does not hinder"))
}

fn cgroups(inputs: &Inputs) -> Check {
    let mut verdict = Verdict::new();
    if !inputs.mountinfo.contains(" - cgroup2 ") {
        let remedy = "boot with systemd.unified_cgroup_hierarchy=1";
        verdict.against(State::Degraded, "no cgroup v2 is mounted: containers are known by v1 paths", remedy);
    }
    verdict.check("cgroups", "v2")
}

fn locked_memory(facts: &Facts, inputs: &Inputs) -> Check {
    let mut verdict = Verdict::new();
    if facts.since(BPF_MEMORY_BY_CGROUP) {
        return verdict.check("locked memory", "maps are counted by cgroup on this kernel, not by limit");
    }
    let line = inputs.limits.lines().find_map(|it| it.strip_prefix("Max locked memory"));
    let soft = line.and_then(|it| it.split_whitespace().next()).unwrap_or("0");
    let enough = soft == "unlimited" || soft.parse::<u64>().is_ok_and(|it| MEMLOCK_BYTES <= it);
    if !enough && !facts.has(Capability::SysResource) {
        let detail = format!("the limit is {soft} bytes, maps need up to {MEMLOCK_BYTES}");
        verdict.against(State::Degraded, detail, "raise it with `ulimit -l unlimited` as root");
    }
    verdict.check("locked memory", format!("limit {soft}"))
}
