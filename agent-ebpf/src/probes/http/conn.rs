//! Which TCP connection a request is on, and the context that crosses it.
//!
//! The way: net.Conn interface -> (gRPC's wrapping ->) (*tls.Conn ->) *net.TCPConn -> netFD.pfd.Sysfd -> the kernel's file
//! table -> socket -> sock. It is walked once for each connection and kept; each request then
//! costs one look-up and one read. A conn of another type has no identity: never a guess.

use agent_common::{
    counter,
    event::http::{Call, joined_by, protocol},
    layout::GoProcess,
    pure::packet::mapped,
};
use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::{
    emit,
    gate::Task,
    maps::{CONNS, CONTEXTS, Conn, ConnKey, Context, JoinKey, has, offset, remove},
    read,
};

/// Further than this a request cannot reach into its connection: the context is another's.
const MAX_REQUEST_BYTES: u32 = 1 << 24;
/// Stream ids are those of another connection with the same ports, too: it began elsewhere. By 64 ns it is further by
/// one, and where a port is used again before its time has gone, by 65,537 (`tcp_twsk_unique`, Linux 6.18). The two
/// ends reckon the number by one from another, and amiss while the kernel adds to what it is reckoned from.
const SAME_CONNECTION: u32 = 1 << 15;
/// So often that is asked again.
const MAX_ISN_READS: usize = 4;

/// What marks a request in its connection.
#[derive(Clone, Copy)]
pub(in crate::probes) enum Position {
    /// What the client will send next.
    Written,
    /// What the server's application has read.
    Consumed,
    /// Of HTTP/2 and gRPC.
    Stream(u32),
}

/// The connection that `object` stands for in the process.
#[inline(always)]
pub(in crate::probes) fn key(task: Task, object: u64) -> ConnKey {
    ConnKey { tgid: u64::from(task.tgid), object }
}

/// Where a connection that is not kept yet is found.
pub(in crate::probes) struct Place {
    /// Address of its net.Conn.
    pub(in crate::probes) interface: u64,
    pub(in crate::probes) goid: u64,
}

/// The socket of a connection; `place` is asked when it is a new one.
#[inline(always)]
pub(in crate::probes) fn identify(
    key: ConnKey,
    process: &GoProcess,
    place: impl FnOnce() -> Option<Place>,
) -> Option<&'static Conn> {
    if let Some(kept) = kept(key)
        && still(kept)
    {
        return Some(kept);
    }
    let Place { interface, goid } = place()?;
    match walk(process, interface) {
        Some(found) if CONNS.insert(key, Conn { goid, ..found }, 0).is_ok() => kept(key),
        _ => {
            emit::add(counter::HTTP_NO_IDENTITY);
            None
        }
    }
}

#[inline(always)]
pub(in crate::probes) fn kept(key: ConnKey) -> Option<&'static Conn> {
    // SAFETY: the entry stays readable while the program runs.
    CONNS.get_ptr(key).map(|kept| unsafe { &*kept })
}

/// The connection ended: its object's address will be used again.
#[inline(always)]
pub(in crate::probes) fn forget(key: ConnKey) {
    // Most connections end without ever having carried a request of ours.
    remove(&CONNS, key);
}

/// Whether the kept `struct sock` is still this connection's: the kernel uses addresses again, too.
#[inline(always)]
fn still(conn: &Conn) -> bool {
    ports(conn.sk) == Some((conn.local_port, conn.remote_port))
}

#[inline(always)]
fn ports(sk: u64) -> Option<(u16, u16)> {
    let (local_at, remote_at) = (offset!(KERNEL_LAYOUT.sock_num), offset!(KERNEL_LAYOUT.sock_dport));
    let [remote, local] = if remote_at + size_of::<u16>() == local_at {
        read::kernel::<[u16; 2]>(sk + remote_at as u64)?
    } else {
        [read::kernel(sk + remote_at as u64)?, read::kernel(sk + local_at as u64)?]
    };
    Some((local, u16::from_be(remote)))
}

/// With a stack of its own: the caller's is full of the request.
#[inline(never)]
fn walk(process: &GoProcess, interface: u64) -> Option<Conn> {
    if process.tcp_conn_itab == 0 {
        return None;
    }
    let [mut itab, mut data] = read::user::<[u64; 2]>(interface)?;
    if itab != 0 && itab == process.grpc.wrapped_conn_itab {
        [itab, data] = read::user::<[u64; 2]>(data + u64::from(process.grpc.wrapped_conn))?;
    }
    if is_tls(process, itab) {
        [itab, data] = read::user::<[u64; 2]>(data + u64::from(process.tls_conn_conn))?;
    }
    if itab != process.tcp_conn_itab {
        return None;
    }
    let net_fd: u64 = read::user(data + u64::from(process.tcp_conn_fd))?;
    let fd: i64 = read::user(net_fd + u64::from(process.net_fd_sysfd))?;
    socket(u64::try_from(fd).ok()?)
}

#[inline(always)]
fn is_tls(process: &GoProcess, itab: u64) -> bool {
    let [a, b, c, d] = process.tls_conn_itabs;
    itab != 0 && (itab == a || itab == b || itab == c || itab == d)
}

/// The TCP socket behind a file descriptor of the current process.
#[inline(always)]
fn socket(fd: u64) -> Option<Conn> {
    let is_known = has(offset!(FILE_LAYOUT.task_files))
        && has(offset!(FILE_LAYOUT.files_fdt))
        && has(offset!(FILE_LAYOUT.fdtable_fd))
        && has(offset!(FILE_LAYOUT.fdtable_max_fds))
        && has(offset!(FILE_LAYOUT.file_private_data))
        && has(offset!(KERNEL_LAYOUT.socket_file));
    if !is_known {
        return None;
    }
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read::kernel(task + offset!(FILE_LAYOUT.task_files) as u64)?;
    let table: u64 = read::kernel(files + offset!(FILE_LAYOUT.files_fdt) as u64)?;
    let max: u32 = read::kernel(table + offset!(FILE_LAYOUT.fdtable_max_fds) as u64)?;
    if u64::from(max) <= fd {
        return None;
    }
    let array: u64 = read::kernel(table + offset!(FILE_LAYOUT.fdtable_fd) as u64)?;
    let file: u64 = read::kernel(array + fd * 8)?;
    let socket: u64 = read::kernel(file + offset!(FILE_LAYOUT.file_private_data) as u64)?;
    // Only a socket points back to its file.
    if read::kernel::<u64>(socket + offset!(KERNEL_LAYOUT.socket_file) as u64)? != file {
        return None;
    }
    let sk: u64 = read::kernel(socket + offset!(KERNEL_LAYOUT.socket_sk) as u64)?;
    let (local_port, remote_port) = ports(sk)?;
    let (local, remote) = addresses(sk)?;
    let netns = if is_loopback(&local) { namespace(sk)? } else { 0 };
    let local_isn = isn(sk, offset!(KERNEL_LAYOUT.tcp_snd_una), offset!(TCP_LAYOUT.tcp_bytes_acked))?;
    let remote_isn = isn(sk, offset!(KERNEL_LAYOUT.tcp_rcv_nxt), offset!(KERNEL_LAYOUT.tcp_bytes_received))?;
    Some(Conn { goid: 0, sk, local, remote, local_port, remote_port, netns, local_isn, remote_isn })
}

/// Where a direction of a connection began: where it is, less what it has carried. Packets may come meanwhile.
#[inline(always)]
fn isn(sk: u64, seq_at: usize, bytes_at: usize) -> Option<u32> {
    if !has(bytes_at) {
        return Some(0);
    }
    let mut seq: u32 = read::kernel(sk + seq_at as u64)?;
    let mut bytes = 0;
    for _ in 0..MAX_ISN_READS {
        // The lower half of a `u64`.
        bytes = read::kernel(sk + bytes_at as u64)?;
        let again = read::kernel(sk + seq_at as u64)?;
        if seq == again {
            break;
        }
        seq = again;
    }
    Some(seq.wrapping_sub(bytes))
}

#[inline(always)]
fn addresses(sk: u64) -> Option<([u8; 16], [u8; 16])> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    match read::kernel::<u16>(sk + offset!(KERNEL_LAYOUT.sock_family) as u64)? {
        AF_INET => Some((
            mapped(read::kernel(sk + offset!(KERNEL_LAYOUT.sock_rcv_saddr) as u64)?),
            mapped(read::kernel(sk + offset!(KERNEL_LAYOUT.sock_daddr) as u64)?),
        )),
        AF_INET6 if has(offset!(KERNEL_LAYOUT.sock_v6_daddr)) => Some((
            read::kernel(sk + offset!(KERNEL_LAYOUT.sock_v6_rcv_saddr) as u64)?,
            read::kernel(sk + offset!(KERNEL_LAYOUT.sock_v6_daddr) as u64)?,
        )),
        _ => None,
    }
}

/// 127.0.0.0/8, mapped, or ::1.
#[inline(always)]
fn is_loopback(address: &[u8; 16]) -> bool {
    let high = u64::from_ne_bytes([
        address[0], address[1], address[2], address[3], address[4], address[5], address[6], address[7],
    ]);
    let mapped = address[10] == 0xff && address[12] == 127;
    high == 0 && (mapped || (address[10] == 0 && address[12] == 0 && address[15] == 1))
}

#[inline(always)]
fn namespace(sk: u64) -> Option<u32> {
    let net: u64 = read::kernel(sk + offset!(KERNEL_LAYOUT.sock_net) as u64)?;
    read::kernel(net + offset!(KERNEL_LAYOUT.net_inum) as u64)
}

/// Writes the connection and the request's place in it into the record.
#[inline(always)]
pub(in crate::probes) fn describe(call: &mut Call, conn: &Conn, position: Position) {
    call.local = read::whole(&conn.local);
    call.remote = read::whole(&conn.remote);
    call.local_port = conn.local_port;
    call.remote_port = conn.remote_port;
    call.netns = conn.netns;
    call.seq = match position {
        Position::Written => sequence(conn, offset!(KERNEL_LAYOUT.tcp_write_seq)),
        Position::Consumed => sequence(conn, offset!(KERNEL_LAYOUT.tcp_copied_seq)),
        Position::Stream(id) => id,
    };
}

#[inline(always)]
fn sequence(conn: &Conn, field: usize) -> u32 {
    read::kernel(conn.sk + field as u64).unwrap_or(0)
}

#[inline(always)]
fn has_streams(call: &Call) -> bool {
    call.protocol >= protocol::HTTP2
}

/// The client's end: leaves the context where the server's end finds it. Before the request is sent.
#[inline(always)]
pub(in crate::probes) fn publish(call: &Call, conn: &Conn) {
    let key = JoinKey {
        client: read::whole(&conn.local),
        server: read::whole(&conn.remote),
        client_port: conn.local_port,
        server_port: conn.remote_port,
        netns: conn.netns,
        stream: if has_streams(call) { call.seq } else { 0 },
    };
    let seq = if has_streams(call) { conn.local_isn } else { call.seq };
    let context = Context { trace_id: call.trace_id, span_id: call.span_id, seq, reserved: 0 };
    if CONTEXTS.insert(key, context, 0).is_err() {
        emit::add(counter::HTTP_NOT_KEPT);
    }
}

/// The server's end: the client call of the same stream is the parent; without streams, the one that wrote just
/// before what was read.
#[inline(always)]
pub(in crate::probes) fn inherit(call: &mut Call, conn: &Conn) {
    let key = JoinKey {
        client: read::whole(&conn.remote),
        server: read::whole(&conn.local),
        client_port: conn.remote_port,
        server_port: conn.local_port,
        netns: conn.netns,
        stream: if has_streams(call) { call.seq } else { 0 },
    };
    // SAFETY: the value is copied at once.
    let Some(context) = (unsafe { CONTEXTS.get(key) }) else {
        return;
    };
    let context = *context;
    let is_its_own = if has_streams(call) {
        // A stream is served once.
        remove(&CONTEXTS, key);
        conn.remote_isn.wrapping_sub(context.seq).wrapping_add(SAME_CONNECTION) <= 2 * SAME_CONNECTION
    } else {
        let distance = call.seq.wrapping_sub(context.seq);
        0 < distance && distance <= MAX_REQUEST_BYTES
    };
    if is_its_own {
        call.trace_id = read::whole(&context.trace_id);
        call.parent_span_id = context.span_id;
        call.joined_by = joined_by::CONNECTION;
    }
}
