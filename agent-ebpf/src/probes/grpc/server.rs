//! Server side: `(*Server).handleStream` to the first `writeStatus`, both on the handler's goroutine.

use agent_common::{
    counter,
    event::http::{end, joined_by, protocol, side},
    layout::point,
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::{Stream, code, ended, name};
use crate::{
    emit, gate,
    maps::{SERVED, remove},
    probes::http::{begin, conn, finish, key, regs, root},
};

/// `(*Server).handleStream`: rbx, rcx = ServerTransport, rdi = stream.
#[uprobe(multi)]
fn grpc_server_begin(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::GRPC_SERVER_BEGIN) else {
        return 0;
    };
    let (itab, transport) = (regs(&ctx).rbx, regs(&ctx).rcx);
    if itab != process.grpc.server_transport_itab {
        // HTTP/2 of net/http, whose handler this goroutine runs.
        emit::add(counter::GRPC_OTHER_TRANSPORT);
        return 0;
    }
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let Some(stream) = Stream::of(regs(&ctx).rdi, process) else {
        return 0;
    };
    let (Some(id), Some(method)) = (stream.id(process), stream.method(process)) else {
        return 0;
    };
    let Some(call) = begin(&SERVED, key, side::SERVER) else {
        return 0;
    };
    call.protocol = protocol::GRPC;
    call.seq = id;
    name(call, method);
    let interface = transport + u64::from(process.grpc.server_conn);
    let place = || Some(conn::Place { interface, goid: 0 });
    if let Some(found) = conn::identify(conn::key(task, transport), process, place) {
        conn::describe(call, found, conn::Position::Stream(id));
        conn::inherit(call, found);
    }
    if call.joined_by == joined_by::NOTHING {
        root(call);
    }
    0
}

/// `(*http2Server).writeStatus`: rbx = stream, rcx = *Status.
#[uprobe(multi)]
fn grpc_server_end(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::GRPC_SERVER_END) else {
        return 0;
    };
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let Some(call) = SERVED.get_ptr_mut(key) else {
        if let Some(stream) = Stream::of(regs(&ctx).rbx, process) {
            stream.count_end(key, process);
        }
        return 0;
    };
    ended(key);
    if let Some(code) = code(regs(&ctx).rcx, process) {
        finish(call, task, end::RETURNED, code);
    }
    remove(&SERVED, key);
    0
}

/// `(*http2Server).Close`: rax = transport.
#[uprobe(multi)]
fn grpc_server_closed(ctx: ProbeContext) -> u32 {
    if let Some((task, _)) = gate::watched(point::GRPC_SERVER_CLOSED) {
        conn::forget(conn::key(task, regs(&ctx).rax));
    }
    0
}
