//! Processes that begin and end, so that targets are known before their first request.

use core::ffi::c_void;

use agent_common::{
    event::proc::{Exec, Exit},
    limits::FILENAME_BYTES,
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::debug;

use crate::{
    emit, gate,
    maps::{has, offset},
    read,
};

/// `sched_process_exec(task, old_pid, bprm)`.
#[btf_tracepoint(function = "sched_process_exec")]
fn proc_exec(ctx: BtfTracePointContext) -> i32 {
    let binprm: *const c_void = ctx.arg(2);
    let mut filename = [0; FILENAME_BYTES];
    let at = offset!(FILE_LAYOUT.binprm_filename);
    if has(at)
        && let Some(name) = read::kernel::<u64>(binprm as u64 + at as u64)
    {
        read::kernel_string(name, &mut filename);
    }
    emit::event(gate::current(), |header| Exec { header, filename });
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
fn proc_exit(ctx: BtfTracePointContext) -> i32 {
    let task = gate::current();
    if task.tgid == task.tid {
        debug!(&ctx, "the first thread of process {} ends", task.tgid);
        emit::event(task, |header| Exit { header });
    }
    0
}
