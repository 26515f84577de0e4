//! Whose UDP sockets are. Packets know a socket by its cookie; its process is `current` in send() and recv().

use core::ffi::c_void;

use agent_common::{
    Wire as _, counter,
    event::{sock::State, udp::UdpOwner},
};
use aya_ebpf::{
    helpers::generated::{bpf_get_socket_cookie, bpf_jiffies64},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};

use super::sock::{AF_INET, AF_INET6, address, place};
use crate::{
    emit, gate,
    maps::{UDP_SOCKS, UdpSeen, offset},
    read,
};

/// After the call, whatever it returned: the packet is on its way already.
#[btf_tracepoint(function = "sock_send_length")]
fn udp_sent(ctx: BtfTracePointContext) -> i32 {
    called(ctx.arg(0));
    0
}

/// A server that only receives has no other.
#[btf_tracepoint(function = "sock_recv_length")]
fn udp_received(ctx: BtfTracePointContext) -> i32 {
    called(ctx.arg(0));
    0
}

/// Every call on every socket passes here: one load tells TCP.
#[inline(always)]
fn called(sk: *mut c_void) {
    // include/uapi/linux/in.h
    const IPPROTO_UDP: u16 = 17;
    let protocol: u16 = read::field(sk, offset!(KERNEL_LAYOUT.sock_protocol));
    if protocol != IPPROTO_UDP {
        return;
    }
    // Sockets of other families number their protocols otherwise.
    let family: u16 = read::field(sk, offset!(KERNEL_LAYOUT.sock_family));
    if family != AF_INET && family != AF_INET6 {
        return;
    }
    let tgid = gate::current().tgid;
    if is_news(sk, tgid) {
        tell(sk);
    }
}

/// The first call, another process, or nothing said for about a minute: whoever listens may have forgotten.
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
fn tell(sk: *mut c_void) {
    let mut state = State::zeroed();
    address(sk, &mut state);
    place(sk, &mut state);
    // SAFETY: the verifier proves `sk` to be a socket.
    let cookie = unsafe { bpf_get_socket_cookie(sk) };
    emit::event(gate::current(), |header| UdpOwner {
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
