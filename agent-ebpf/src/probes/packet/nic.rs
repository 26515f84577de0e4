//! What comes in at a network card: SYNs and RSTs that no socket answers, peers never seen before, and UDP,
//! whose senders are elsewhere.
//!
//! One program on XDP, or the same on TCX where XDP is refused or taken.

use core::{ffi::c_void, mem::MaybeUninit};

use agent_common::{
    counter,
    event::{
        packet::{Stray, what},
        udp::place,
    },
    limits::NEW_PEERS_PER_SECOND,
    pure::{
        glance::{Plain, glance},
        packet::{Fragment, Headers, Refusal, TCP, UDP, flag, parse},
    },
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{bpf_sock_tuple, xdp_action},
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_xdp_get_buff_len},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use super::{
    TCX_NEXT, budget,
    bytes::{Linear, headers, linear, segments},
    dns::{self, Carrier, Wanted},
    flow::{self, Flow, Packet},
};
use crate::{
    emit, gate,
    maps::{PEERS, PeerKey},
};

#[xdp(frags)]
fn nic_in(ctx: XdpContext) -> u32 {
    // SAFETY: the context is an `xdp_md`.
    let ifindex = unsafe { (*ctx.ctx).ingress_ifindex };
    // SAFETY: the helper takes the program's own context.
    let frame_bytes = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
    let bytes = Linear::new(ctx.data(), ctx.data_end(), frame_bytes);
    if is_data(&bytes) {
        return xdp_action::XDP_PASS;
    }
    let answer = parse(&bytes, 0);
    look(Carrier::Xdp(ctx.as_ptr()), &answer, Packet { frame_bytes, segments: 1, ifindex });
    xdp_action::XDP_PASS
}

#[classifier]
fn nic_in_tc(ctx: TcContext) -> i32 {
    if is_data(&linear(&ctx)) {
        return TCX_NEXT;
    }
    let answer = headers(&ctx);
    // SAFETY: the context is a `__sk_buff`.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    let packet = Packet { frame_bytes: ctx.len(), segments: segments(&ctx), ifindex };
    look(Carrier::Skb(ctx.as_ptr()), &answer, packet);
    TCX_NEXT
}

/// A segment of a connection, which neither opens nor resets it: as most packets are. Those of resolvers are looked at.
#[inline(always)]
fn is_data(bytes: &Linear) -> bool {
    let Plain::Tcp(it) = glance(bytes) else {
        return false;
    };
    it.flags & (flag::SYN | flag::RST) == 0 && !dns::is_port(it.source_port, it.destination_port)
}

#[inline(always)]
fn look(carrier: Carrier, answer: &Result<Headers, Refusal>, packet: Packet) {
    let headers = match answer {
        Ok(headers) => headers,
        Err(refusal) => return emit::add(refusal.counter()),
    };
    if headers.in_tunnel {
        return emit::add(counter::PACKET_TUNNEL);
    }
    match headers.protocol {
        UDP => {
            let flow = Flow::new(headers, place::FROM_OUTSIDE, packet.frame_bytes);
            flow::count(&flow, &packet, 0, || 0);
            // Queries that come in are those of others.
            dns::look(carrier, &packet, headers, Wanted::Answers, || 0);
        }
        TCP => {
            let (Carrier::Skb(ctx) | Carrier::Xdp(ctx)) = carrier;
            control(ctx, headers, packet.ifindex);
            dns::look(carrier, &packet, headers, Wanted::Answers, || 0);
        }
        _ => {}
    }
}

#[inline(always)]
fn control(ctx: *mut c_void, headers: &Headers, ifindex: u32) {
    if headers.fragment == Fragment::Later {
        return emit::add(counter::PACKET_FRAGMENT);
    }
    let opens = headers.flags & (flag::SYN | flag::ACK) == flag::SYN;
    if !opens && headers.flags & flag::RST == 0 {
        return;
    }
    if opens {
        greet(headers);
    }
    if !has_socket(ctx, headers) {
        let what = if opens { what::SYN_UNANSWERED } else { what::RST_UNMATCHED };
        note(headers, what, ifindex);
    }
}

/// Whether a socket of the interface's namespace takes the packet: listener, connection or TIME_WAIT.
#[inline(always)]
fn has_socket(ctx: *mut c_void, headers: &Headers) -> bool {
    const CURRENT_NETNS: u64 = u64::MAX;
    const V4_BYTES: u32 = 12;
    const V6_BYTES: u32 = 36;
    let mut tuple = MaybeUninit::<bpf_sock_tuple>::zeroed();
    let (source, destination) = (headers.source_port.to_be(), headers.destination_port.to_be());
    let size = if headers.is_v4 {
        let words: [u32; 3] = [
            u32::from_ne_bytes([
                headers.source[12],
                headers.source[13],
                headers.source[14],
                headers.source[15],
            ]),
            u32::from_ne_bytes([
                headers.destination[12],
                headers.destination[13],
                headers.destination[14],
                headers.destination[15],
            ]),
            u32::from(source) | u32::from(destination) << 16,
        ];
        // SAFETY: the union's IPv4 member has this shape and is the smaller one.
        unsafe { tuple.as_mut_ptr().cast::<[u32; 3]>().write(words) };
        V4_BYTES
    } else {
        let bytes = tuple.as_mut_ptr().cast::<[u8; 16]>();
        // SAFETY: the union's IPv6 member is two addresses and two ports.
        unsafe { bytes.write(headers.source) };
        // SAFETY: as above.
        unsafe { bytes.add(1).write(headers.destination) };
        // SAFETY: as above.
        unsafe { bytes.add(2).cast::<[u16; 2]>().write([source, destination]) };
        V6_BYTES
    };
    // SAFETY: the tuple is as long as the size says.
    let sk = unsafe { bpf_skc_lookup_tcp(ctx, tuple.as_mut_ptr(), size, CURRENT_NETNS, 0) };
    if sk.is_null() {
        return false;
    }
    // SAFETY: not null, and released once.
    unsafe { bpf_sk_release(sk.cast()) };
    true
}

/// Counts, and reports the first and then each power of two. Programs do not nest on a CPU.
#[inline(always)]
fn note(headers: &Headers, what: u8, ifindex: u32) {
    let local_port = headers.destination_port;
    let key = PeerKey { remote: headers.source, local_port, what: u16::from(what) };
    let count = match PEERS.get_ptr_mut(key) {
        Some(seen) => {
            // SAFETY: the entry stays valid while the program runs, and is this CPU's.
            let seen = unsafe { &mut *seen };
            *seen += 1;
            *seen
        }
        None if remember(key) => 1,
        None => return,
    };
    if count & (count - 1) != 0 {
        return;
    }
    emit::event(gate::Task { tgid: 0, tid: 0 }, |header| Stray {
        header,
        count,
        local: headers.destination,
        remote: headers.source,
        local_port,
        remote_port: headers.source_port,
        ifindex,
        what,
        reserved: [0; 7],
    });
}

/// Counts who comes for the first time.
#[inline(always)]
fn greet(headers: &Headers) {
    const ANY_PORT: u16 = 0;
    const OPENED: u16 = 3;
    let key = PeerKey { remote: headers.source, local_port: ANY_PORT, what: OPENED };
    if PEERS.get_ptr(key).is_none() && remember(key) {
        emit::add(counter::PACKET_NEW_PEERS);
    }
}

/// Begins to count a peer, unless it is one of a flood.
#[inline(always)]
fn remember(key: PeerKey) -> bool {
    if !budget::spend(budget::PEERS, NEW_PEERS_PER_SECOND) {
        emit::add(counter::PACKET_THROTTLED);
        return false;
    }
    // Refused means that it is reported again at the next packet.
    PEERS.insert(key, 1, 0).ok();
    true
}
