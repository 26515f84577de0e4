//! Who is looked at. Every uprobe asks here first, before it reads or writes anything else.

use agent_common::layout::GoProcess;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use crate::{emit, maps};

#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
}

#[inline(always)]
pub(crate) fn current() -> Task {
    let both = bpf_get_current_pid_tgid();
    Task { tgid: (both >> 32) as u32, tid: both as u32 }
}

/// The current task and its process's layout, if the process is watched; counts the hit of `point`.
///
/// Points are attached to files, which serve processes that nobody watches, too.
#[inline(always)]
pub(crate) fn watched(point: usize) -> Option<(Task, &'static GoProcess)> {
    let task = current();
    let (process, hits) = maps::watched(task.tgid, point)?;
    emit::atomic_add(hits, 1);
    Some((task, process))
}
