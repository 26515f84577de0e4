//! What a hit costs on this machine: each class of program, run on a function of the agent itself.

use agent_common::{
    event::http::{Call, side},
    layout::{point, price},
};
use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_get_attach_cookie, macros::uprobe, programs::ProbeContext,
};

use crate::{
    gate,
    maps::{CallKey, EVENTS, SERVED, remove},
    probes::http::begin,
    read,
};

/// The cookie names the class of [`price`].
#[uprobe(multi)]
fn calibrate(ctx: ProbeContext) -> u32 {
    // As each probe does, and with success: the user half has opened the gate for itself.
    let Some((task, _)) = gate::watched(point::SERVER_BEGIN) else {
        return 0;
    };
    // SAFETY: the helper takes the program's own context.
    let class = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let key = CallKey { tgid: u64::from(task.tgid), goid: u64::MAX };
    if class == price::BEGIN {
        keep(&ctx, key);
    }
    if class == price::END {
        end(key);
    }
    0
}

/// What the begin of a request does, but for the walk to its socket.
#[inline(always)]
fn keep(ctx: &ProbeContext, key: CallKey) {
    // SAFETY: the context of a uprobe is a `pt_regs`.
    let stack = unsafe { (*ctx.regs).rsp };
    if let Some(call) = begin(&SERVED, key, side::SERVER) {
        for n in 0..6 {
            call.goid ^= read::user::<u64>(stack + n * 8).unwrap_or(0);
        }
    }
}

/// What the end of a request does; its record is thrown away.
#[inline(always)]
fn end(key: CallKey) {
    if let Some(call) = SERVED.get_ptr(key)
        && let Some(mut slot) = EVENTS.reserve::<Call>(0)
    {
        // SAFETY: the entry stays readable while the program runs.
        slot.write(unsafe { *call });
        slot.discard(0);
    }
    // It may not be there: the first hit is an end.
    remove(&SERVED, key);
}
