//! Client side. `(*http.Transport).roundTrip` begins a call as it does for HTTP/1; then
//!
//! begun --(stream opened --attempted with error, tried again)*--> attempted with a response
//!
//! The stream is opened by a goroutine of its own, which the caller starts for each attempt.

use agent_common::{
    counter,
    event::http::{end, protocol},
    layout::point,
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::{layout, watched};
use crate::{
    emit,
    maps::{SENT, remove},
    probes::http::{call_key, close, conn, finish, goroutine, key, regs, trace},
    read,
};

/// `(*clientStream).encodeAndWriteHeaders`: rax = *clientStream. It has its id, and nothing was sent yet.
#[uprobe(multi)]
fn http2_client_sent(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = watched(&ctx, point::HTTP2_CLIENT_SENT) else {
        return 0;
    };
    let Some(caller) = goroutine(&ctx, process.g_parent_goid) else {
        return 0;
    };
    let Some(kept) = SENT.get_ptr_mut(call_key(task, caller)) else {
        return 0;
    };
    if trace(kept).is_none() {
        return 0;
    }
    let layout = layout(&ctx, process);
    let stream = regs(&ctx).rax;
    let object: Option<u64> = read::user(stream + u64::from(layout.client_stream_conn));
    let id: Option<u32> = read::user(stream + u64::from(layout.client_stream_id));
    let (Some(object), Some(id)) = (object, id) else {
        return 0;
    };
    // SAFETY: the entry stays valid while the program runs.
    let call = unsafe { &mut *kept };
    call.reached_connection = 1;
    call.protocol = protocol::HTTP2;
    call.conn_object = object;
    let interface = object + u64::from(layout.client_conn);
    let place = || Some(conn::Place { interface, goid: 0 });
    if let Some(found) = conn::identify(conn::key(task, object), process, place) {
        conn::describe(call, found, conn::Position::Stream(id));
        conn::publish(call, found);
    }
    0
}

/// After `(*ClientConn).roundTrip` in `RoundTripOpt`: rax = the response, rbx = error's type.
#[uprobe(multi)]
fn http2_client_attempted(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = watched(&ctx, point::HTTP2_CLIENT_ATTEMPTED) else {
        return 0;
    };
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let Some(call) = SENT.get_ptr_mut(key) else {
        emit::add(counter::HTTP_END_WITHOUT_BEGIN);
        return 0;
    };
    if regs(&ctx).rbx != 0 {
        // SAFETY: the entry stays valid while the program runs.
        let object = unsafe { (*call).conn_object };
        // As for HTTP/1: a stream of a connection that closed a moment ago put the entry back.
        conn::forget(conn::key(task, object));
        return 0;
    }
    let status: Option<u64> = read::user(regs(&ctx).rax + u64::from(process.client_status));
    finish(call, task, end::RETURNED, status.unwrap_or(0) as u16);
    remove(&SENT, key);
    0
}

/// After `shouldRetryRequest` in `RoundTripOpt`: rbx = type of the error that is final, if one is.
#[uprobe(multi)]
fn http2_client_retry(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = watched(&ctx, point::HTTP2_CLIENT_RETRY) else {
        return 0;
    };
    if regs(&ctx).rbx == 0 {
        return 0;
    }
    if let Some(key) = key(&ctx, task, process)
        && let Some(call) = SENT.get_ptr_mut(key)
        && trace(call).is_some()
    {
        finish(call, task, end::FAILED, 0);
        // Not removed: the way back may lead past the end of an HTTP/1 attempt.
        close(call);
    }
    0
}

/// `(*clientConnReadLoop).cleanup`: rax = *clientConnReadLoop.
#[uprobe(multi)]
fn http2_client_conn_closed(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = watched(&ctx, point::HTTP2_CLIENT_CONN_CLOSED) else {
        return 0;
    };
    let field = regs(&ctx).rax + u64::from(layout(&ctx, process).read_loop_conn);
    if let Some(object) = read::user(field) {
        conn::forget(conn::key(task, object));
    }
    0
}
