//! The only code that writes to the ring buffer and the counters; `calibrate` reserves and discards.

use core::{
    ffi::c_void,
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr,
};

use agent_common::{
    counter,
    event::{Header, Record, sock::Row},
};
use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_ringbuf_output};

use crate::{
    gate::Task,
    maps::{COUNTERS, EVENTS, ROWS},
    read,
};

/// The user half drains by the clock: waking it up is dearer than all the rest of an event.
const NO_WAKEUP: u64 = 1;

#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Reserves, fills and submits one record.
///
/// `fill` returns a whole record rather than an `Option`: once a slot is reserved there is no path
/// on which the verifier could see it leak.
#[inline(always)]
pub(crate) fn event<T: Record>(task: Task, fill: impl FnOnce(Header) -> T) {
    let Some(mut slot) = EVENTS.reserve::<T>(0) else {
        return add(T::LOST);
    };
    slot.write(fill(header::<T>(task)));
    slot.submit(NO_WAKEUP);
    add(counter::EVENTS_SUBMITTED);
}

/// As [`event`], with up to `N` bytes after the record, which `copy` writes and the record counts. When it
/// cannot, nothing is submitted and `refused` counts it.
#[inline(always)]
pub(crate) fn event_with_bytes<T: Record, const N: usize>(
    task: Task,
    fill: impl FnOnce(Header) -> T,
    copy: impl FnOnce(*mut u8) -> bool,
    refused: u32,
) {
    let Some(mut slot) = EVENTS.reserve::<WithBytes<T, N>>(0) else {
        return add(T::LOST);
    };
    let at = slot.as_mut_ptr();
    // SAFETY: the slot is reserved, and has room for the bytes.
    if !copy(unsafe { (&raw mut (*at).bytes).cast() }) {
        slot.discard(NO_WAKEUP);
        return add(refused);
    }
    // SAFETY: as above, and for the record.
    unsafe { (&raw mut (*at).record).write(fill(header::<T>(task))) };
    slot.submit(NO_WAKEUP);
    add(counter::EVENTS_SUBMITTED);
}

#[repr(C)]
struct WithBytes<T, const N: usize> {
    record: T,
    bytes: [u8; N],
}

/// Submits a record that lies in a map already, without a copy on the stack.
#[inline(always)]
pub(crate) fn copy<T: Record>(record: *mut T) {
    let map = ptr::from_ref(&EVENTS).cast_mut().cast::<c_void>();
    // SAFETY: `record` is a whole record in a map value, and `EVENTS` is a ring buffer.
    let refused = unsafe { bpf_ringbuf_output(map, record.cast(), size_of::<T>() as u64, NO_WAKEUP) };
    add(if refused == 0 { counter::EVENTS_SUBMITTED } else { T::LOST });
}

/// As [`copy`], with the `n_bytes` behind the record that lie in the same map value. The verifier refuses a
/// number that it cannot bound.
#[inline(always)]
pub(crate) fn copy_with_bytes<T: Record>(record: *mut T, n_bytes: u64) {
    let map = ptr::from_ref(&EVENTS).cast_mut().cast::<c_void>();
    let len = size_of::<T>() as u64 + n_bytes;
    // SAFETY: `record` is a whole record in a map value, and `EVENTS` is a ring buffer.
    let refused = unsafe { bpf_ringbuf_output(map, record.cast(), len, NO_WAKEUP) };
    add(if refused == 0 { counter::EVENTS_SUBMITTED } else { T::LOST });
}

/// As [`copy`], of a record that may be ended on several CPUs at once: `complete` writes what the end knows, and
/// `is_ours` says whether this end is the first.
#[inline(always)]
pub(crate) fn copy_once<T: Record>(
    record: *const T,
    complete: impl FnOnce(&mut T),
    is_ours: impl FnOnce() -> bool,
) {
    let Some(mut slot) = EVENTS.reserve::<T>(0) else {
        if is_ours() {
            add(T::LOST);
        }
        return;
    };
    // SAFETY: any bytes are a record, and the slot has room for one. A plain copy would be a loop over bytes.
    let copy = unsafe { &mut *slot.as_mut_ptr() };
    read::kernel_into(copy, record as u64);
    complete(copy);
    if is_ours() {
        slot.submit(NO_WAKEUP);
        add(counter::EVENTS_SUBMITTED);
    } else {
        slot.discard(NO_WAKEUP);
    }
}

/// A row of a dump; false when there is no room for it, which is no loss: it is asked for again.
#[inline(always)]
pub(crate) fn row(row: &Row) -> bool {
    let map = ptr::from_ref(&ROWS).cast_mut().cast::<c_void>();
    let bytes = ptr::from_ref(row).cast_mut().cast::<c_void>();
    // SAFETY: `row` is a whole row, and `ROWS` is a ring buffer.
    unsafe { bpf_ringbuf_output(map, bytes, size_of::<Row>() as u64, NO_WAKEUP) == 0 }
}

#[inline(always)]
pub(crate) fn header<T: Record>(task: Task) -> Header {
    let Task { tgid, tid } = task;
    Header { ktime_ns: now(), tgid, tid, kind: T::KIND, reserved: 0 }
}

#[inline(always)]
pub(crate) fn add(index: u32) {
    let Some(slots) = COUNTERS.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the entry stays valid while the program runs, and nothing but atomic additions is done to it.
    if let Some(slot) = unsafe { (*slots).get_mut(index as usize) } {
        // Per CPU is not enough: a uprobe program can be preempted by another on the same CPU.
        atomic_add(slot, 1);
    }
}

#[inline(always)]
pub(crate) fn atomic_add<T: Copy>(slot: *mut T, n: T) {
    // SAFETY: the caller's slot lies in a map value, aligned, and all writers use this function.
    unsafe { atomic_xadd::<T, T, { AtomicOrdering::Relaxed }>(slot, n) };
}
