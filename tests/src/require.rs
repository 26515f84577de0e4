use std::{
    env, fs,
    io::{Write as _, stderr},
};

const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Leaves the test when it may not load BPF programs. See [`skip`](crate::skip).
#[macro_export]
macro_rules! require_bpf {
    () => {
        if !$crate::has_bpf() {
            return $crate::skip("needs CAP_BPF and CAP_PERFMON");
        }
    };
}

/// Leaves the test when it may not make network namespaces, or is not root in another way.
#[macro_export]
macro_rules! require_admin {
    () => {
        if !$crate::has_admin() {
            return $crate::skip("needs CAP_SYS_ADMIN, as root has it");
        }
    };
}

pub fn has_bpf() -> bool {
    may_bpf(own_caps())
}

/// What making network namespaces takes.
pub fn has_admin() -> bool {
    own_caps() & (1 << CAP_SYS_ADMIN) != 0
}

/// Says that this test does not run; with `TASKSCOPE_TESTS_REQUIRE` set, as in CI, that is a failure.
#[track_caller]
pub fn skip(why: &str) {
    let is_required = env::var_os("TASKSCOPE_TESTS_REQUIRE").is_some_and(|it| !it.is_empty());
    assert!(!is_required, "TASKSCOPE_TESTS_REQUIRE is set, and this test was to be skipped: {why}");
    // Not `eprintln!`: libtest would hide it. One write: xtask counts these lines, and threads mix theirs.
    stderr().write_all(format!("skipped: {why}\n").as_bytes()).expect("stderr takes a line");
}

fn own_caps() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("procfs is mounted");
    effective_caps(&status).expect("the kernel prints CapEff")
}

fn effective_caps(status: &str) -> Option<u64> {
    let hex = status.lines().find_map(|it| it.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

fn may_bpf(caps: u64) -> bool {
    let has = |cap: u32| caps & (1 << cap) != 0;
    has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_capabilities_or_the_old_one() {
        let check = |text: &str| effective_caps(text).map(may_bpf);
        assert_eq!(check("Name:\tx\nCapEff:\t000000c000000000\n"), Some(true));
        assert_eq!(check("CapEff:\t0000008000000000\n"), Some(false));
        assert_eq!(check("CapEff:\t0000004000000000\n"), Some(false));
        assert_eq!(check("CapEff:\t0000000000200000\n"), Some(true));
        assert_eq!(check("CapPrm:\t000000c000000000\n"), None);
    }
}
