//! Whose UDP sockets are. Packets know a socket by its cookie; its process is `current` in recv(), or has it among its
//! open files. send() is not looked at: its tracepoint is hit by all that TCP sends, too.

use core::ffi::c_void;

use agent_common::{
    Wire as _, counter,
    event::{sock::State, udp::UdpOwner},
};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_jiffies64};

use super::sock::{address, place};
use crate::{
    emit, gate,
    maps::{UDP_SOCKS, UdpSeen},
};

/// The current process has called recv() on it.
#[inline(always)]
pub(super) fn received(sk: *mut c_void) {
    let task = gate::current();
    if is_news(sk, task.tgid) {
        tell(sk, task);
    }
}

/// It is among the open files of a process. Who was seen to use it is known better.
#[inline(always)]
pub(super) fn held(sk: *mut c_void, tgid: u32) {
    let kept = UDP_SOCKS.get(sk);
    // SAFETY: not null, and the storage lives as long as the socket.
    let user = if kept.is_null() { tgid } else { unsafe { (*kept).tgid } };
    if is_news(sk, user) {
        tell(sk, gate::Task { tgid: user, tid: 0 });
    }
}

/// The first time, another process, or nothing said for about a minute: whoever listens may have forgotten.
#[inline(always)]
fn is_news(sk: *mut c_void, tgid: u32) -> bool {
    /// Of workers that take turns on one socket.
    const MOST_CHANGES: u16 = 8;
    // 65 s where a second has 250 jiffies.
    //
    // SAFETY: the helper has no preconditions.
    let span = (unsafe { bpf_jiffies64() } >> 14) as u16;
    let kept = UDP_SOCKS.get(sk);
    if kept.is_null() {
        let mut seen = UdpSeen { tgid, span, changes: 0 };
        if UDP_SOCKS.get_or_insert(sk, &mut seen).is_null() {
            emit::add(counter::UDP_NO_STORAGE);
        }
        return true;
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let seen = unsafe { &mut *kept };
    if seen.span != span {
        *seen = UdpSeen { tgid, span, changes: 0 };
        return true;
    }
    if seen.tgid != tgid && seen.changes < MOST_CHANGES {
        seen.tgid = tgid;
        seen.changes += 1;
        return true;
    }
    false
}

#[inline(always)]
fn tell(sk: *mut c_void, task: gate::Task) {
    let mut state = State::zeroed();
    address(sk, &mut state);
    place(sk, &mut state);
    // SAFETY: the verifier proves `sk` to be a socket.
    let cookie = unsafe { bpf_get_socket_cookie(sk) };
    emit::event(task, |header| UdpOwner {
        header,
        cookie,
        cgroup_id: state.cgroup_id,
        local: state.local,
        remote: state.remote,
        local_port: state.local_port,
        remote_port: state.remote_port,
        netns: state.netns,
    });
}
