//! Calls of gRPC in Go programs (google.golang.org/grpc), of all kinds: a stream is a call.
//!
//! Kept and handed on as requests of HTTP are; what crosses the connection is marked by the stream's id.

mod client;
mod server;

use agent_common::{counter, event::http::Call, layout::GoProcess, limits};

use crate::{
    emit,
    maps::{CallKey, ENDED},
    read::{self, GoString},
};

/// `streamDone` of google.golang.org/grpc/internal/transport/transport.go, v1.45.0 to v1.85.0.
const STREAM_DONE: u32 = 3;

/// What a server's and a client's stream have in common.
#[derive(Clone, Copy)]
struct Stream(u64);

impl Stream {
    #[inline(always)]
    fn of(object: u64, process: &GoProcess) -> Option<Self> {
        let shared = if process.grpc.stream_is_pointer != 0 { read::user(object)? } else { object };
        Some(Self(shared))
    }

    #[inline(always)]
    fn id(self, process: &GoProcess) -> Option<u32> {
        read::user(self.0 + u64::from(process.grpc.stream_id))
    }

    #[inline(always)]
    fn method(self, process: &GoProcess) -> Option<GoString> {
        read::user(self.0 + u64::from(process.grpc.stream_method))
    }

    /// An end was seen whose begin was not: counted, unless the call had ended before. Some end twice, and not always
    /// does the process know of it by then: another CPU is at it, or the connection is gone.
    #[inline(always)]
    fn count_end(self, key: CallKey, process: &GoProcess) {
        // SAFETY: the entry stays readable while the program runs; volatile, because others write to it.
        let had_ended = ENDED.get_ptr(slot(key)).is_some_and(|it| unsafe { it.read_volatile() } == mark(key));
        if !had_ended
            && let Some(state) = read::user::<u32>(self.0 + u64::from(process.grpc.stream_state))
            && state != STREAM_DONE
        {
            emit::add(counter::HTTP_END_WITHOUT_BEGIN);
        }
    }
}

/// The call has ended now. Before its entry is removed.
#[inline(always)]
fn ended(key: CallKey) {
    if let Some(slot) = ENDED.get_ptr_mut(slot(key)) {
        // SAFETY: the entry stays valid while the program runs; volatile, because others write to it.
        unsafe { slot.write_volatile(mark(key)) };
    }
}

/// Goids, and ids of streams, which are odd, follow each other.
#[inline(always)]
fn slot(key: CallKey) -> u32 {
    ((key.tgid >> 33) ^ key.goid) as u32 % limits::ENDED_CALLS
}

#[inline(always)]
fn mark(key: CallKey) -> u64 {
    key.tgid ^ key.goid.rotate_left(16)
}

/// Copies the full name of the method.
#[inline(always)]
fn name(call: &mut Call, method: GoString) {
    if call.path.len() < method[1] as usize {
        emit::add(counter::GRPC_METHOD_CUT);
    }
    call.path_len = read::go_string(method, &mut call.path);
}

/// The code of a `*status.Status`; nil means that all is well.
#[inline(always)]
fn code(status: u64, process: &GoProcess) -> Option<u16> {
    if status == 0 {
        return Some(0);
    }
    let proto: u64 = read::user(status + u64::from(process.grpc.status_proto))?;
    if proto == 0 {
        return Some(0);
    }
    let code: u32 = read::user(proto + u64::from(process.grpc.status_code))?;
    Some(if code < u32::from(u16::MAX) { code as u16 } else { u16::MAX })
}
