//! Client side: `(*Transport).roundTrip` to the headers of the response, or the final error.
//!
//! begin --(sent --attempted with error, tried again)*--> attempted with a response
//!
//! An attempt that failed leaves the entry: `shouldRetryRequest` says whether it was the last.

use agent_common::{
    counter,
    event::http::{end, protocol, side},
    layout::{GoProcess, point},
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::{Lineage, begin, conn, finish, front::Front, http2, key, lineage, regs, trace, version};
use crate::{
    emit, gate,
    maps::{SENT, remove},
    read,
};

/// `Method` and `URL`.
const REQUEST_WORDS: usize = 3;
/// From `Scheme` to `Path`.
const URL_WORDS: usize = 9;

/// From `Status` to `ProtoMinor`.
const RESPONSE_WORDS: usize = 7;

/// `net/http.(*Transport).roundTrip`: rbx = *Request. Of golang.org/x/net/http2, which may be asked without that
/// and behind it, `(*Transport).RoundTripOpt` has the same.
#[uprobe(multi)]
fn client_begin(ctx: ProbeContext) -> u32 {
    let is_separate = http2::is_separate(&ctx);
    let point = if is_separate { point::SEPARATE_CLIENT_BEGIN } else { point::CLIENT_BEGIN };
    let Some((task, process)) = gate::watched(point) else {
        return 0;
    };
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    if is_separate && SENT.get_ptr(key).is_some_and(|call| trace(call).is_some()) {
        return 0;
    }
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
    let Lineage { trace: [first, last], parent_span_id, joined_by } = lineage(&ctx, process, key);
    call.trace_id[..8].copy_from_slice(&first.to_ne_bytes());
    call.trace_id[8..].copy_from_slice(&last.to_ne_bytes());
    call.parent_span_id = parent_span_id;
    call.joined_by = joined_by;
    0
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
    call.protocol = protocol::HTTP1;
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
    let failed = regs(&ctx).rbx != 0;
    let response = regs(&ctx).rax;
    // HTTP/2's round trip jumps to the same instruction, when its own end is over.
    let Some(call) = SENT.get_ptr_mut(key) else {
        if failed || !is_http2(response, process) {
            emit::add(counter::HTTP_END_WITHOUT_BEGIN);
        }
        return 0;
    };
    if trace(call).is_none() {
        remove(&SENT, key);
        return 0;
    }
    if failed {
        // SAFETY: the entry stays valid while the program runs.
        let object = unsafe { (*call).conn_object };
        // A call on a connection that closed a moment ago put the entry back.
        conn::forget(conn::key(task, object));
        return 0;
    }
    // SAFETY: the entry stays valid while the program runs.
    let attempted = unsafe { (*call).reached_connection != 0 };
    if !attempted {
        emit::add(counter::HTTP2_CALLS);
        remove(&SENT, key);
        return 0;
    }
    let mut response = Front::<RESPONSE_WORDS>::at(response);
    let mut status = 0;
    if response.read() {
        status = response.field::<u64>(process.client_status).unwrap_or(0);
        // SAFETY: the entry stays valid while the program runs.
        unsafe { (*call).minor = version(response.field(process.client_proto_minor)) };
    }
    finish(call, task, end::RETURNED, status as u16);
    remove(&SENT, key);
    0
}

#[inline(always)]
fn is_http2(response: u64, process: &GoProcess) -> bool {
    read::user::<u64>(response + u64::from(process.client_proto_major)) == Some(2)
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
