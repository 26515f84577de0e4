//! What a socket itself has counted, and how it fares just now.

use core::ffi::c_void;

use agent_common::event::sock::{Figures, Row, State, role};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_jiffies64, bpf_skc_to_tcp_sock};

use super::sock::TCP_LISTEN;
use crate::{
    maps::{has, offset},
    read,
};

/// A field that some kernels lack: zero there.
macro_rules! optional {
    ($object:expr, $field:ident) => {
        if has(offset!(TCP_LAYOUT.$field)) { read::field($object, offset!(TCP_LAYOUT.$field)) } else { 0 }
    };
}

/// Not [`Wire::zeroed`](agent_common::Wire::zeroed), for which there is no room on the stack of a dump.
// SAFETY: zero is a value of every record.
const NO_FIGURES: Figures = unsafe { core::mem::zeroed() };

#[inline(always)]
pub(crate) fn row(sk: *mut c_void, state: &State) -> Row {
    let tcp = tcp_sock(sk);
    let figures = if tcp.is_null() {
        // A listener by MPTCP: all there is to say is that it listens.
        Figures { tcp_state: read::field(sk, offset!(KERNEL_LAYOUT.sock_state)), ..NO_FIGURES }
    } else {
        figures(sk, tcp)
    };
    Row { cookie: cookie(sk), state: *state, figures }
}

#[inline(always)]
pub(crate) fn cookie(sk: *mut c_void) -> u64 {
    // SAFETY: the verifier proves `sk` to be a socket.
    unsafe { bpf_get_socket_cookie(sk) }
}

/// Null when `sk` is no TCP socket.
#[inline(always)]
pub(crate) fn tcp_sock(sk: *mut c_void) -> *const c_void {
    // SAFETY: the verifier proves `sk` to be a socket or null, and the helper tests the latter.
    unsafe { bpf_skc_to_tcp_sock(sk) }.cast_const().cast()
}

/// Payload that was sent and received so far.
#[inline(always)]
pub(crate) fn payload(sk: *mut c_void, tcp: *const c_void) -> (u64, u64) {
    let sent: u64 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_bytes_sent));
    let again: u64 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_bytes_retrans));
    let received: u64 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_bytes_received));
    let fin = sk_flag(sk, offset!(KERNEL_LAYOUT.sock_done_bit));
    (sent.saturating_sub(again), received.saturating_sub(fin.into()))
}

#[inline(always)]
pub(crate) fn sk_flag(sk: *mut c_void, bit: usize) -> bool {
    let sk_flags: u64 = read::field(sk, offset!(KERNEL_LAYOUT.sock_flags));
    (sk_flags >> (bit & 63)) & 1 != 0
}

#[inline(always)]
pub(crate) fn srtt_us(tcp: *const c_void) -> u32 {
    let eighths: u32 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_srtt_us));
    eighths >> 3
}

/// What a socket looks like, in short: nothing of what a row tells changes without a segment, an owner or a
/// state, but what is unread, and that is shown until it is read. Never 0.
#[inline(always)]
pub(crate) fn looks(sk: *mut c_void, owner: u8, tcp_state: u8) -> u64 {
    let tcp = tcp_sock(sk);
    let segments = if tcp.is_null() {
        0
    } else {
        let sent: u32 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_segs_out));
        let received: u32 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_segs_in));
        sent.wrapping_add(received)
    };
    u64::from(segments) << 32 | 1 << 16 | u64::from(owner) << 8 | u64::from(tcp_state)
}

/// Whether something is owed to the socket, or by it: data that is not acknowledged, not answered, or not read by a
/// server. Who judges that needs to see it as long as it lasts.
#[inline(always)]
pub(crate) fn is_stuck(sk: *mut c_void, row: &Row) -> bool {
    let tcp = tcp_sock(sk);
    if tcp.is_null() {
        return false;
    }
    let (state, figures) = (&row.state, &row.figures);
    let sent: u32 = optional!(tcp, tcp_lsndtime);
    let received: u32 = optional!(tcp, icsk_lrcvtime);
    // Of those older than the agent: clients' ports are high.
    let is_client =
        state.role == role::CLIENT || (state.role == role::UNKNOWN && state.remote_port < state.local_port);
    // Both times are set when it connects, and in the same tick nobody knows which was first.
    let is_later = figures.received_bytes == 0 || 0 < sent.wrapping_sub(received).cast_signed();
    let asks = is_client && figures.sent_bytes != 0 && is_later;
    let is_unread = !is_client && figures.unread_bytes != 0;
    figures.unacked_bytes != 0 || is_unread || asks
}

/// What the application wrote and the peer has not acknowledged.
#[inline(always)]
pub(crate) fn unacked_bytes(tcp: *const c_void) -> u32 {
    let written: u32 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_write_seq));
    let acknowledged: u32 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_snd_una));
    written.wrapping_sub(acknowledged)
}

/// What the peer sent and the application has not read.
#[inline(always)]
pub(crate) fn unread_bytes(sk: *mut c_void, tcp: *const c_void) -> u32 {
    let received: u32 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_rcv_nxt));
    let copied: u32 = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_copied_seq));
    let fin = sk_flag(sk, offset!(KERNEL_LAYOUT.sock_done_bit));
    received.wrapping_sub(copied).saturating_sub(fin.into())
}

#[inline(always)]
pub(crate) fn probes_out(tcp: *const c_void) -> u8 {
    optional!(tcp, icsk_probes_out)
}

/// Jiffies in nanoseconds.
#[inline(always)]
pub(crate) fn jiffies_ns(jiffies: u32) -> u64 {
    u64::from(jiffies) * offset!(TCP_LAYOUT.jiffy_ns) as u64
}

#[inline(always)]
fn figures(sk: *mut c_void, tcp: *const c_void) -> Figures {
    let (sent_bytes, received_bytes) = payload(sk, tcp);
    let error: i32 = read::field(sk, offset!(KERNEL_LAYOUT.sock_err));
    let soft_error: i32 = read::field(sk, offset!(KERNEL_LAYOUT.sock_err_soft));
    let tcp_state: u8 = read::field(sk, offset!(KERNEL_LAYOUT.sock_state));
    let listens = i32::from(tcp_state) == TCP_LISTEN;
    let rto: u32 = optional!(tcp, icsk_rto);
    Figures {
        sent_bytes,
        received_bytes,
        acked_bytes: optional!(tcp, tcp_bytes_acked),
        segments_out: read::field(tcp, offset!(KERNEL_LAYOUT.tcp_segs_out)),
        segments_in: read::field(tcp, offset!(KERNEL_LAYOUT.tcp_segs_in)),
        retransmits: read::field(tcp, offset!(KERNEL_LAYOUT.tcp_total_retrans)),
        srtt_us: srtt_us(tcp),
        packets_out: optional!(tcp, tcp_packets_out),
        unacked_bytes: unacked_bytes(tcp),
        send_window: optional!(tcp, tcp_snd_wnd),
        rto_ms: (jiffies_ns(rto) / 1_000_000) as u32,
        received_ms_ago: ms_ago(optional!(tcp, tcp_rcv_tstamp)),
        sent_ms_ago: ms_ago(optional!(tcp, tcp_lsndtime)),
        data_received_ms_ago: ms_ago(optional!(tcp, icsk_lrcvtime)),
        unread_bytes: unread_bytes(sk, tcp),
        // Others have another meaning for the same fields, or none.
        accept_backlog: if listens { optional!(sk, sock_ack_backlog) } else { 0 },
        accept_backlog_max: if listens { optional!(sk, sock_max_ack_backlog) } else { 0 },
        error: error as u16,
        soft_error: soft_error as u16,
        pending_retransmits: read::field(tcp, offset!(KERNEL_LAYOUT.icsk_retransmits)),
        tcp_state,
        backoff: optional!(tcp, icsk_backoff),
        probes_out: probes_out(tcp),
    }
}

/// Since a time of `tcp_sock`, which is in jiffies; 0 for one that was never set.
#[inline(always)]
fn ms_ago(stamp: u32) -> u32 {
    if stamp == 0 {
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_jiffies64() } as u32;
    (jiffies_ns(now.wrapping_sub(stamp)) / 1_000_000) as u32
}
