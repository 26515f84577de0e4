//! The inputs understood: what each check asks for.

use super::{
    capabilities::{Capabilities, Capability},
    inputs::Inputs,
    verdict::{State, Verdict},
    version::Version,
};

pub(crate) const SOCKET_STORAGE_IN_TRACING: Version = Version::new(5, 11);
pub(crate) const UPROBE_COOKIE: Version = Version::new(5, 15);
pub(crate) const UPROBE_MULTI: Version = Version::new(6, 6);
pub(crate) const TCX: Version = Version::new(6, 6);
/// `sock_recv_length`.
pub(crate) const UDP_OWNERS: Version = Version::new(6, 3);
pub(crate) const BPF_MEMORY_BY_CGROUP: Version = Version::new(5, 11);

/// The kernel gives its first PID namespace this number (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
/// The tracepoints that fill the storage of sockets.
const TRACEPOINTS: [&str; 3] = ["inet_sock_set_state", "tcp_rcv_space_adjust", "tcp_destroy_sock"];

const UPGRADE: &str = "use Linux 6.6 or later";
pub(crate) const PRIVILEGES: &str = "run it as root (`sudo taskscope agent`), or as deploy/ starts it (a systemd unit, a DaemonSet), \
    or give the file what it needs: `sudo setcap cap_bpf,cap_perfmon,cap_net_admin,cap_sys_ptrace,cap_dac_read_search=ep \
    $(command -v taskscope)`";
pub(crate) const HOST_PID: &str =
    "share the host's process ids: `hostPID: true` in a pod, `--pid=host` for docker and podman";

#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) version: Option<Version>,
    /// Empty in a user namespace of its own, where the kernel does not count them.
    pub(crate) capabilities: Capabilities,
    pub(crate) first_user_namespace: bool,
    pub(crate) first_pid_namespace: bool,
    /// `None`: process 1 may not be asked.
    pub(crate) same_network_as_init: Option<bool>,
    pub(crate) has_bpf: bool,
    pub(crate) has_btf: bool,
    pub(crate) tracepoints_missing: Vec<&'static str>,
    /// Lockdown forbids programs to read kernel memory.
    pub(crate) confidential: bool,
    /// /proc hides processes of others, and we may not look behind that.
    pub(crate) hidden_processes: bool,
}

impl Facts {
    pub(crate) fn new(inputs: &Inputs) -> Self {
        let first_user_namespace = inputs.uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
        let capabilities =
            if first_user_namespace { Capabilities::parse(&inputs.status) } else { Capabilities::none() };
        let absent = |name: &&str| !inputs.btf_names(&format!("btf_trace_{name}"));
        Self {
            version: Version::parse(&inputs.release),
            capabilities,
            first_user_namespace,
            first_pid_namespace: inputs.pid_namespace == FIRST_PID_NAMESPACE,
            same_network_as_init: inputs.net_namespace_of_init.as_ref().map(|it| *it == inputs.net_namespace),
            has_bpf: inputs.unprivileged_bpf_disabled.is_some(),
            has_btf: inputs.btf.is_some(),
            tracepoints_missing: TRACEPOINTS.into_iter().filter(absent).collect(),
            confidential: inputs.lockdown.as_ref().is_some_and(|it| it.contains("[confidentiality]")),
            hidden_processes: hides_processes(&inputs.mountinfo) && !capabilities.has(Capability::SysPtrace),
        }
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        self.capabilities.has(capability)
    }

    pub(crate) fn since(&self, version: Version) -> bool {
        self.version.is_some_and(|it| version <= it)
    }

    /// Speaks against a feature that needs `version` when the kernel is older or unknown.
    pub(crate) fn need_version(&self, verdict: &mut Verdict, state: State, version: Version, why: &str) {
        if !self.since(version) {
            verdict.against(state, format!("{why} needs Linux {version}"), UPGRADE);
        }
    }

    /// Speaks against a feature that needs all of `wanted`.
    pub(crate) fn need(&self, verdict: &mut Verdict, state: State, wanted: &[Capability], why: &str) {
        let missing = self.capabilities.missing(wanted);
        if missing.is_empty() {
            return;
        }
        let names = missing.join(", ");
        if self.first_user_namespace {
            verdict.against(state, format!("{why} needs {names}"), PRIVILEGES);
        } else {
            let detail = format!("{why} needs {names} outside of this user namespace");
            verdict.against(state, detail, "run it as the host's root, not in a rootless container");
        }
    }

    /// The kernel half is one object: where its types cannot be found none of it loads, and the agent
    /// does not start.
    pub(crate) fn need_start(&self, verdict: &mut Verdict) {
        if !self.has_btf {
            let detail = "the agent cannot start: the kernel has no BTF";
            verdict.against(State::Missing, detail, "use a kernel with CONFIG_DEBUG_INFO_BTF");
        }
    }

    /// What every program of the kernel half that traces stands on.
    pub(crate) fn need_tracing(&self, verdict: &mut Verdict) {
        if !self.has_bpf {
            verdict.against(
                State::Missing,
                "the kernel has no bpf()",
                "use a kernel with CONFIG_BPF_SYSCALL",
            );
        }
        if self.confidential {
            verdict.against(
                State::Missing,
                "kernel lockdown forbids reading kernel memory",
                "boot with lockdown=integrity or without lockdown",
            );
        }
        self.need(verdict, State::Missing, &[Capability::Bpf, Capability::Perfmon], "loading programs");
    }

    pub(crate) fn need_all_processes(&self, verdict: &mut Verdict) {
        if !self.first_pid_namespace {
            verdict.against(State::Degraded, "only processes of this container are seen", HOST_PID);
        }
        if self.hidden_processes {
            let remedy = "add CAP_SYS_PTRACE, or mount /proc without hidepid";
            verdict.against(State::Degraded, "/proc hides processes of other users", remedy);
        }
    }
}

fn hides_processes(mountinfo: &str) -> bool {
    let hiding =
        |it: &str| it.contains("hidepid=") && !it.contains("hidepid=0") && !it.contains("hidepid=off");
    mountinfo.lines().any(|it| it.contains(" - proc ") && hiding(it))
}
