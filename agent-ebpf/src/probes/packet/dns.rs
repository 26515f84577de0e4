//! DNS: queries and answers are copied, and read by the user half.
//!
//! A query is copied where its packet still points to the socket that sent it: that is so at one hook on
//! its way. An answer is copied wherever it comes by, and the user half takes the first one.
//!
//! Over TCP a message is met if a segment begins with it, after its length, and has as much of it as is copied.
//! Nothing is put together.

use core::{ffi::c_void, ptr};

use agent_common::{
    counter,
    event::dns::DnsPacket,
    limits::{DNS_BYTES, DNS_MESSAGES_PER_SECOND},
    pure::packet::{Fragment, Headers, TCP},
};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skb_load_bytes, bpf_xdp_load_bytes};

use super::{budget, flow::Packet};
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

/// Whether one of the ends is a resolver.
#[inline(always)]
pub(super) fn is_port(source: u16, destination: u16) -> bool {
    source == PORT || destination == PORT
}

/// Copies the message in a packet, if there is one. `asker`: who sent the packet, or 0.
#[inline(always)]
pub(super) fn look(
    carrier: Carrier,
    packet: &Packet,
    headers: &Headers,
    wanted: Wanted,
    asker: impl FnOnce() -> u32,
) {
    let is_answer = headers.source_port == PORT;
    let other = if is_answer { Wanted::Queries } else { Wanted::Answers };
    let is_message = is_port(headers.source_port, headers.destination_port);
    if !is_message || wanted == other || headers.fragment == Fragment::Later || !carrier.can_copy() {
        return;
    }
    let cookie = carrier.cookie();
    if !is_answer && cookie == 0 {
        return;
    }
    let message = if headers.protocol == TCP {
        segment(carrier, headers, packet.frame_bytes, is_answer)
    } else {
        datagram(carrier, headers)
    };
    let Some(Message { at, wire_bytes }) = message else {
        return;
    };
    let which = if is_answer { budget::DNS_ANSWERS } else { budget::DNS_QUERIES };
    if !budget::spend(which, DNS_MESSAGES_PER_SECOND) {
        return emit::add(counter::DNS_THROTTLED);
    }
    let copied_bytes = most_copied(wire_bytes);
    let tgid = if is_answer { 0 } else { asker() };
    emit::event_with_bytes::<DnsPacket, DNS_BYTES>(
        gate::Task { tgid, tid: 0 },
        |header| DnsPacket {
            header,
            cookie,
            source: headers.source,
            destination: headers.destination,
            source_port: headers.source_port,
            destination_port: headers.destination_port,
            ifindex: packet.ifindex,
            wire_bytes,
            copied_bytes,
            protocol: headers.protocol,
            reserved: [0; 3],
        },
        |to| carrier.copy(at, to.cast(), bounded(copied_bytes)),
        counter::DNS_SHORT,
    );
}

/// Where a message is in its packet.
struct Message {
    at: u32,
    wire_bytes: u16,
}

#[inline(always)]
fn most_copied(wire_bytes: u16) -> u16 {
    if wire_bytes < DNS_BYTES as u16 { wire_bytes } else { DNS_BYTES as u16 }
}

/// As the header of UDP says: the packet may be padded.
#[inline(always)]
fn datagram(carrier: Carrier, headers: &Headers) -> Option<Message> {
    const HEADER_BYTES: u16 = 8;
    const LENGTH_FROM_END: u32 = 4;
    let mut length = [0; 2];
    let at = headers.payload_at.wrapping_sub(LENGTH_FROM_END);
    let is_there = carrier.copy(at, length.as_mut_ptr().cast(), length.len() as u32);
    let wire_bytes = u16::from_be_bytes(length).saturating_sub(HEADER_BYTES);
    if !is_there || wire_bytes == 0 {
        emit::add(counter::DNS_SHORT);
        return None;
    }
    Some(Message { at: headers.payload_at, wire_bytes })
}

/// A message after its length, if what is there looks like one: a segment may as well begin in the middle of one.
#[inline(always)]
fn segment(carrier: Carrier, headers: &Headers, frame_bytes: u32, is_answer: bool) -> Option<Message> {
    const LENGTH_BYTES: u32 = 2;
    /// A header, and a question for the root.
    const LEAST_BYTES: u16 = 17;
    const IS_ANSWER: u8 = 0x80;
    const OPERATION: u8 = 0x78;
    let n_bytes = headers.payload_bytes(frame_bytes);
    if n_bytes == 0 {
        return None;
    }
    // The length, the id, the flags, and how many questions.
    let mut start = [0; 8];
    let is_there = carrier.copy(headers.payload_at, start.as_mut_ptr().cast(), start.len() as u32);
    let wire_bytes = u16::from_be_bytes([start[0], start[1]]);
    let begins = is_there
        && LEAST_BYTES <= wire_bytes
        && (start[4] & IS_ANSWER != 0) == is_answer
        && start[4] & OPERATION == 0
        && u16::from_be_bytes([start[6], start[7]]) == 1;
    let has_enough = LENGTH_BYTES + u32::from(most_copied(wire_bytes)) <= n_bytes;
    let is_all = n_bytes <= LENGTH_BYTES + u32::from(wire_bytes);
    if !begins || !has_enough || !is_all {
        emit::add(counter::DNS_TCP_NOT_READ);
    }
    let at = headers.payload_at.wrapping_add(LENGTH_BYTES);
    (begins && has_enough).then_some(Message { at, wire_bytes })
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
