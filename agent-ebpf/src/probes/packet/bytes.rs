//! Where a packet's bytes are.

use core::hint::black_box;

use agent_common::{
    counter,
    pure::packet::{self, Bytes, Headers, Refusal},
};
use aya_ebpf::{helpers::generated::bpf_skb_pull_data, macros::classifier, programs::TcContext};

use crate::emit;

/// The part that can be read as memory.
pub(super) struct Linear {
    data: usize,
    end: usize,
    /// Any number that the verifier does not know.
    unknown: usize,
}

impl Linear {
    #[inline(always)]
    pub(super) fn new(data: usize, end: usize, unknown: u32) -> Self {
        Self { data, end, unknown: unknown as usize }
    }
}

impl Bytes for Linear {
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        /// More than all headers together.
        const FARTHEST: usize = 0x7fff;
        if FARTHEST < at {
            return None;
        }
        // The verifier follows what is added to this very sum; the compiler must not add in another order.
        let from = black_box(self.data + at);
        if self.end < from + N {
            return None;
        }
        // SAFETY: the verifier proves the bound that was just tested.
        Some(unsafe { (from as *const [u8; N]).read_unaligned() })
    }

    #[inline(always)]
    fn hide(&self, number: usize) -> usize {
        black_box(number ^ self.unknown) ^ self.unknown
    }
}

/// The headers of an `sk_buff`, of which often nothing else is in one piece; seldom not even they are.
#[inline(always)]
pub(super) fn headers(ctx: &TcContext) -> Result<Headers, Refusal> {
    /// A tunnel with IPv6 on both sides, and room for options.
    const MOST_BYTES: u32 = 256;
    let answer = linear_headers(ctx);
    let frame_bytes = ctx.len();
    if answer != Err(Refusal::Short) || frame_bytes as usize <= ctx.data_end() - ctx.data() {
        return answer;
    }
    emit::add(counter::PACKET_PULLED);
    let n_bytes = if frame_bytes < MOST_BYTES { frame_bytes } else { MOST_BYTES };
    // SAFETY: the helper takes the program's own context; what was read of the packet before is not used again.
    if unsafe { bpf_skb_pull_data(ctx.skb.skb, n_bytes) } != 0 {
        return answer;
    }
    linear_headers(ctx)
}

#[inline(always)]
fn linear_headers(ctx: &TcContext) -> Result<Headers, Refusal> {
    // The outermost tag is often not in the frame: the card or the vlan device took it off.
    //
    // SAFETY: the context is a `__sk_buff`.
    let tags = usize::from(unsafe { (*ctx.skb.skb).vlan_present } != 0);
    packet::parse(&linear(ctx), tags)
}

#[inline(always)]
pub(super) fn linear(ctx: &TcContext) -> Linear {
    Linear::new(ctx.data(), ctx.data_end(), ctx.len())
}

/// How many packets go over the wire for this one.
#[inline(always)]
pub(super) fn segments(ctx: &TcContext) -> u32 {
    // SAFETY: the context is a `__sk_buff`.
    let segments = unsafe { (*ctx.skb.skb).gso_segs };
    if segments == 0 { 1 } else { segments }
}

/// What the parser says of a packet, for whoever asks whether it says the same elsewhere. Never attached.
#[classifier]
fn parse(ctx: TcContext) -> i32 {
    packet::digest(&headers(&ctx)) as i32
}
