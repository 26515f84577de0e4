//! Client side: `(*http2Client).NewStream` to the first `closeStream`.
//!
//! NewStream --(no room: waits --room again)*--> has an id --closeStream--> ended
//!
//! A call is kept by its goroutine until its stream has an id, and by that from then on: the end comes on whatever
//! goroutine. The id is given under the lock of the queue that the request goes out by, so a context that is
//! published there stands before the server can read the request.

use agent_common::{
    counter,
    event::http::{Call, end, protocol, side},
    layout::point,
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::{Stream, code, ended, name};
use crate::{
    emit,
    gate::{self, Task},
    maps::{CallKey, SENT, remove},
    probes::http::{Lineage, begin, complete, conn, key, lineage, regs},
    read::{self, GoString},
};

/// `codes.Unavailable`.
const UNAVAILABLE: u16 = 14;

/// `(*http2Client).NewStream`: rax = transport, rdi = *CallHdr. On the caller's goroutine.
#[uprobe(multi)]
fn grpc_client_begin(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::GRPC_CLIENT_BEGIN) else {
        return 0;
    };
    let (transport, header) = (regs(&ctx).rax, regs(&ctx).rdi);
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let method: Option<GoString> = read::user(header + u64::from(process.grpc.header_method));
    let host: Option<GoString> = read::user(header + u64::from(process.grpc.header_host));
    let (Some(method), Some(host)) = (method, host) else {
        return 0;
    };
    let Some(call) = begin(&SENT, key, side::CLIENT) else {
        return 0;
    };
    call.protocol = protocol::GRPC;
    call.conn_object = transport;
    name(call, method);
    call.host_len = read::go_string(host, &mut call.host);
    let Lineage { trace: [first, last], parent_span_id, joined_by } = lineage(&ctx, process, key);
    call.trace_id[..8].copy_from_slice(&first.to_ne_bytes());
    call.trace_id[8..].copy_from_slice(&last.to_ne_bytes());
    call.parent_span_id = parent_span_id;
    call.joined_by = joined_by;
    0
}

/// `(*http2Client).NewStream.func3`, `checkForStreamQuota`: where a stream gets its id, if there is room for one more.
/// It is called under the lock of `controlBuf`, and nothing else changes the two fields.
#[uprobe(multi)]
fn grpc_client_stream(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::GRPC_CLIENT_STREAM) else {
        return 0;
    };
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let Some(call) = SENT.get_ptr_mut(key) else {
        return 0;
    };
    // SAFETY: the entry stays valid while the program runs.
    let call = unsafe { &mut *call };
    let transport = call.conn_object;
    let quota: Option<i64> = read::user(transport + u64::from(process.grpc.client_quota));
    let next: Option<u32> = read::user(transport + u64::from(process.grpc.client_next_id));
    let (Some(1..), Some(id)) = (quota, next) else {
        return 0;
    };
    call.seq = id;
    call.reached_connection = 1;
    let interface = transport + u64::from(process.grpc.client_conn);
    let place = || Some(conn::Place { interface, goid: 0 });
    if let Some(found) = conn::identify(conn::key(task, transport), process, place) {
        conn::describe(call, found, conn::Position::Stream(id));
        conn::publish(call, found);
    }
    let kept: &Call = call;
    if SENT.insert(stream_key(task, transport, id), kept, 0).is_err() {
        emit::add(counter::HTTP_NOT_KEPT);
    }
    remove(&SENT, key);
    0
}

/// Of a stream, apart from those of goroutines: these are of a tgid alone, and no stream has the id 0.
#[inline(always)]
fn stream_key(task: Task, transport: u64, id: u32) -> CallKey {
    CallKey { tgid: u64::from(id) << 32 | u64::from(task.tgid), goid: transport }
}

/// `(*http2Client).closeStream`: rax = transport, rbx = stream, r9 = *Status. Of several hits the first is the end.
#[uprobe(multi)]
fn grpc_client_end(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::GRPC_CLIENT_END) else {
        return 0;
    };
    let (transport, status) = (regs(&ctx).rax, regs(&ctx).r9);
    let Some(stream) = Stream::of(regs(&ctx).rbx, process) else {
        return 0;
    };
    let Some(id) = stream.id(process) else {
        return 0;
    };
    let key = stream_key(task, transport, id);
    let Some(call) = SENT.get_ptr_mut(key) else {
        stream.count_end(key, process);
        return 0;
    };
    ended(key);
    // One of several ends finds the entry to remove, and only its word counts.
    let is_first = || SENT.remove(key).is_ok();
    let Some(code) = code(status, process) else {
        is_first();
        return 0;
    };
    emit::copy_once(call, |call| complete(call, task, end::RETURNED, code), is_first);
    if code == UNAVAILABLE {
        // The connection may be gone: a call that began while it closed has put the entry back.
        conn::forget(conn::key(task, transport));
    }
    0
}

/// `(*http2Client).Close`: rax = transport.
#[uprobe(multi)]
fn grpc_client_closed(ctx: ProbeContext) -> u32 {
    if let Some((task, _)) = gate::watched(point::GRPC_CLIENT_CLOSED) {
        conn::forget(conn::key(task, regs(&ctx).rax));
    }
    0
}
