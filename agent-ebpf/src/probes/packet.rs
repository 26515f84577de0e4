//! Control packets from outside: SYNs and RSTs that no socket answers, and peers never seen before.
//!
//! One program on XDP, or the same on TCX where XDP is refused or taken. Always passes the packet.

use core::{ffi::c_void, mem::MaybeUninit};

use agent_common::{
    counter,
    event::packet::{Stray, what},
    limits::NEW_PEERS_PER_SECOND,
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{bpf_sock_tuple, xdp_action},
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use super::sock::mapped;
use crate::{
    emit, gate,
    maps::{NEW_PEERS, PEERS, PeerKey},
};

/// The program does not decide: the next one in line does.
const TCX_NEXT: i32 = -1;

#[xdp(frags)]
fn nic_in(ctx: XdpContext) -> u32 {
    let packet = Packet { data: ctx.data(), end: ctx.data_end() };
    // SAFETY: the context is an `xdp_md`.
    let ifindex = unsafe { (*ctx.ctx).ingress_ifindex };
    look(ctx.as_ptr(), &packet, ifindex);
    xdp_action::XDP_PASS
}

#[classifier]
fn nic_in_tc(ctx: TcContext) -> i32 {
    let packet = Packet { data: ctx.data(), end: ctx.data_end() };
    // SAFETY: the context is a `__sk_buff`.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    look(ctx.as_ptr(), &packet, ifindex);
    TCX_NEXT
}

/// The linear part of a packet.
struct Packet {
    data: usize,
    end: usize,
}

impl Packet {
    #[inline(always)]
    fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        if self.end < self.data + offset + size_of::<T>() {
            return None;
        }
        // SAFETY: the verifier proves the bound that was just tested.
        Some(unsafe { ((self.data + offset) as *const T).read_unaligned() })
    }
}

struct Segment {
    remote: [u8; 16],
    local: [u8; 16],
    remote_port: u16,
    local_port: u16,
    is_v4: bool,
    flags: u8,
}

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

#[inline(always)]
fn look(ctx: *mut c_void, packet: &Packet, ifindex: u32) {
    let segment = match parse(packet) {
        Ok(segment) => segment,
        Err(reason) => return emit::add(reason),
    };
    let opens = segment.flags & (SYN | ACK) == SYN;
    if !opens && segment.flags & RST == 0 {
        return;
    }
    if opens {
        greet(&segment);
    }
    if !has_socket(ctx, &segment) {
        let what = if opens { what::SYN_UNANSWERED } else { what::RST_UNMATCHED };
        note(&segment, what, ifindex);
    }
}

/// The TCP header, or the counter of why there is none.
#[inline(always)]
fn parse(packet: &Packet) -> Result<Segment, u32> {
    const ETHERTYPE: usize = 12;
    const TAG_BYTES: usize = 4;
    let mut at = ETHERTYPE;
    for _ in 0..2 {
        let kind: u16 = packet.read(at).ok_or(counter::PACKET_SHORT)?;
        if !matches!(u16::from_be(kind), 0x8100 | 0x88a8) {
            break;
        }
        at += TAG_BYTES;
    }
    let kind: u16 = packet.read(at).ok_or(counter::PACKET_SHORT)?;
    match u16::from_be(kind) {
        0x0800 => ipv4(packet, at + 2),
        0x86dd => ipv6(packet, at + 2),
        _ => Err(counter::PACKET_OTHER),
    }
}

const IPPROTO_TCP: u8 = 6;

#[inline(always)]
fn ipv4(packet: &Packet, at: usize) -> Result<Segment, u32> {
    let header: [u8; 20] = packet.read(at).ok_or(counter::PACKET_SHORT)?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    if header_bytes < 20 {
        return Err(counter::PACKET_SHORT);
    }
    if header[9] != IPPROTO_TCP {
        return Err(counter::PACKET_OTHER);
    }
    if u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0 {
        return Err(counter::PACKET_FRAGMENT);
    }
    let remote = mapped(u32::from_ne_bytes([header[12], header[13], header[14], header[15]]));
    let local = mapped(u32::from_ne_bytes([header[16], header[17], header[18], header[19]]));
    tcp(packet, at + header_bytes, remote, local, true)
}

/// Extension headers are seldom on control packets: only their absence is read, the rest is counted.
#[inline(always)]
fn ipv6(packet: &Packet, at: usize) -> Result<Segment, u32> {
    const NEXT_HEADER: usize = 6;
    const SOURCE: usize = 8;
    const DESTINATION: usize = 24;
    const HEADER_BYTES: usize = 40;
    let next: u8 = packet.read(at + NEXT_HEADER).ok_or(counter::PACKET_SHORT)?;
    if next != IPPROTO_TCP {
        return Err(counter::PACKET_OTHER);
    }
    let remote = packet.read(at + SOURCE).ok_or(counter::PACKET_SHORT)?;
    let local = packet.read(at + DESTINATION).ok_or(counter::PACKET_SHORT)?;
    tcp(packet, at + HEADER_BYTES, remote, local, false)
}

#[inline(always)]
fn tcp(packet: &Packet, at: usize, remote: [u8; 16], local: [u8; 16], is_v4: bool) -> Result<Segment, u32> {
    const FLAGS: usize = 13;
    let ports: [u16; 2] = packet.read(at).ok_or(counter::PACKET_SHORT)?;
    let flags = packet.read(at + FLAGS).ok_or(counter::PACKET_SHORT)?;
    let [remote_port, local_port] = ports.map(u16::from_be);
    Ok(Segment { remote, local, remote_port, local_port, is_v4, flags })
}

/// Whether a socket of the interface's namespace takes the packet: listener, connection or TIME_WAIT.
#[inline(always)]
fn has_socket(ctx: *mut c_void, segment: &Segment) -> bool {
    const CURRENT_NETNS: u64 = u64::MAX;
    const V4_BYTES: u32 = 12;
    const V6_BYTES: u32 = 36;
    let mut tuple = MaybeUninit::<bpf_sock_tuple>::zeroed();
    let (source, destination) = (segment.remote_port.to_be(), segment.local_port.to_be());
    let size = if segment.is_v4 {
        let words: [u32; 3] = [
            u32::from_ne_bytes([
                segment.remote[12],
                segment.remote[13],
                segment.remote[14],
                segment.remote[15],
            ]),
            u32::from_ne_bytes([segment.local[12], segment.local[13], segment.local[14], segment.local[15]]),
            u32::from(source) | u32::from(destination) << 16,
        ];
        // SAFETY: the union's IPv4 member has this shape and is the smaller one.
        unsafe { tuple.as_mut_ptr().cast::<[u32; 3]>().write(words) };
        V4_BYTES
    } else {
        let bytes = tuple.as_mut_ptr().cast::<[u8; 16]>();
        // SAFETY: the union's IPv6 member is two addresses and two ports.
        unsafe { bytes.write(segment.remote) };
        // SAFETY: as above.
        unsafe { bytes.add(1).write(segment.local) };
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
fn note(segment: &Segment, what: u8, ifindex: u32) {
    let local_port = segment.local_port;
    let key = PeerKey { remote: segment.remote, local_port, what: u16::from(what) };
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
        local: segment.local,
        remote: segment.remote,
        local_port,
        remote_port: segment.remote_port,
        ifindex,
        what,
        reserved: [0; 7],
    });
}

/// Counts who comes for the first time.
#[inline(always)]
fn greet(segment: &Segment) {
    const ANY_PORT: u16 = 0;
    const OPENED: u16 = 3;
    let key = PeerKey { remote: segment.remote, local_port: ANY_PORT, what: OPENED };
    if PEERS.get_ptr(key).is_none() && remember(key) {
        emit::add(counter::PACKET_NEW_PEERS);
    }
}

/// Begins to count a peer, unless too many new ones came within a second: then it is a flood, with
/// forged addresses perhaps, and each packet would be the first of its peer.
#[inline(always)]
fn remember(key: PeerKey) -> bool {
    let Some(budget) = NEW_PEERS.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: the entry stays valid while the program runs, and is this CPU's.
    let budget = unsafe { &mut *budget };
    let span = emit::now() >> 30;
    if budget.span != span {
        budget.span = span;
        budget.spent = 0;
    }
    if NEW_PEERS_PER_SECOND <= budget.spent {
        emit::add(counter::PACKET_THROTTLED);
        return false;
    }
    budget.spent += 1;
    // Refused means that it is reported again at the next packet.
    PEERS.insert(key, 1, 0).ok();
    true
}
