//! Server side: `serverHandler.ServeHTTP` to `(*response).finishRequest`, or one of the other ends.

use agent_common::{
    counter,
    event::http::{end, joined_by, side},
    layout::{GoProcess, point},
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::{begin, conn, finish, front::Front, key, regs, root};
use crate::{
    emit,
    gate::{self, Task},
    maps::{SERVED, remove},
    read,
};

/// From `Method` to `RequestURI`, up to Go 1.27.
const REQUEST_WORDS: usize = 26;

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
    // HTTP/2 comes through here, too, but on a goroutine of its own and with another end.
    match request.field::<u64>(process.request_proto_major) {
        Some(1) => {}
        Some(_) => {
            emit::add(counter::HTTP2_SERVED);
            return 0;
        }
        None => return 0,
    }
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let Some(call) = begin(&SERVED, key, side::SERVER) else {
        return 0;
    };
    call.method_len = request.text(process.request_method, &mut call.method);
    call.path_len = request.text(process.request_uri, &mut call.path);
    call.host_len = request.text(process.request_host, &mut call.host);
    if let Some(object) = read::user::<u64>(response + u64::from(process.response_conn))
        && let Some(found) = conn::identify(task, process, object, object + u64::from(process.conn_rwc))
    {
        conn::describe(call, found, conn::Position::Consumed);
        conn::inherit(call, found);
    }
    if call.joined_by == joined_by::NOTHING {
        root(call);
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

/// `net/http.(*conn).hijackLocked`: rax = *conn. HTTP ends here.
#[uprobe(multi)]
fn server_hijacked(ctx: ProbeContext) -> u32 {
    const SWITCHING_PROTOCOLS: u16 = 101;
    let Some((task, process)) = gate::watched(point::SERVER_HIJACKED) else {
        return 0;
    };
    ended(&ctx, task, process, end::HIJACKED, SWITCHING_PROTOCOLS);
    conn::forget(task, regs(&ctx).rax);
    0
}

/// `net/http.(*conn).serve.func1`: deferred, once for each connection. What is still open has panicked.
#[uprobe(multi)]
fn server_deferred(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::SERVER_DEFERRED) else {
        return 0;
    };
    ended(&ctx, task, process, end::ABORTED, 0);
    0
}

/// `net/http.(*conn).close`: rax = *conn.
#[uprobe(multi)]
fn server_conn_closed(ctx: ProbeContext) -> u32 {
    if let Some((task, _)) = gate::watched(point::SERVER_CONN_CLOSED) {
        conn::forget(task, regs(&ctx).rax);
    }
    0
}

/// Whether a request of this goroutine was open.
#[inline(always)]
fn ended(ctx: &ProbeContext, task: Task, process: &GoProcess, end: u8, status: u16) -> bool {
    let Some(key) = key(ctx, task, process) else {
        return false;
    };
    let Some(call) = SERVED.get_ptr_mut(key) else {
        return false;
    };
    finish(call, task, end, status);
    remove(&SERVED, key);
    true
}
