//! DNS over UDP: queries and answers are copied, and read by the user half.
//!
//! A query is copied where its packet still points to the socket that sent it: that is so at one hook on
//! its way. An answer is copied wherever it comes by, and the user half takes the first one.

use core::{ffi::c_void, ptr};

use agent_common::{
    counter,
    event::dns::DnsPacket,
    limits::{DNS_BYTES, DNS_MESSAGES_PER_SECOND},
    pure::packet::{Fragment, Headers},
};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skb_load_bytes, bpf_xdp_load_bytes};

use super::budget;
use crate::{emit, gate, maps::DNS_ON_XDP};

/// The index of loopback in each namespace.
pub(super) const LOOPBACK: u32 = 1;
/// Of every resolver.
const PORT: u16 = 53;

/// Which messages are of interest at a hook: elsewhere they are met once more, or are those of others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Queries,
    Answers,
    Both,
}

/// The context that the kernel hands to a program.
#[derive(Clone, Copy)]
pub(super) enum Carrier {
    Skb(*mut c_void),
    Xdp(*mut c_void),
}

impl Carrier {
    /// 0 when the packet does not point to the socket that sent it.
    #[inline(always)]
    fn cookie(self) -> u64 {
        match self {
            // SAFETY: the context is a `__sk_buff`.
            Self::Skb(ctx) => unsafe { bpf_get_socket_cookie(ctx) },
            Self::Xdp(_) => 0,
        }
    }

    /// False when the packet is shorter. `to` has room for `len`.
    #[inline(always)]
    fn copy(self, at: u32, to: *mut c_void, len: u32) -> bool {
        match self {
            // SAFETY: the verifier proves that `to` has the room.
            Self::Skb(ctx) => unsafe { bpf_skb_load_bytes(ctx, at, to, len) == 0 },
            // SAFETY: as above.
            Self::Xdp(ctx) => unsafe { bpf_xdp_load_bytes(ctx.cast(), at, to, len) == 0 },
        }
    }

    #[inline(always)]
    fn can_copy(self) -> bool {
        matches!(self, Self::Skb(_)) || DNS_ON_XDP.load() != 0
    }
}

/// Copies the message in a datagram of UDP, if there is one. `asker`: who sent the packet, or 0.
#[inline(always)]
pub(super) fn look(carrier: Carrier, ifindex: u32, headers: &Headers, wanted: Wanted, asker: u32) {
    let is_answer = headers.source_port == PORT;
    let is_message = is_answer || headers.destination_port == PORT;
    let other = if is_answer { Wanted::Queries } else { Wanted::Answers };
    if !is_message || wanted == other || headers.fragment == Fragment::Later || !carrier.can_copy() {
        return;
    }
    let cookie = carrier.cookie();
    if !is_answer && cookie == 0 {
        return;
    }
    let Some(wire_bytes @ 1..) = payload_bytes(carrier, headers) else {
        return emit::add(counter::DNS_SHORT);
    };
    let which = if is_answer { budget::DNS_ANSWERS } else { budget::DNS_QUERIES };
    if !budget::spend(which, DNS_MESSAGES_PER_SECOND) {
        return emit::add(counter::DNS_THROTTLED);
    }
    let copied_bytes = if wire_bytes < DNS_BYTES as u16 { wire_bytes } else { DNS_BYTES as u16 };
    emit::event_with_bytes::<DnsPacket, DNS_BYTES>(
        gate::Task { tgid: asker, tid: 0 },
        |header| DnsPacket {
            header,
            cookie,
            source: headers.source,
            destination: headers.destination,
            source_port: headers.source_port,
            destination_port: headers.destination_port,
            ifindex,
            wire_bytes,
            copied_bytes,
            reserved: 0,
        },
        |to| carrier.copy(headers.payload_at, to.cast(), bounded(copied_bytes)),
        counter::DNS_SHORT,
    );
}

/// As the header of UDP says: the packet may be padded.
#[inline(always)]
fn payload_bytes(carrier: Carrier, headers: &Headers) -> Option<u16> {
    const HEADER_BYTES: u16 = 8;
    const LENGTH_FROM_END: u32 = 4;
    let mut length = [0; 2];
    let at = headers.payload_at.wrapping_sub(LENGTH_FROM_END);
    if !carrier.copy(at, length.as_mut_ptr().cast(), length.len() as u32) {
        return None;
    }
    u16::from_be_bytes(length).checked_sub(HEADER_BYTES)
}

/// The same number, in a form that proves to the verifier that it is none of 0 and more than there is room
/// for: what was compared above is another register by now.
#[inline(always)]
fn bounded(copied_bytes: u16) -> u32 {
    const LAST: u32 = DNS_BYTES as u32 - 1;
    const { assert!(DNS_BYTES.is_power_of_two()) };
    // SAFETY: a variable of our own; volatile, because the compiler knows that the mask changes nothing.
    let opaque = unsafe { ptr::read_volatile(&raw const copied_bytes) };
    (u32::from(opaque).wrapping_sub(1) & LAST) + 1
}

/// On the way into loopback nothing waits, neither for a neighbour nor in a queue: who runs is who sends.
#[inline(always)]
pub(super) fn asker(ifindex: u32) -> u32 {
    if ifindex == LOOPBACK { gate::current().tgid } else { 0 }
}
