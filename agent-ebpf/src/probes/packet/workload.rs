//! Packets of workloads, at the host's end of a pod's veth pair, on loopback and where they leave the node.
//!
//! The packet still points to the sender's socket. A packet is counted if and only if it does, at exactly these
//! hooks: then it is counted once, whatever bridges and tunnels it passes. TCP is accounted by socket: nothing
//! is done for it here, but that DNS is looked at.

use agent_common::{
    event::udp::place,
    pure::{
        glance::{Plain, glance},
        packet::{Headers, TCP, UDP},
    },
};
use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_get_socket_cookie, bpf_sk_fullsock, bpf_skb_cgroup_id},
    macros::classifier,
    programs::TcContext,
};

use super::{
    TCX_NEXT,
    bytes::{headers, linear, segments},
    dns::{self, Carrier, Wanted},
    flow::{self, Flow, Packet},
};
use crate::{emit, maps::SOCKS};

/// TCX ingress of a pod's veth; egress of loopback and network cards.
///
/// In line: a function that always answers the same becomes one without an answer, and the verifier refuses what is left
/// in the register for it.
#[classifier]
#[inline(always)]
fn from_workload(ctx: TcContext) -> i32 {
    if !has_socket(&ctx) {
        return TCX_NEXT;
    }
    match glance(&linear(&ctx)) {
        Plain::Tcp(it) if !dns::is_port(it.source_port, it.destination_port) => {}
        Plain::Udp(it) if !dns::is_port(it.source_port, it.destination_port) => {
            count(&ctx, &Flow::plain(&it, place::SENT, ctx.len()));
        }
        _ => {
            let Some(headers) = headers_of_interest(&ctx) else {
                return TCX_NEXT;
            };
            let packet = packet(&ctx);
            if headers.protocol == UDP {
                count(&ctx, &Flow::new(&headers, place::SENT, packet.frame_bytes));
            }
            // On loopback there is no other hook. Elsewhere an answer that leaves is met where it arrives, or
            // is for somebody outside.
            let wanted = if packet.ifindex == dns::LOOPBACK { Wanted::Both } else { Wanted::Queries };
            let asker = || if headers.protocol == TCP { owner(&ctx) } else { dns::asker(packet.ifindex) };
            dns::look(Carrier::Skb(ctx.as_ptr()), &packet, &headers, wanted, asker);
        }
    }
    TCX_NEXT
}

/// TCX egress of a pod's veth. With a socket the packet is the host's, and is met here first.
#[classifier]
#[inline(always)]
fn to_workload(ctx: TcContext) -> i32 {
    let place = || if has_socket(&ctx) { place::SENT } else { place::TO_WORKLOAD };
    match glance(&linear(&ctx)) {
        Plain::Tcp(it) if !dns::is_port(it.source_port, it.destination_port) => {}
        Plain::Udp(it) if !dns::is_port(it.source_port, it.destination_port) => {
            count(&ctx, &Flow::plain(&it, place(), ctx.len()));
        }
        _ => {
            let Some(headers) = headers_of_interest(&ctx) else {
                return TCX_NEXT;
            };
            let packet = packet(&ctx);
            if headers.protocol == UDP {
                count(&ctx, &Flow::new(&headers, place(), packet.frame_bytes));
            }
            dns::look(Carrier::Skb(ctx.as_ptr()), &packet, &headers, Wanted::Both, || owner(&ctx));
        }
    }
    TCX_NEXT
}

#[inline(always)]
fn packet(ctx: &TcContext) -> Packet {
    // SAFETY: the context is a `__sk_buff`.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    Packet { frame_bytes: ctx.len(), segments: segments(ctx), ifindex }
}

#[inline(always)]
fn has_socket(ctx: &TcContext) -> bool {
    // SAFETY: the context is a `__sk_buff`, and the union has one member.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    !sk.is_null()
}

/// Who opened the TCP socket that the packet points to, or read from it; 0 when that is not known.
#[inline(always)]
fn owner(ctx: &TcContext) -> u32 {
    // SAFETY: as above.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return 0;
    }
    // SAFETY: not null, and a socket to the verifier.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return 0;
    }
    let kept = SOCKS.get(sk.cast());
    if kept.is_null() {
        return 0;
    }
    // SAFETY: not null, and the storage lives as long as the socket.
    unsafe { (*kept).tgid }
}

/// UDP, and TCP to or from a resolver.
#[inline(always)]
fn headers_of_interest(ctx: &TcContext) -> Option<Headers> {
    match headers(ctx) {
        Ok(headers) if headers.protocol == UDP => Some(headers),
        Ok(headers) if headers.protocol == TCP => {
            dns::is_port(headers.source_port, headers.destination_port).then_some(headers)
        }
        Ok(_) => None,
        Err(refusal) => {
            emit::add(refusal.counter());
            None
        }
    }
}

#[inline(always)]
fn count(ctx: &TcContext, flow: &Flow) {
    let packet = packet(ctx);
    if flow.key.place != place::SENT {
        return flow::count(flow, &packet, 0, || 0);
    }
    let skb = ctx.skb.skb;
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    // SAFETY: as above.
    flow::count(flow, &packet, cookie, || unsafe { bpf_skb_cgroup_id(skb) });
}
