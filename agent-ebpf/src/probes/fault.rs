//! Segments that get lost, and resets: all of it seldom. The congestion state is set for each accepted
//! connection, too, and most of what it says is left at once.

use core::ffi::c_void;

use agent_common::{
    counter,
    event::{
        fault::{Retransmit, RtoEnded},
        sock::{State, class, flag, reset},
    },
    layout::{self, ResetReasons},
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use super::{
    figures::{cookie, jiffies_ns, tcp_sock},
    sock::{TCP_SYN_RECV, TCP_SYN_SENT},
};
use crate::{
    emit, gate,
    maps::{RESET_REASONS, SOCKS, offset},
    read,
};

// `enum tcp_ca_state`, include/uapi/linux/tcp.h.
const CA_RECOVERY: u8 = 3;
const CA_LOSS: u8 = 4;
/// `icsk_ca_state` shares its byte with flags.
const CA_MASK: u8 = 0x1f;

// `icsk_pending`, include/net/inet_connection_sock.h: which timer is armed. One that fired is none.
const TIMER_NONE: u8 = 0;
const TIMER_LOSS_PROBE: u8 = 5;

#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit(ctx: BtfTracePointContext) -> i32 {
    let sk: *mut c_void = ctx.arg(0);
    let tcp = tcp_sock(sk);
    if tcp.is_null() {
        return 0;
    }
    let kept = SOCKS.get(sk);
    if kept.is_null() {
        emit::add(counter::FAULT_NO_STORAGE);
        return 0;
    }
    // SAFETY: not null, and the storage lives as long as the socket, which is locked here.
    let state = unsafe { &mut *kept };
    let more = not_yet_counted(tcp, state);
    let class = class_of(sk, tcp);
    let Some(count) = state.retransmits.get_mut(class) else {
        return 0;
    };
    let before = *count;
    let segments = before.wrapping_add(more);
    *count = segments;
    // An episode is told by the first time that its timer fires: who waits for an answer may give up before its end.
    let begins = class == class::RTO && state.episode_expiries == 1;
    // The highest bit moved: a power of two was reached, or it is the first.
    if begins || (before ^ segments) > before {
        emit::event(gate::current(), |header| Retransmit {
            header,
            cookie: cookie(sk),
            local: state.local,
            remote: state.remote,
            tgid: state.tgid,
            netns: state.netns,
            segments,
            local_port: state.local_port,
            remote_port: state.remote_port,
            class: class as u8,
            role: state.role,
            reserved: [0; 2],
            episodes: state.rto_episodes,
        });
    }
    0
}

/// By the socket's own count: a packet may be many segments, and since Linux 6.17 the tracepoint also tells
/// of tries that came to nothing, most of which the kernel does not count.
#[inline(always)]
fn not_yet_counted(tcp: *const c_void, state: &State) -> u32 {
    let total: u32 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_total_retrans));
    let mut counted = state.base_retransmits;
    for class in 0..class::COUNT {
        counted = counted.wrapping_add(state.retransmits[class]);
    }
    total.wrapping_sub(counted)
}

/// In the order of [`class`]: the timer of a loss probe stays armed during a fast retransmit.
#[inline(always)]
fn class_of(sk: *mut c_void, tcp: *const c_void) -> usize {
    if handshakes(sk) {
        return class::SYN;
    }
    let pending: u8 = read::field(tcp, offset!(TCP_LAYOUT.icsk_pending));
    match (ca_state(tcp), pending) {
        (CA_RECOVERY, _) => class::FAST,
        (CA_LOSS, TIMER_NONE) => class::RTO,
        (CA_LOSS, _) => class::SLOW_START,
        (_, TIMER_LOSS_PROBE) => class::TLP,
        _ => class::OTHER,
    }
}

#[inline(always)]
fn handshakes(sk: *mut c_void) -> bool {
    let tcp_state: u8 = read::field(sk, offset!(KERNEL_LAYOUT.sock_state));
    matches!(i32::from(tcp_state), TCP_SYN_SENT | TCP_SYN_RECV)
}

#[inline(always)]
fn ca_state(tcp: *const c_void) -> u8 {
    let shared: u8 = read::field(tcp, offset!(TCP_LAYOUT.icsk_ca_state));
    shared & CA_MASK
}

/// Comes before the state is set: the socket still has the old one.
#[btf_tracepoint(function = "tcp_cong_state_set")]
fn tcp_ca(ctx: BtfTracePointContext) -> i32 {
    let sk: *mut c_void = ctx.arg(0);
    let new: u8 = ctx.arg(1);
    let tcp = tcp_sock(sk);
    if tcp.is_null() {
        return 0;
    }
    let was_lost = ca_state(tcp) == CA_LOSS;
    let is_lost = new == CA_LOSS;
    // A handshake that is repeated is told by its SYNs.
    if !(was_lost || is_lost) || handshakes(sk) {
        return 0;
    }
    let kept = SOCKS.get(sk);
    if kept.is_null() {
        emit::add(counter::FAULT_NO_STORAGE);
        return 0;
    }
    // SAFETY: not null, and the storage lives as long as the socket, which is locked here.
    let state = unsafe { &mut *kept };
    if is_lost {
        let pending: u8 = read::field(tcp, offset!(TCP_LAYOUT.icsk_pending));
        // Else the path takes only smaller segments: nothing timed out.
        if pending == TIMER_NONE {
            if !was_lost {
                // The end of the episode before was not seen, if this is not zero: the kernel leaves out a hit that
                // interrupts another one.
                state.rto_since_ktime_ns = 0;
            }
            expired(tcp, state);
        }
    } else {
        recovered(sk, state);
    }
    0
}

/// The timer ran for as long as `icsk_rto` says, which is doubled only later.
#[inline(always)]
fn expired(tcp: *const c_void, state: &mut State) {
    state.rto_expiries = state.rto_expiries.saturating_add(1);
    if state.rto_since_ktime_ns == 0 {
        let rto: u32 = read::field(tcp, offset!(TCP_LAYOUT.icsk_rto));
        state.rto_since_ktime_ns = emit::now().saturating_sub(jiffies_ns(rto));
        state.rto_episodes = state.rto_episodes.saturating_add(1);
        state.episode_expiries = 0;
    }
    state.episode_expiries = state.episode_expiries.saturating_add(1);
}

#[inline(always)]
fn recovered(sk: *mut c_void, state: &mut State) {
    let began_ktime_ns = state.rto_since_ktime_ns;
    if began_ktime_ns == 0 {
        return;
    }
    state.rto_since_ktime_ns = 0;
    state.rto_total_ns = state.rto_total_ns.saturating_add(emit::now().saturating_sub(began_ktime_ns));
    emit::event(gate::current(), |header| RtoEnded {
        header,
        cookie: cookie(sk),
        began_ktime_ns,
        local: state.local,
        remote: state.remote,
        tgid: state.tgid,
        netns: state.netns,
        expiries: u32::from(state.episode_expiries),
        episodes: state.rto_episodes,
        local_port: state.local_port,
        remote_port: state.remote_port,
        role: state.role,
        reserved: [0; 3],
    });
}

/// `sk` is the listener: the connection has no socket yet, and begins with what was repeated for it.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
fn synack_again(ctx: BtfTracePointContext) -> i32 {
    let sk: *mut c_void = ctx.arg(0);
    if sk.is_null() {
        return 0;
    }
    let kept = SOCKS.get(sk);
    if kept.is_null() {
        emit::add(counter::FAULT_NO_STORAGE);
        return 0;
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let count = unsafe { &raw mut (*kept).retransmits }.cast::<u32>().wrapping_add(class::SYN);
    // A listener is not locked for its handshakes.
    emit::atomic_add(count, 1);
    0
}

#[btf_tracepoint(function = "tcp_receive_reset")]
fn rst_in(ctx: BtfTracePointContext) -> i32 {
    note_reset(ctx.arg(0), flag::RST_IN, reset::UNKNOWN);
    0
}

/// Also for segments that belong to no socket: `sk` is null then.
#[btf_tracepoint(function = "tcp_send_reset")]
fn rst_out(ctx: BtfTracePointContext) -> i32 {
    let reasons = core::ptr::from_ref(&RESET_REASONS).cast::<ResetReasons>();
    // SAFETY: `Global` is transparent; volatile, because the loader overwrites what is compiled in.
    let has = unsafe { core::ptr::read_volatile(&raw const (*reasons).has) };
    let mut reason = reset::UNKNOWN;
    // Where there is no such argument the verifier does not look in here.
    if has != 0 {
        let value: u32 = ctx.arg(2);
        let at = value as usize & (layout::RESET_REASONS - 1);
        // SAFETY: as above, and it is within the array.
        reason = unsafe { core::ptr::read_volatile((&raw const (*reasons).meaning).cast::<u8>().add(at)) };
    }
    note_reset(ctx.arg(0), flag::RST_OUT, reason);
    0
}

/// The first one counts: an answer to a RST is none of ours.
#[inline(always)]
fn note_reset(sk: *mut c_void, from: u8, reason: u8) {
    if sk.is_null() {
        return;
    }
    let kept = SOCKS.get(sk);
    if kept.is_null() {
        return;
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let flags = unsafe { &mut (*kept).flags };
    if *flags & (flag::RST_IN | flag::RST_OUT) == 0 {
        *flags |= from | reason << flag::RESET_SHIFT;
    }
}
