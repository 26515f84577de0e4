//! Maps, with our own records as values.

use std::fs;

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
        .filter_map(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix("memlock:"))?;
            line.trim().parse::<u64>().ok()
        })
        .sum()
}
