//! Server side: `serverHandler.ServeHTTP` to `(*response).finishRequest`, or one of the other ends.

use agent_common::{
    counter,
    event::http::{end, joined_by, protocol, side},
    layout::{GoProcess, point},
    limits::{METHOD_BYTES, ROUTE_BYTES},
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::{
    begin, call_key, close, conn, finish, front::Front, goroutine, key, line, regs, root, trace, version,
};
use crate::{
    emit,
    gate::{self, Task},
    maps::{CallKey, ConnKey, SERVED, remove},
    read,
};

/// From `Method` to `RequestURI`, up to Go 1.27.
pub(super) const REQUEST_WORDS: usize = 26;

/// `net/http.serverHandler.ServeHTTP`: rcx = *response, rdi = *Request.
#[uprobe(multi)]
fn server_begin(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::SERVER_BEGIN) else {
        return 0;
    };
    let response = regs(&ctx).rcx;
    let mut request = Front::<REQUEST_WORDS>::at(regs(&ctx).rdi);
    if !request.read() {
        return 0;
    }
    // HTTP/2 comes through here, too, after a begin of its own.
    match request.field::<u64>(process.request_proto_major) {
        Some(1) => {}
        Some(_) => return other_protocol(&ctx, task, process, &request),
        None => return 0,
    }
    let found = conn::identify(conn_key(&ctx, task), process, || place(&ctx, process, response));
    let goid = match found {
        Some(found) => Some(found.goid),
        None => goroutine(&ctx, process.g_goid),
    };
    let Some(goid) = goid else {
        return 0;
    };
    let Some(call) = begin(&SERVED, call_key(task, goid), side::SERVER) else {
        return 0;
    };
    call.protocol = protocol::HTTP1;
    call.minor = version(request.field(process.request_proto_minor));
    line::read(call, &request, process.request_method, process.request_uri);
    call.host_len = request.text(process.request_host, &mut call.host);
    if let Some(found) = found {
        conn::describe(call, found, conn::Position::Consumed);
        conn::inherit(call, found);
    }
    if call.joined_by == joined_by::NOTHING {
        root(call);
    }
    0
}

/// Counts what has no begin. `PRI` is no request: it begins a connection of HTTP/2 without TLS.
#[inline(always)]
fn other_protocol(
    ctx: &ProbeContext,
    task: Task,
    process: &GoProcess,
    request: &Front<REQUEST_WORDS>,
) -> u32 {
    let is_open = key(ctx, task, process).is_some_and(|key| SERVED.get_ptr(key).is_some());
    let mut method = [0; METHOD_BYTES];
    if !is_open && (request.text(process.request_method, &mut method) != 3 || !method.starts_with(b"PRI")) {
        emit::add(counter::HTTP2_SERVED);
    }
    0
}

/// A connection has a goroutine of its own, from its begin to its end (`(*conn).serve`).
#[inline(always)]
fn conn_key(ctx: &ProbeContext, task: Task) -> ConnKey {
    conn::key(task, regs(ctx).r14)
}

#[inline(always)]
fn place(ctx: &ProbeContext, process: &GoProcess, response: u64) -> Option<conn::Place> {
    let goid = goroutine(ctx, process.g_goid)?;
    let object: u64 = read::user(response + u64::from(process.response_conn))?;
    Some(conn::Place { interface: object + u64::from(process.conn_rwc), goid })
}

/// After `(*ServeMux).findHandler` in `(*ServeMux).ServeHTTP`: rcx, rdi = pattern.
#[uprobe(multi)]
fn server_route(ctx: ProbeContext) -> u32 {
    matched(&ctx, point::SERVER_ROUTE)
}

/// After `(*serveMux121).findHandler`, which is in its place when the program asks for the mux of Go 1.21.
#[uprobe(multi)]
fn server_route_121(ctx: ProbeContext) -> u32 {
    matched(&ctx, point::SERVER_ROUTE_121)
}

/// Where muxes are nested the innermost comes last, and one that finds nothing does not take away what an outer one
/// has found.
#[inline(always)]
fn matched(ctx: &ProbeContext, point: usize) -> u32 {
    let Some((task, process)) = gate::watched(point) else {
        return 0;
    };
    let (at, len) = (regs(ctx).rcx, regs(ctx).rdi);
    if len == 0 || (ROUTE_BYTES as u64) < len {
        return 0;
    }
    if let Some(key) = key(ctx, task, process)
        && let Some(call) = SERVED.get_ptr_mut(key)
        && trace(call).is_some()
    {
        // SAFETY: the entry stays valid while the program runs, and only this goroutine looks it up.
        let call = unsafe { &mut *call };
        call.route_len = read::go_string([at, len], &mut call.route);
    }
    0
}

/// `net/http.(*response).finishRequest`: rax = *response. The handler has returned.
#[uprobe(multi)]
fn server_end(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::SERVER_END) else {
        return 0;
    };
    let status: Option<u64> = read::user(regs(&ctx).rax + u64::from(process.response_status));
    if !ended(&ctx, task, process, end::RETURNED, status.unwrap_or(0) as u16) {
        emit::add(counter::HTTP_END_WITHOUT_BEGIN);
    }
    0
}

/// `net/http.(*conn).hijackLocked`. HTTP ends here.
#[uprobe(multi)]
fn server_hijacked(ctx: ProbeContext) -> u32 {
    const SWITCHING_PROTOCOLS: u16 = 101;
    let Some((task, process)) = gate::watched(point::SERVER_HIJACKED) else {
        return 0;
    };
    ended(&ctx, task, process, end::HIJACKED, SWITCHING_PROTOCOLS);
    0
}

/// `net/http.(*conn).serve.func1`: deferred, once for each connection. What is still open has panicked.
#[uprobe(multi)]
fn server_deferred(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::SERVER_DEFERRED) else {
        return 0;
    };
    ended(&ctx, task, process, end::ABORTED, 0);
    if let Some(key) = served(&ctx, task, process) {
        remove(&SERVED, key);
    }
    conn::forget(conn_key(&ctx, task));
    0
}

/// The key of this goroutine's request.
#[inline(always)]
fn served(ctx: &ProbeContext, task: Task, process: &GoProcess) -> Option<CallKey> {
    let goid = match conn::kept(conn_key(ctx, task)) {
        Some(kept) => kept.goid,
        None => goroutine(ctx, process.g_goid)?,
    };
    Some(call_key(task, goid))
}

/// Whether a request of this goroutine was open.
///
/// Its entry stays for the next one: a connection has one goroutine, and to make an entry and to remove it
/// for each request costs a third of a begin.
#[inline(always)]
fn ended(ctx: &ProbeContext, task: Task, process: &GoProcess, end: u8, status: u16) -> bool {
    let Some(key) = served(ctx, task, process) else {
        return false;
    };
    let Some(call) = SERVED.get_ptr_mut(key) else {
        return false;
    };
    if trace(call).is_none() {
        return false;
    }
    finish(call, task, end, status);
    close(call);
    true
}
