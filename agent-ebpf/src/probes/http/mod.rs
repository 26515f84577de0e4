//! HTTP requests of Go programs.
//!
//! Probes sit where the kernel emulates the instruction: at `push rbp`, where all argument registers
//! of Go's ABI are intact, or at the first jump after a call, where its results still are. A request
//! is kept by (process, goid) from its begin to its end; then it is one record.
//!
//! The context of a trace is handed on here, from begin to begin, as a header would: a client call
//! inherits from its goroutine's server request, a server request from the client call on the other
//! end of its connection. So nothing is held back in user space until a trace is complete.

pub(super) mod client;
pub(super) mod conn;
mod front;
mod http2;
mod line;
mod lineage;
mod server;

use core::ptr;

use agent_common::{Wire as _, counter, event::http::Call, layout::GoProcess};
use aya_ebpf::{
    Global, bindings::pt_regs, helpers::bpf_get_prandom_u32, maps::LruHashMap, programs::ProbeContext,
};

pub(crate) use self::lineage::{Lineage, lineage};
use crate::{emit, gate::Task, maps::CallKey, read};

#[inline(always)]
pub(crate) fn regs(ctx: &ProbeContext) -> &pt_regs {
    // SAFETY: the context of a uprobe is a `pt_regs`.
    unsafe { &*ctx.regs }
}

/// The running goroutine, or that which started it: Go keeps `g` in r14.
#[inline(always)]
fn goroutine(ctx: &ProbeContext, offset: u16) -> Option<u64> {
    read::user(regs(ctx).r14 + u64::from(offset))
}

#[inline(always)]
pub(crate) fn key(ctx: &ProbeContext, task: Task, process: &GoProcess) -> Option<CallKey> {
    Some(call_key(task, goroutine(ctx, process.g_goid)?))
}

#[inline(always)]
fn call_key(task: Task, goid: u64) -> CallKey {
    CallKey { tgid: u64::from(task.tgid), goid }
}

/// A request is built where it is kept: with its copy on the stack there would be no room left.
// SAFETY: zero is a value of every record.
static BLANK: Global<Call> = Global::new(unsafe { core::mem::zeroed() });

/// Keeps a request that begins now, with a span id and no trace. It replaces what the key had.
#[inline(always)]
pub(super) fn begin(map: &LruHashMap<CallKey, Call>, key: CallKey, side: u8) -> Option<&'static mut Call> {
    let kept = if let Some(kept) = map.get_ptr_mut(key) {
        // SAFETY: the entry stays valid while the program runs.
        unsafe { (*kept).clear() };
        Some(kept)
    } else {
        // SAFETY: `Global` is transparent.
        let blank = unsafe { &*ptr::from_ref(&BLANK).cast::<Call>() };
        map.insert(key, blank, 0).ok().and_then(|()| map.get_ptr_mut(key))
    };
    let Some(kept) = kept else {
        emit::add(counter::HTTP_NOT_KEPT);
        return None;
    };
    // SAFETY: the entry stays valid while the program runs, and only this goroutine looks it up.
    let call = unsafe { &mut *kept };
    call.began_ktime_ns = emit::now();
    call.goid = key.goid;
    call.side = side;
    call.span_id = random();
    Some(call)
}

/// As [`Call::minor`] has it.
#[inline(always)]
fn version(minor: Option<u64>) -> u8 {
    match minor {
        Some(minor @ 0..=9) => minor as u8 + 1,
        _ => 0,
    }
}

/// Eight random bytes, never all zero: OpenTelemetry's "no id".
#[inline(always)]
pub(crate) fn random() -> [u8; 8] {
    // SAFETY: the helper has no preconditions.
    let (high, low) = unsafe { (bpf_get_prandom_u32(), bpf_get_prandom_u32()) };
    (u64::from(high) << 32 | u64::from(low) | 1).to_ne_bytes()
}

/// Begins a trace.
#[inline(always)]
pub(super) fn root(call: &mut Call) {
    let (first, last) = (random(), random());
    call.trace_id[..8].copy_from_slice(&first);
    call.trace_id[8..].copy_from_slice(&last);
}

/// The trace of the kept request, if that has begun, whole, and has not ended. On another CPU its begin may be
/// under way: the trace is written last, and neither half of one is ever zero.
#[inline(always)]
fn trace(call: *const Call) -> Option<[u64; 2]> {
    // SAFETY: the entry stays readable while the program runs; volatile, because others write to it.
    let [first, last] = unsafe { (&raw const (*call).trace_id).cast::<[u64; 2]>().read_volatile() };
    (first != 0 && last != 0).then_some([first, last])
}

/// From now on [`trace`] has none.
#[inline(always)]
fn close(call: *mut Call) {
    // SAFETY: the entry stays valid while the program runs.
    unsafe { (&raw mut (*call).trace_id).cast::<u64>().write_volatile(0) };
}

/// Turns the kept request into a record. The caller removes or closes it.
#[inline(always)]
pub(super) fn finish(call: *mut Call, task: Task, end: u8, status: u16) {
    // SAFETY: the entry stays valid while the program runs.
    complete(unsafe { &mut *call }, task, end, status);
    emit::copy(call);
}

/// Writes what is known at the end.
#[inline(always)]
pub(super) fn complete(call: &mut Call, task: Task, end: u8, status: u16) {
    call.header = emit::header::<Call>(task);
    call.end = end;
    call.status = status;
}
