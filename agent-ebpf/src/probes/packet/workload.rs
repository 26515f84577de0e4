//! Packets of workloads, at the host's end of a pod's veth pair, on loopback and where they leave the node.
//!
//! The packet still points to the sender's socket. A packet is counted if and only if it does, at exactly these
//! hooks: then it is counted once, whatever bridges and tunnels it passes. TCP is accounted by socket: nothing
//! is done for it here.

use agent_common::{
    counter,
    event::udp::place,
    pure::packet::{Headers, UDP, plain_tcp_flags},
};
use aya_ebpf::{
    helpers::generated::{bpf_get_socket_cookie, bpf_skb_cgroup_id},
    macros::classifier,
    programs::TcContext,
};

use super::{
    TCX_NEXT,
    bytes::{headers, linear, segments},
    flow::{self, Packet},
};
use crate::emit;

/// TCX ingress of a pod's veth; egress of loopback and network cards.
#[classifier]
fn from_workload(ctx: TcContext) -> i32 {
    if has_socket(&ctx)
        && let Some(headers) = udp(&ctx)
    {
        count(&ctx, &headers, place::SENT);
    }
    TCX_NEXT
}

/// TCX egress of a pod's veth. With a socket the packet is the host's, and is met here first.
#[classifier]
fn to_workload(ctx: TcContext) -> i32 {
    if let Some(headers) = udp(&ctx) {
        let place = if has_socket(&ctx) { place::SENT } else { place::TO_WORKLOAD };
        count(&ctx, &headers, place);
        if headers.source_port == DNS {
            dns_answer(&ctx, headers.payload_at);
        }
    }
    TCX_NEXT
}

const DNS: u16 = 53;

/// A UDP packet from port 53, whose payload begins at that offset of the packet.
#[inline(always)]
fn dns_answer(_ctx: &TcContext, _payload_at: u32) {
    emit::add(counter::PACKET_DNS_ANSWERS);
}

#[inline(always)]
fn has_socket(ctx: &TcContext) -> bool {
    // SAFETY: the context is a `__sk_buff`, and the union has one member.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    !sk.is_null()
}

#[inline(always)]
fn udp(ctx: &TcContext) -> Option<Headers> {
    if plain_tcp_flags(&linear(ctx)).is_some() {
        return None;
    }
    match headers(ctx) {
        Ok(headers) if headers.protocol == UDP => Some(headers),
        Ok(_) => None,
        Err(refusal) => {
            emit::add(refusal.counter());
            None
        }
    }
}

#[inline(always)]
fn count(ctx: &TcContext, headers: &Headers, place: u8) {
    let skb = ctx.skb.skb;
    // SAFETY: the context is a `__sk_buff`.
    let ifindex = unsafe { (*skb).ifindex };
    let packet = Packet { frame_bytes: ctx.len(), segments: segments(ctx), ifindex };
    if place != place::SENT {
        return flow::count(headers, place, &packet, 0, || 0);
    }
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    // SAFETY: as above.
    flow::count(headers, place, &packet, cookie, || unsafe { bpf_skb_cgroup_id(skb) });
}
