//! Doors: what a filter of a clsact qdisc runs, where the kernel has no links for classifiers.
//!
//! A filter outlives whoever put it. So it is only a door: the program is behind it, in an array that the kernel
//! empties when the agent's last descriptor of it is closed, by SIGKILL, too. A door to nowhere lets everything pass.
//!
//! Their names are what `tc filter show` says.

use agent_common::layout::door;
use aya_ebpf::{macros::classifier, programs::TcContext};

use super::TCX_NEXT;
use crate::maps::DOORS;

/// To `from_workload`.
#[classifier]
fn taskscope_from(ctx: TcContext) -> i32 {
    enter(&ctx, door::FROM_WORKLOAD)
}

/// To `to_workload`.
#[classifier]
fn taskscope_to(ctx: TcContext) -> i32 {
    enter(&ctx, door::TO_WORKLOAD)
}

/// To `nic_in_tc`.
#[classifier]
fn taskscope_nic(ctx: TcContext) -> i32 {
    enter(&ctx, door::NIC_IN)
}

/// Comes back only when there is nothing behind the door.
#[inline(always)]
fn enter(ctx: &TcContext, door: u32) -> i32 {
    // SAFETY: nothing here waits to be dropped.
    unsafe { DOORS.tail_call(ctx, door) };
    TCX_NEXT
}
