//! Whose work a goroutine does: what is done for a request is a child of it, whatever it is.

use agent_common::{
    event::http::{Call, joined_by},
    layout::GoProcess,
};
use aya_ebpf::programs::ProbeContext;

use super::{goroutine, random, trace};
use crate::maps::{CallKey, SERVED};

/// What a call has from the request that it is made for; without one it begins a trace.
#[derive(Clone, Copy)]
pub(crate) struct Lineage {
    pub(crate) trace: [u64; 2],
    pub(crate) parent_span_id: [u8; 8],
    pub(crate) joined_by: u8,
}

/// The server request of this goroutine, else of the goroutine that started it, is the parent.
#[inline(always)]
pub(crate) fn lineage(ctx: &ProbeContext, process: &GoProcess, key: CallKey) -> Lineage {
    if let Some(parent) = SERVED.get_ptr(key)
        && let Some(lineage) = under(parent, joined_by::GOID)
    {
        return lineage;
    }
    if let Some(goid) = goroutine(ctx, process.g_parent_goid)
        && let Some(parent) = SERVED.get_ptr(CallKey { tgid: key.tgid, goid })
        && let Some(lineage) = under(parent, joined_by::PARENT_GOID)
    {
        return lineage;
    }
    let trace = [random(), random()].map(u64::from_ne_bytes);
    Lineage { trace, parent_span_id: [0; 8], joined_by: joined_by::NOTHING }
}

/// `None` when the parent's request is not whole.
#[inline(always)]
fn under(parent: *const Call, joined_by: u8) -> Option<Lineage> {
    let trace = trace(parent)?;
    // SAFETY: the entry stays readable while the program runs.
    let parent_span_id = unsafe { (*parent).span_id };
    Some(Lineage { trace, parent_span_id, joined_by })
}
