//! What doctor looks at, read once, as text.

use std::fs;

use crate::links::{self, Link};

/// `None` is a file that is not there or may not be read.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub release: String,
    /// As Rust names it: `x86_64`.
    pub architecture: String,
    /// `/proc/self/status`.
    pub status: String,
    pub mountinfo: String,
    pub limits: String,
    pub uid_map: String,
    /// Where `/proc/self/ns/pid` points to.
    pub pid_namespace: String,
    /// Of this process and of process 1: the second needs to be allowed.
    pub net_namespace: String,
    pub net_namespace_of_init: Option<String>,
    /// `/sys/kernel/btf/vmlinux`: types and names of the running kernel.
    pub btf: Option<Vec<u8>>,
    pub unprivileged_bpf_disabled: Option<String>,
    pub perf_event_paranoid: Option<String>,
    pub ptrace_scope: Option<String>,
    /// Such as `[none] integrity confidentiality`.
    pub lockdown: Option<String>,
    /// AppArmor's profile or SELinux's context.
    pub confinement: Option<String>,
    /// How many connections are tracked; `None`: none ever are.
    pub tracked: Option<String>,
    /// Whether connection tracking answers, else why not. `None`: nobody asked. `read` does not: it is `kernel` that
    /// knows how.
    pub tracking: Option<Result<(), String>>,
    pub interfaces: Vec<Link>,
}

impl Inputs {
    #[must_use]
    pub fn read() -> Self {
        Self {
            release: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            architecture: std::env::consts::ARCH.to_owned(),
            status: text("/proc/self/status").unwrap_or_default(),
            mountinfo: text("/proc/self/mountinfo").unwrap_or_default(),
            limits: text("/proc/self/limits").unwrap_or_default(),
            uid_map: text("/proc/self/uid_map").unwrap_or_default(),
            pid_namespace: link("/proc/self/ns/pid").unwrap_or_default(),
            net_namespace: link("/proc/self/ns/net").unwrap_or_default(),
            net_namespace_of_init: link("/proc/1/ns/net"),
            btf: fs::read("/sys/kernel/btf/vmlinux").ok(),
            unprivileged_bpf_disabled: text("/proc/sys/kernel/unprivileged_bpf_disabled"),
            perf_event_paranoid: text("/proc/sys/kernel/perf_event_paranoid"),
            ptrace_scope: text("/proc/sys/kernel/yama/ptrace_scope"),
            lockdown: text("/sys/kernel/security/lockdown"),
            confinement: text("/proc/self/attr/current"),
            tracked: text("/proc/sys/net/netfilter/nf_conntrack_count"),
            tracking: None,
            interfaces: links::all().unwrap_or_default(),
        }
    }

    /// The value of a line in `/proc/self/status`.
    pub(super) fn status(&self, name: &str) -> Option<&str> {
        let rest = self.status.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'))?;
        Some(rest.trim())
    }

    /// Whether the kernel's types know `name`.
    pub(super) fn btf_names(&self, name: &str) -> bool {
        // Names are strings that end with a zero, one after the other.
        let name = [b"\0", name.as_bytes(), b"\0"].concat();
        self.btf.as_ref().is_some_and(|btf| btf.windows(name.len()).any(|it| it == name))
    }
}

fn text(path: &str) -> Option<String> {
    // SELinux ends its context with a zero.
    fs::read_to_string(path).ok().map(|it| it.trim_end_matches('\0').trim().to_owned())
}

fn link(path: &str) -> Option<String> {
    Some(fs::read_link(path).ok()?.to_string_lossy().into_owned())
}
