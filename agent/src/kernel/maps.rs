//! Maps, with our own records as values.

use std::{fs, os::fd::RawFd};

use aya::{
    Ebpf,
    maps::{Map, MapError},
};

use super::KernelError;

/// Lets aya put our records into maps, without `agent-common` knowing aya.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct InMap<T>(pub(super) T);

// SAFETY: `Plain` promises what `Pod` asks for, and the wrapper is transparent.
unsafe impl<T: agent_common::Plain> aya::Pod for InMap<T> {}

pub(super) fn take<T>(
    ebpf: &mut Ebpf,
    name: &'static str,
    convert: impl FnOnce(Map) -> Result<T, MapError>,
) -> Result<T, KernelError> {
    let map = ebpf.take_map(name).ok_or(KernelError::Missing { what: "map", name })?;
    convert(map).map_err(|source| KernelError::Map { name, source: Box::new(source) })
}

/// Kernel memory of all maps that this process holds, in bytes.
///
/// From `memlock` in `/proc/self/fdinfo`; what socket storage takes is charged to the sockets.
pub(super) fn memory_bytes() -> u64 {
    let Ok(entries) = fs::read_dir("/proc/self/fdinfo") else {
        return 0;
    };
    entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .filter(|info| info.contains("map_type:"))
        .filter_map(|info| number(&info, "memlock:"))
        .sum()
}

/// How often the kernel left a program out, because it was running on the same CPU already. 0 before Linux 5.12.
pub(super) fn skipped(program: RawFd) -> u64 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{program}")).unwrap_or_default();
    number(&info, "recursion_misses:").unwrap_or(0)
}

fn number(fdinfo: &str, key: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_after_their_keys() {
        let info = "prog_type:\t26\nprog_id:\t7\nrecursion_misses:\t12\nverified_insns:\t90\n";
        assert_eq!(number(info, "recursion_misses:"), Some(12));
        assert_eq!(number(info, "misses:"), None);
        assert_eq!(number("recursion_misses:\tx\n", "recursion_misses:"), None);
    }
}
