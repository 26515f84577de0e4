//! Capabilities of this process, and what each is for.

/// The one that stands in for most others.
const SYS_ADMIN: u32 = 21;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    Bpf,
    Perfmon,
    NetAdmin,
    SysPtrace,
    DacReadSearch,
    SysResource,
    SysAdmin,
}

impl Capability {
    /// What the agent asks for, most important first.
    pub(crate) const WANTED: [Self; 5] =
        [Self::Bpf, Self::Perfmon, Self::NetAdmin, Self::SysPtrace, Self::DacReadSearch];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bpf => "CAP_BPF",
            Self::Perfmon => "CAP_PERFMON",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
        }
    }

    /// From `linux/capability.h`.
    fn bit(self) -> u32 {
        match self {
            Self::Bpf => 39,
            Self::Perfmon => 38,
            Self::NetAdmin => 12,
            Self::SysPtrace => 19,
            Self::DacReadSearch => 2,
            Self::SysResource => 24,
            Self::SysAdmin => SYS_ADMIN,
        }
    }
}

/// Effective capabilities that count for the kernel as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities(u64);

impl Capabilities {
    /// From `/proc/PID/status`; without the line there are none.
    pub(crate) fn parse(status: &str) -> Self {
        let line = status.lines().find_map(|it| it.strip_prefix("CapEff:"));
        Self(line.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or(0))
    }

    /// Those of a root in its own user namespace: the kernel asks the first namespace for BPF.
    pub(crate) fn none() -> Self {
        Self(0)
    }

    /// SYS_ADMIN stands in for BPF and PERFMON, as in the kernel's `bpf_capable`, and for NET_ADMIN where
    /// network programs are loaded (`bpf_prog_load`), which is all that it is asked for here; not for the
    /// rest.
    pub(crate) fn has(self, capability: Capability) -> bool {
        let stands_in = matches!(capability, Capability::Bpf | Capability::Perfmon | Capability::NetAdmin);
        stands_in && self.bit(SYS_ADMIN) || self.bit(capability.bit())
    }

    fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// The names of those in `wanted` that are not there.
    pub(crate) fn missing(self, wanted: &[Capability]) -> Vec<&'static str> {
        wanted.iter().filter(|it| !self.has(**it)).map(|it| it.name()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &str, want_missing: &[&str]) {
        assert_eq!(Capabilities::parse(status).missing(&Capability::WANTED), want_missing, "{status}");
    }

    #[test]
    fn the_line_of_effective_ones_counts() {
        let all = ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];
        check("CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\n", &[]);
        check("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n", &all);
        check("", &all);
        check("CapEff:\tnonsense", &all);
        // Those of the unit, without DAC_READ_SEARCH.
        check("CapEff:\t000000c000081000", &["CAP_DAC_READ_SEARCH"]);
        // SYS_ADMIN alone.
        check("CapEff:\t0000000000200000", &all[3..]);
    }
}
