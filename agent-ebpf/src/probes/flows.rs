//! The walk over all UDP flows, for the periodic dump.

use core::ffi::c_void;

use agent_common::event::udp::{FlowCount, FlowKey};
use aya_ebpf::helpers::generated::bpf_seq_write;

use super::sock::IterMeta;

/// `struct bpf_iter__bpf_map_elem`.
#[repr(C)]
pub(crate) struct IterMapElem {
    meta: *mut IterMeta,
    map: *mut c_void,
    key: *mut FlowKey,
    value: *mut FlowCount,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
extern "C" fn flow_dump(ctx: *mut IterMapElem) -> i32 {
    // SAFETY: the kernel hands a valid context; both pointers are null at the end of the walk.
    let (key, value, meta) = unsafe { ((*ctx).key, (*ctx).value, (*ctx).meta) };
    if key.is_null() || value.is_null() {
        return 0;
    }
    // A row that does not fit whole is taken back by the kernel, and written again at the next read.
    //
    // SAFETY: the context's `seq` is valid while the program runs; the length is the key's.
    unsafe { bpf_seq_write((*meta).seq, key.cast_const().cast(), size_of::<FlowKey>() as u32) };
    // SAFETY: as above, of the value.
    unsafe { bpf_seq_write((*meta).seq, value.cast_const().cast(), size_of::<FlowCount>() as u32) };
    0
}
