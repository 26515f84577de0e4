//! Packets of workloads, at the host's end of a pod's veth pair, on loopback and where they leave the node.
//!
//! The packet still points to the sender's socket. A packet is counted if and only if it does, at exactly these
//! hooks: then it is counted once, whatever bridges and tunnels it passes. TCP is accounted by socket: nothing
//! is done for it here.

use agent_common::{
    event::udp::place,
    pure::packet::{Headers, UDP, plain_tcp_flags},
};
use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_get_socket_cookie, bpf_skb_cgroup_id},
    macros::classifier,
    programs::TcContext,
};

use super::{
    TCX_NEXT,
    bytes::{headers, linear, segments},
    dns::{self, Carrier, Wanted},
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
        let ifindex = ifindex(&ctx);
        // On loopback there is no other hook. Elsewhere an answer that leaves is met where it arrives, or
        // is for somebody outside.
        let wanted = if ifindex == dns::LOOPBACK { Wanted::Both } else { Wanted::Queries };
        dns::look(Carrier::Skb(ctx.as_ptr()), ifindex, &headers, wanted, dns::asker(ifindex));
    }
    TCX_NEXT
}

/// TCX egress of a pod's veth. With a socket the packet is the host's, and is met here first.
#[classifier]
fn to_workload(ctx: TcContext) -> i32 {
    if let Some(headers) = udp(&ctx) {
        let place = if has_socket(&ctx) { place::SENT } else { place::TO_WORKLOAD };
        count(&ctx, &headers, place);
        dns::look(Carrier::Skb(ctx.as_ptr()), ifindex(&ctx), &headers, Wanted::Both, 0);
    }
    TCX_NEXT
}

#[inline(always)]
fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context is a `__sk_buff`.
    unsafe { (*ctx.skb.skb).ifindex }
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
    let packet = Packet { frame_bytes: ctx.len(), segments: segments(ctx), ifindex: ifindex(ctx) };
    if place != place::SENT {
        return flow::count(headers, place, &packet, 0, || 0);
    }
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    // SAFETY: as above.
    flow::count(headers, place, &packet, cookie, || unsafe { bpf_skb_cgroup_id(skb) });
}
