//! HTTP/2 requests of Go programs. There are two copies of the same code: net/http has one of its own, and
//! golang.org/x/net/http2 is what that is made from. The cookie of a point says which it is.
//!
//! Each stream has a goroutine of its own at both ends. A stream id is one of its connection for good, so a
//! request is joined by it, whatever else is under way there.

mod client;
mod server;

use agent_common::layout::{GoProcess, Http2, http2_code, point};
use aya_ebpf::{helpers::generated::bpf_get_attach_cookie, programs::ProbeContext};

use crate::gate::{self, Task};

/// As [`gate::watched`], for a point that both copies have.
#[inline(always)]
fn watched(ctx: &ProbeContext, point: usize) -> Option<(Task, &'static GoProcess)> {
    gate::watched(if is_separate(ctx) { point + point::SEPARATE } else { point })
}

/// The offsets of the copy that the point is in.
#[inline(always)]
fn layout(ctx: &ProbeContext, process: &'static GoProcess) -> &'static Http2 {
    if is_separate(ctx) { &process.separate_http2 } else { &process.http2 }
}

/// Whether the point is in golang.org/x/net/http2.
#[inline(always)]
pub(super) fn is_separate(ctx: &ProbeContext) -> bool {
    // SAFETY: the context is that of the running program.
    unsafe { bpf_get_attach_cookie(ctx.regs.cast()) == http2_code::SEPARATE }
}
