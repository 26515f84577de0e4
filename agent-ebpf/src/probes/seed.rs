//! Owners of sockets that are older than the agent, or that only send: a walk over all open files, at the start, now
//! and then, and when somebody asks. Whoever is known better already stays.

use core::ffi::c_void;

use agent_common::event::sock::owner;
use aya_ebpf::{bindings::file, helpers::generated::bpf_sock_from_file};

use super::{
    sock::{IPPROTO_UDP, IterMeta, adopt, internet_protocol},
    udp,
};
use crate::{
    maps::{SOCKS, offset},
    read,
};

/// `struct bpf_iter__task_file`.
#[repr(C)]
pub(crate) struct IterTaskFile {
    meta: *mut IterMeta,
    task: *mut c_void,
    fd: u32,
    file: *mut file,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn seed(ctx: *mut IterTaskFile) -> i32 {
    // SAFETY: the kernel hands a valid context; both pointers are null at the end of the walk.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return 0;
    }
    // SAFETY: the verifier knows `file` by its type.
    let socket: *const c_void = unsafe { bpf_sock_from_file(file) }.cast_const().cast();
    if socket.is_null() {
        return 0;
    }
    let sk: *mut c_void = read::field(socket, offset!(KERNEL_LAYOUT.socket_sk));
    if sk.is_null() {
        return 0;
    }
    let tgid = read::field(task, offset!(FILE_LAYOUT.task_tgid));
    if internet_protocol(sk) == IPPROTO_UDP {
        udp::held(sk, tgid);
        return 0;
    }
    let kept = SOCKS.get(sk);
    if kept.is_null() {
        adopt(sk, tgid, owner::HOLDER);
        return 0;
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let state = unsafe { &mut *kept };
    // The child of a listener that was older than the agent and not yet seeded.
    if state.owner == owner::NONE {
        state.tgid = tgid;
        state.owner = owner::HOLDER;
    }
    0
}
