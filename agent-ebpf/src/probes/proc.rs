//! Processes that begin and end, so that targets are known before their first request.

use agent_common::event::proc::{Exec, Exit};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{emit, gate};

#[btf_tracepoint(function = "sched_process_exec")]
fn proc_exec(_: BtfTracePointContext) -> i32 {
    emit::event(gate::current(), |header| Exec { header });
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
fn proc_exit(_: BtfTracePointContext) -> i32 {
    let task = gate::current();
    if task.tgid == task.tid {
        emit::event(task, |header| Exit { header });
    }
    0
}
