//! Client side: `(*Transport).roundTrip` to the headers of the response, or the final error.
//!
//! begin --(sent --attempted with error, tried again)*--> attempted with a response
//!
//! An attempt that failed leaves the entry: `shouldRetryRequest` says whether it was the last.

use agent_common::{
    counter,
    event::http::{Call, end, joined_by, side},
    layout::{GoProcess, point},
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::{begin, conn, finish, front::Front, goroutine, key, regs, root, trace};
use crate::{
    emit, gate,
    maps::{CallKey, SENT, SERVED, remove},
    read,
};

/// `Method` and `URL`.
const REQUEST_WORDS: usize = 3;
/// From `Scheme` to `Path`.
const URL_WORDS: usize = 9;

/// `net/http.(*Transport).roundTrip`: rbx = *Request.
#[uprobe(multi)]
fn client_begin(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::CLIENT_BEGIN) else {
        return 0;
    };
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let request = regs(&ctx).rbx;
    let Some(call) = begin(&SENT, key, side::CLIENT) else {
        return 0;
    };
    let mut request = Front::<REQUEST_WORDS>::at(request);
    if request.read() {
        call.method_len = request.text(process.request_method, &mut call.method);
        if let Some(url) = request.field(process.request_url) {
            let mut url = Front::<URL_WORDS>::at(url);
            if url.read() {
                call.path_len = url.text(process.url_path, &mut call.path);
                call.host_len = url.text(process.url_host, &mut call.host);
            }
        }
    }
    inherit(&ctx, process, key, call);
    0
}

/// The server request of this goroutine, else of the goroutine that started it, is the parent.
#[inline(always)]
fn inherit(ctx: &ProbeContext, process: &GoProcess, key: CallKey, call: &mut Call) {
    if let Some(parent) = SERVED.get_ptr(key)
        && under(call, parent)
    {
        call.joined_by = joined_by::GOID;
        return;
    }
    if let Some(goid) = goroutine(ctx, process.g_parent_goid)
        && let Some(parent) = SERVED.get_ptr(CallKey { tgid: key.tgid, goid })
        && under(call, parent)
    {
        call.joined_by = joined_by::PARENT_GOID;
        return;
    }
    root(call);
}

/// Whether the parent's request is whole.
#[inline(always)]
fn under(call: &mut Call, parent: *const Call) -> bool {
    let Some([first, last]) = trace(parent) else {
        return false;
    };
    // SAFETY: the entry stays readable while the program runs.
    let parent_span_id = unsafe { (*parent).span_id };
    call.trace_id[..8].copy_from_slice(&first.to_ne_bytes());
    call.trace_id[8..].copy_from_slice(&last.to_ne_bytes());
    call.parent_span_id = parent_span_id;
    true
}

/// After `(*Transport).getConn` in `roundTrip`: rbx = error's type. No connection, no attempt.
#[uprobe(multi)]
fn client_conn(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::CLIENT_CONN) else {
        return 0;
    };
    if regs(&ctx).rbx == 0 {
        return 0;
    }
    if let Some(key) = key(&ctx, task, process)
        && let Some(call) = SENT.get_ptr_mut(key)
    {
        finish(call, task, end::NO_CONNECTION, 0);
        remove(&SENT, key);
    }
    0
}

/// `net/http.(*persistConn).roundTrip`: rax = *persistConn. The request goes out on this connection.
#[uprobe(multi)]
fn client_sent(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::CLIENT_SENT) else {
        return 0;
    };
    let object = regs(&ctx).rax;
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let Some(kept) = SENT.get_ptr_mut(key) else {
        return 0;
    };
    // SAFETY: the entry stays valid while the program runs.
    let call = unsafe { &mut *kept };
    call.reached_connection = 1;
    call.conn_object = object;
    let interface = object + u64::from(process.persist_conn_conn);
    let place = || Some(conn::Place { interface, goid: 0 });
    if let Some(found) = conn::identify(conn::key(task, object), process, place) {
        conn::describe(call, found, conn::Position::Written);
        conn::publish(call, found);
    }
    0
}

/// After `(*persistConn).roundTrip` in `roundTrip`: rax = *Response, rbx = error's type.
#[uprobe(multi)]
fn client_attempted(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::CLIENT_ATTEMPTED) else {
        return 0;
    };
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let Some(call) = SENT.get_ptr_mut(key) else {
        emit::add(counter::HTTP_END_WITHOUT_BEGIN);
        return 0;
    };
    // SAFETY: the entry stays valid while the program runs.
    let attempted = unsafe { (*call).reached_connection != 0 };
    if !attempted {
        // HTTP/2's round trip jumps to the same instruction.
        emit::add(counter::HTTP2_CALLS);
        remove(&SENT, key);
        return 0;
    }
    let failed = regs(&ctx).rbx != 0;
    if failed {
        // SAFETY: the entry stays valid while the program runs.
        let object = unsafe { (*call).conn_object };
        // A call on a connection that closed a moment ago put the entry back.
        conn::forget(conn::key(task, object));
        return 0;
    }
    let status: Option<u64> = read::user(regs(&ctx).rax + u64::from(process.client_status));
    finish(call, task, end::RETURNED, status.unwrap_or(0) as u16);
    remove(&SENT, key);
    0
}

/// After `(*persistConn).shouldRetryRequest` in `roundTrip`: al = 0 says that the error is final.
#[uprobe(multi)]
fn client_retry(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::CLIENT_RETRY) else {
        return 0;
    };
    if regs(&ctx).rax as u8 != 0 {
        return 0;
    }
    if let Some(key) = key(&ctx, task, process)
        && let Some(call) = SENT.get_ptr_mut(key)
    {
        finish(call, task, end::FAILED, 0);
        remove(&SENT, key);
    }
    0
}

/// `net/http.(*persistConn).closeLocked`: rax = *persistConn.
#[uprobe(multi)]
fn client_conn_closed(ctx: ProbeContext) -> u32 {
    if let Some((task, _)) = gate::watched(point::CLIENT_CONN_CLOSED) {
        conn::forget(conn::key(task, regs(&ctx).rax));
    }
    0
}
