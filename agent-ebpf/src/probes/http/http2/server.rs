//! Server side: `(*serverConn).runHandler`, on a goroutine that the stream has for itself, and what that defers.

use agent_common::{
    counter,
    event::http::{end, joined_by, protocol, side},
    layout::{Http2, point},
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::{layout, watched};
use crate::{
    emit,
    maps::{SERVED, remove},
    probes::http::{begin, conn, finish, front::Front, key, line, regs, root, server::REQUEST_WORDS},
    read,
};

/// `stream`, `req` and, up to Go 1.26, `conn`.
const STATE_WORDS: usize = 3;

/// `(*serverConn).runHandler`: rax = *serverConn, rbx = *responseWriter, rcx = *Request.
#[uprobe(multi)]
fn http2_server_begin(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = watched(&ctx, point::HTTP2_SERVER_BEGIN) else {
        return 0;
    };
    let layout = layout(&ctx, process);
    let object = regs(&ctx).rax;
    let Some((state, stream)) = stream(regs(&ctx).rbx, object, layout) else {
        // It will be seen as a request without a span.
        return 0;
    };
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let interface = object + u64::from(layout.server_conn);
    let place = || Some(conn::Place { interface, goid: 0 });
    let found = conn::identify(conn::key(task, object), process, place);
    let Some(call) = begin(&SERVED, key, side::SERVER) else {
        return 0;
    };
    call.protocol = protocol::HTTP2;
    call.conn_object = state;
    let mut request = Front::<REQUEST_WORDS>::at(regs(&ctx).rcx);
    if request.read() {
        line::read(call, &request, layout.request_method, layout.request_uri);
        call.host_len = request.text(layout.request_host, &mut call.host);
    }
    call.seq = stream;
    if let Some(found) = found {
        conn::describe(call, found, conn::Position::Stream(stream));
        conn::inherit(call, found);
    }
    if call.joined_by == joined_by::NOTHING {
        root(call);
    }
    0
}

/// The `*responseWriterState` and the id of its stream. `None` when it is not of this connection, as with a layout
/// that golang.org/x/net had at another time.
#[inline(always)]
fn stream(writer: u64, conn: u64, layout: &Http2) -> Option<(u64, u32)> {
    let address: u64 = read::user(writer + u64::from(layout.writer_state))?;
    let mut state = Front::<STATE_WORDS>::at(address);
    if !state.read() {
        return None;
    }
    if state.field::<u64>(layout.state_conn)? != conn {
        emit::add(counter::HTTP2_SERVED);
        return None;
    }
    let stream: u64 = state.field(layout.state_stream)?;
    Some((address, read::user(stream + u64::from(layout.stream_id))?))
}

/// `(*serverConn).runHandler.func1`, deferred: it runs however the handler ends.
#[uprobe(multi)]
fn http2_server_end(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = watched(&ctx, point::HTTP2_SERVER_END) else {
        return 0;
    };
    let Some(key) = key(&ctx, task, process) else {
        return 0;
    };
    let Some(call) = SERVED.get_ptr_mut(key) else {
        emit::add(counter::HTTP_END_WITHOUT_BEGIN);
        return 0;
    };
    // SAFETY: the entry stays valid while the program runs.
    let state = unsafe { (*call).conn_object };
    // While a function that was deferred runs, a panic or `runtime.Goexit` is what runs it, if there is one.
    let panicking: Option<u64> = read::user(regs(&ctx).r14 + u64::from(process.g_panic));
    if panicking.is_some_and(|it| it != 0) {
        finish(call, task, end::ABORTED, 0);
    } else {
        let status: Option<u64> = read::user(state + u64::from(layout(&ctx, process).state_status));
        finish(call, task, end::RETURNED, status.unwrap_or(0) as u16);
    }
    remove(&SERVED, key);
    0
}

/// `(*serverConn).closeAllStreamsOnConnClose`: rax = *serverConn.
#[uprobe(multi)]
fn http2_server_conn_closed(ctx: ProbeContext) -> u32 {
    if let Some((task, _)) = watched(&ctx, point::HTTP2_SERVER_CONN_CLOSED) {
        conn::forget(conn::key(task, regs(&ctx).rax));
    }
    0
}
