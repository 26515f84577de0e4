//! Loses TCP segments as it is told, and no others: the third, the last two, every fiftieth. What a test
//! or a demo loses so it loses each time, which no random queue discipline does.
//!
//! It sits at the host's end of a veth pair, where a dropped packet is lost on the way: dropped by its
//! sender's own interface, the sender would know.
#![no_std]
#![no_main]

#[expect(unreachable_pub, dead_code, reason = "the file belongs to the user half, too")]
mod command;

use aya_ebpf::{
    macros::{classifier, map},
    maps::Array,
    programs::TcContext,
};

use command::{Command, drop};

/// One. The user half replaces it, the programs count in it.
#[map]
static COMMAND: Array<Command> = Array::with_max_entries(1, 0);

/// `enum tcx_action_base`, include/uapi/linux/bpf.h.
const TCX_NEXT: i32 = -1;
const TCX_DROP: i32 = 2;

#[classifier]
fn from_behind(ctx: TcContext) -> i32 {
    verdict(&ctx, Way::From)
}

#[classifier]
fn to_behind(ctx: TcContext) -> i32 {
    verdict(&ctx, Way::To)
}

/// Of a packet, seen from what is behind the interface.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    From,
    To,
}

#[inline(always)]
fn verdict(ctx: &TcContext, way: Way) -> i32 {
    let Some(command) = COMMAND.get_ptr_mut(0) else {
        return TCX_NEXT;
    };
    // SAFETY: the entry of an array stays where it is. One connection at a time is what tests lose
    // segments of, and its packets come one after another.
    let command = unsafe { &mut *command };
    if command.drop == drop::NOTHING {
        return TCX_NEXT;
    }
    let Some(segment) = parse(ctx) else {
        return TCX_NEXT;
    };
    let port = command.port as u16;
    if command.port != 0 && segment.ports[0] != port && segment.ports[1] != port {
        return TCX_NEXT;
    }
    if !may_drop(command.drop, &segment, way) {
        return TCX_NEXT;
    }
    command.seen += 1;
    let n = command.seen;
    let drops = match command.drop {
        drop::EVERYTHING => true,
        drop::ONE_IN => command.first != 0 && n % u64::from(command.first) == 0,
        _ => u64::from(command.first) <= n && n <= u64::from(command.last),
    };
    if !drops {
        return TCX_NEXT;
    }
    command.dropped += 1;
    TCX_DROP
}

#[inline(always)]
fn may_drop(what: u32, segment: &Segment, way: Way) -> bool {
    const SYN_ACK: u8 = 0x12;
    match what {
        drop::EVERYTHING => true,
        drop::DATA | drop::ONE_IN => way == Way::From && segment.has_payload,
        drop::SYN_ACKS => way == Way::To && segment.flags & SYN_ACK == SYN_ACK,
        _ => false,
    }
}

struct Segment {
    ports: [u16; 2],
    flags: u8,
    has_payload: bool,
}

/// `None`: no TCP over IPv4. The headers are in the linear part.
#[inline(always)]
fn parse(ctx: &TcContext) -> Option<Segment> {
    const ETHERNET_BYTES: usize = 14;
    const IPPROTO_TCP: u8 = 6;
    let kind: u16 = read(ctx, 12)?;
    let ip: [u8; 20] = read(ctx, ETHERNET_BYTES)?;
    if u16::from_be(kind) != 0x0800 || ip[9] != IPPROTO_TCP {
        return None;
    }
    let ip_bytes = usize::from(ip[0] & 0x0f) * 4;
    let tcp: [u8; 14] = read(ctx, ETHERNET_BYTES + ip_bytes)?;
    let tcp_bytes = usize::from(tcp[12] >> 4) * 4;
    let total_bytes = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    Some(Segment {
        ports: [u16::from_be_bytes([tcp[0], tcp[1]]), u16::from_be_bytes([tcp[2], tcp[3]])],
        flags: tcp[13],
        // Of a packet larger than 64 KiB the length is 0: those carry much.
        has_payload: total_bytes == 0 || ip_bytes + tcp_bytes < total_bytes,
    })
}

#[inline(always)]
fn read<T: Copy>(ctx: &TcContext, offset: usize) -> Option<T> {
    let (start, end) = (ctx.data(), ctx.data_end());
    if end < start + offset + size_of::<T>() {
        return None;
    }
    // SAFETY: the verifier proves the bound that was just tested.
    Some(unsafe { ((start + offset) as *const T).read_unaligned() })
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: a program with a path to here loops, and the verifier refuses it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
