//! TCP accounted by socket: tracepoints keep [`State`] in socket storage, the dump reads it.
//!
//! `current` is the owner only where a process itself acts: connect(), listen(), recv(). In the
//! handshake's last step it is whoever the softirq interrupted, often the other side's process.

use core::ffi::c_void;

use agent_common::{
    Wire as _, counter,
    event::{
        Header, Record as _,
        sock::{Closed, ConnectFailed, State, class, flag, owner, reset, role, tcp_state},
    },
    pure::packet,
};
use aya_ebpf::{bindings::seq_file, macros::btf_tracepoint, programs::BtfTracePointContext};

use super::figures::{
    is_stuck, looks, payload, probes_out, row, sk_flag, srtt_us, tcp_sock, unacked_bytes, unread_bytes,
};
use crate::{
    emit, gate,
    maps::{SOCKS, has, offset},
    read,
};

// As a tracepoint hands them over.
const TCP_ESTABLISHED: i32 = tcp_state::ESTABLISHED as i32;
pub(crate) const TCP_SYN_SENT: i32 = tcp_state::SYN_SENT as i32;
pub(crate) const TCP_SYN_RECV: i32 = tcp_state::SYN_RECV as i32;
const TCP_CLOSE: i32 = tcp_state::CLOSE as i32;
const TCP_CLOSE_WAIT: i32 = tcp_state::CLOSE_WAIT as i32;
pub(crate) const TCP_LISTEN: i32 = tcp_state::LISTEN as i32;
const TCP_NEW_SYN_RECV: i32 = tcp_state::NEW_SYN_RECV as i32;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

// include/uapi/linux/in.h
pub(super) const IPPROTO_TCP: u16 = 6;
pub(super) const IPPROTO_UDP: u16 = 17;
const IPPROTO_MPTCP: u16 = 262;

#[btf_tracepoint(function = "inet_sock_set_state")]
fn sock_state(ctx: BtfTracePointContext) -> i32 {
    let sk: *mut c_void = ctx.arg(0);
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    match (old, new) {
        (_, TCP_SYN_SENT | TCP_LISTEN | TCP_ESTABLISHED) => began(sk, old, new),
        (_, TCP_CLOSE) => closes(sk, old),
        _ => {}
    }
    0
}

/// One place for three steps: the verifier walks what is inlined once more for each.
#[inline(always)]
fn began(sk: *mut c_void, old: i32, new: i32) {
    let tcp = tcp_sock(sk);
    if tcp.is_null() {
        return;
    }
    let kept = SOCKS.get_or_zeroed(sk);
    if kept.is_null() {
        return emit::add(counter::SOCK_NO_STORAGE);
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let state = unsafe { &mut *kept };
    if new == TCP_ESTABLISHED {
        established(state, tcp, old);
    } else {
        opened(state, if new == TCP_LISTEN { role::LISTENER } else { role::CLIENT });
    }
    address(sk, state);
    // A socket stays where it was made, and a child is where its listener is.
    if state.netns == 0 {
        place(sk, state);
    }
}

/// connect() or listen(): the current process is the owner.
#[inline(always)]
fn opened(state: &mut State, role: u8) {
    // A socket may connect again after a failure, so the whole entry is new.
    state.clear();
    state.opened_ktime_ns = emit::now();
    state.tgid = gate::current().tgid;
    state.role = role;
    state.owner = owner::OPENER;
}

/// The tuple is whole here and nowhere else: before, the local port is not chosen; after, it is gone.
#[inline(always)]
fn established(state: &mut State, tcp: *const c_void, old: i32) {
    state.established_ktime_ns = emit::now();
    if old == TCP_SYN_RECV {
        // The entry is a clone of the listener's; only its owner is the child's, until somebody reads.
        state.opened_ktime_ns = state.established_ktime_ns;
        state.role = role::SERVER;
        state.flags = 0;
        state.base_sent_bytes = 0;
        state.base_received_bytes = 0;
        state.retransmits = [0; class::COUNT];
        state.shown = 0;
    }
    // Whatever was repeated until now was the handshake: the kernel hands a child its SYN-ACKs.
    state.retransmits[class::SYN] = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_total_retrans));
    state.handshake_rtt_us = srtt_us(tcp);
    state.local_isn = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_snd_una));
    state.remote_isn = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_rcv_nxt));
}

/// A connect that failed, or an end whose figures are gone when the socket is destroyed.
///
/// Without an error and without a FIN our own program resets the connection: tcp_disconnect() does so only after
/// this, and then forgets its figures; and a socket that is but disconnected is not destroyed. With SO_LINGER it
/// may be the same later in its life. If it is not, these are the last figures all the same.
#[inline(always)]
fn closes(sk: *mut c_void, old: i32) {
    let connects = old == TCP_SYN_SENT;
    let error: i32 = read::field(sk, offset!(KERNEL_LAYOUT.sock_err));
    if error != 0 && !connects {
        return note_error(sk, error);
    }
    let resets = old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT;
    if !connects && !resets && !sk_flag(sk, offset!(KERNEL_LAYOUT.sock_linger_bit)) {
        return;
    }
    let kept = SOCKS.get(sk);
    let tcp = tcp_sock(sk);
    if kept.is_null() || tcp.is_null() {
        return;
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let state = unsafe { &mut *kept };
    if resets && state.flags & (flag::RST_IN | flag::RST_OUT) == 0 {
        let why = if unread_bytes(sk, tcp) == 0 { reset::PROGRAM } else { reset::UNREAD };
        state.flags |= flag::RST_OUT | why << flag::RESET_SHIFT;
    }
    // Not chosen yet at SYN_SENT, and given back by now; what headers were made of is still there.
    if connects && state.local_port == 0 && has(offset!(TCP_LAYOUT.inet_sport)) {
        let port: u16 = read::field(tcp, offset!(TCP_LAYOUT.inet_sport));
        state.local_port = u16::from_be(port);
    }
    if connects || is_connection(state) {
        ended(sk, state, if connects { ConnectFailed::KIND } else { Closed::KIND });
    }
}

/// The two kinds of record are alike, and there is no room on the stack for one of each.
const _: () = assert!(size_of::<ConnectFailed>() == size_of::<Closed>());

#[inline(always)]
fn ended(sk: *mut c_void, state: &mut State, kind: u32) {
    // First: whoever has the record must not find the socket in a dump after it.
    // SAFETY: a reference may be written through.
    unsafe { (&raw mut state.flags).write_volatile(state.flags | flag::CLOSED) };
    emit::event(gate::current(), |header| Closed { header: Header { kind, ..header }, row: row(sk, state) });
}

/// sk_err is handed to the application, and cleared by that, before the socket is destroyed; and what
/// waited to be sent is given up before, but not what the peer has acknowledged of it.
#[inline(always)]
fn note_error(sk: *mut c_void, error: i32) {
    let kept = SOCKS.get(sk);
    let tcp = tcp_sock(sk);
    if kept.is_null() || tcp.is_null() {
        return;
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let state = unsafe { &mut *kept };
    state.close_error = error as u16;
    state.close_retransmits = read::field(tcp, offset!(KERNEL_LAYOUT.icsk_retransmits));
    state.close_probes = probes_out(tcp);
    state.close_unacked_bytes = unacked_bytes(tcp);
    // Nothing will be acknowledged any more.
    if state.rto_since_ktime_ns != 0 {
        let lasted_ns = emit::now().saturating_sub(state.rto_since_ktime_ns);
        state.rto_total_ns = state.rto_total_ns.saturating_add(lasted_ns);
        state.rto_since_ktime_ns = 0;
    }
}

/// recv() that copied data, on kernels that do not have what `received` takes.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
fn sock_reader(ctx: BtfTracePointContext) -> i32 {
    reads(ctx.arg(0));
    0
}

/// Data was copied for the current process, which so is the reader, also of connections older than we.
#[inline(always)]
pub(super) fn reads(sk: *mut c_void) {
    let kept = SOCKS.get(sk);
    if kept.is_null() {
        return adopt(sk, gate::current().tgid, owner::READER);
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let state = unsafe { &mut *kept };
    if state.owner < owner::READER {
        state.tgid = gate::current().tgid;
        state.owner = owner::READER;
    }
}

/// Begins to account for a socket that is older than the agent.
#[inline(always)]
pub(crate) fn adopt(sk: *mut c_void, tgid: u32, owner: u8) {
    let tcp = tcp_sock(sk);
    let tcp_state: u8 = read::field(sk, offset!(KERNEL_LAYOUT.sock_state));
    let mut state = State::zeroed();
    state.tgid = tgid;
    state.owner = owner;
    match i32::from(tcp_state) {
        // Go listens by MPTCP: such a socket is no TCP socket, but those it accepts mostly are.
        TCP_LISTEN if !tcp.is_null() || internet_protocol(sk) == IPPROTO_MPTCP => {
            state.flags = flag::SEEDED;
            state.role = role::LISTENER;
        }
        TCP_SYN_SENT if !tcp.is_null() => state.role = role::CLIENT,
        TCP_CLOSE | TCP_SYN_RECV | TCP_NEW_SYN_RECV => return,
        _ if tcp.is_null() => return,
        _ => {
            state.flags = flag::SEEDED;
            (state.base_sent_bytes, state.base_received_bytes) = payload(sk, tcp);
            state.base_retransmits = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_total_retrans));
            state.base_segments_out = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_segs_out));
            state.base_segments_in = read::field(tcp, offset!(KERNEL_LAYOUT.tcp_segs_in));
        }
    }
    address(sk, &mut state);
    place(sk, &mut state);
    if SOCKS.get_or_insert(sk, &mut state).is_null() {
        emit::add(counter::SOCK_NO_STORAGE);
    }
}

/// As `IPPROTO_…`; 0 for sockets of other families, which number their protocols otherwise.
#[inline(always)]
pub(super) fn internet_protocol(sk: *const c_void) -> u16 {
    let family: u16 = read::field(sk, offset!(KERNEL_LAYOUT.sock_family));
    if family == AF_INET || family == AF_INET6 {
        read::field(sk, offset!(KERNEL_LAYOUT.sock_protocol))
    } else {
        0
    }
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn sock_closed(ctx: BtfTracePointContext) -> i32 {
    let sk: *mut c_void = ctx.arg(0);
    let kept = SOCKS.get(sk);
    if kept.is_null() {
        return 0;
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    let state = unsafe { &mut *kept };
    if is_connection(state) {
        ended(sk, state, Closed::KIND);
    }
    0
}

#[inline(always)]
fn is_connection(state: &State) -> bool {
    let was_established = state.established_ktime_ns != 0 || state.flags & flag::SEEDED != 0;
    state.role != role::LISTENER && was_established && state.flags & flag::CLOSED == 0
}

#[repr(C)]
pub(crate) struct IterMeta {
    pub(crate) seq: *mut seq_file,
    session_id: u64,
    seq_num: u64,
}

/// `struct bpf_iter__bpf_sk_storage_map`.
#[repr(C)]
pub(crate) struct IterStorage {
    meta: *mut IterMeta,
    map: *mut c_void,
    sk: *mut c_void,
    value: *mut State,
}

/// What a walk answers when a socket is to be shown again, first thing in the next part.
const AGAIN: i32 = 1;

/// Which sockets a walk shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that are not as they were when they were shown last, those that are stuck, and listeners.
    News,
}

/// aya-ebpf has no macro for iterators; the section's name is enough.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
extern "C" fn sock_dump(ctx: *mut IterStorage) -> i32 {
    show(ctx, Which::All)
}

/// Of very many connections most are idle: a look at each is all that they cost.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
extern "C" fn sock_news(ctx: *mut IterStorage) -> i32 {
    show(ctx, Which::News)
}

#[inline(always)]
fn show(ctx: *mut IterStorage, which: Which) -> i32 {
    // SAFETY: the kernel hands a valid context; both pointers are null at the end of the walk.
    let (sk, value) = unsafe { ((*ctx).sk, (*ctx).value) };
    if sk.is_null() || value.is_null() {
        return 0;
    }
    // SAFETY: not null, and the iterator holds the socket.
    let state = unsafe { &mut *value };
    let tcp_state: u8 = read::field(sk, offset!(KERNEL_LAYOUT.sock_state));
    let looks = looks(sk, state.owner, tcp_state);
    if which == Which::News && state.shown == looks {
        return 0;
    }
    let tcp_state = i32::from(tcp_state);
    let listens = state.role == role::LISTENER && tcp_state == TCP_LISTEN;
    // The state is set after its tracepoint: in a handshake the entry may be half written on another CPU.
    let handshakes = matches!(tcp_state, TCP_SYN_SENT | TCP_SYN_RECV | TCP_NEW_SYN_RECV);
    if !listens && (!is_connection(state) || handshakes) {
        return 0;
    }
    let row = row(sk, state);
    if !emit::row(&row) {
        return AGAIN;
    }
    state.shown = if listens || is_stuck(sk, &row) { 0 } else { looks };
    0
}

/// Addresses and ports as they are now.
#[inline(always)]
pub(super) fn address(sk: *mut c_void, state: &mut State) {
    let family: u16 = read::field(sk, offset!(KERNEL_LAYOUT.sock_family));
    if family == AF_INET {
        state.local = packet::mapped(read::field(sk, offset!(KERNEL_LAYOUT.sock_rcv_saddr)));
        state.remote = packet::mapped(read::field(sk, offset!(KERNEL_LAYOUT.sock_daddr)));
    } else if has(offset!(KERNEL_LAYOUT.sock_v6_daddr)) {
        let sk = sk as u64;
        read::kernel_into(&mut state.local, sk + offset!(KERNEL_LAYOUT.sock_v6_rcv_saddr) as u64);
        read::kernel_into(&mut state.remote, sk + offset!(KERNEL_LAYOUT.sock_v6_daddr) as u64);
    }
    state.local_port = read::field(sk, offset!(KERNEL_LAYOUT.sock_num));
    let remote_port: u16 = read::field(sk, offset!(KERNEL_LAYOUT.sock_dport));
    state.remote_port = u16::from_be(remote_port);
}

/// Network namespace and cgroup: known on both sides, even where the process is not.
#[inline(always)]
pub(super) fn place(sk: *mut c_void, state: &mut State) {
    // Known to the verifier by its type, so no helper is called.
    let net: *const c_void = read::field(sk, offset!(KERNEL_LAYOUT.sock_net));
    state.netns = read::field(net, offset!(KERNEL_LAYOUT.net_inum));
    let is_known = has(offset!(KERNEL_LAYOUT.sock_cgroup))
        && has(offset!(KERNEL_LAYOUT.cgroup_kn))
        && has(offset!(KERNEL_LAYOUT.kernfs_node_id));
    if !is_known {
        return;
    }
    // Before Linux 5.15 this is a number to the verifier.
    let cgroup: u64 = read::field(sk, offset!(KERNEL_LAYOUT.sock_cgroup));
    if let Some(node) = read::kernel::<u64>(cgroup + offset!(KERNEL_LAYOUT.cgroup_kn) as u64) {
        read::kernel_into(&mut state.cgroup_id, node + offset!(KERNEL_LAYOUT.kernfs_node_id) as u64);
    }
}
