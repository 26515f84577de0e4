//! The headers of a packet down to its ports, whatever its bytes are and wherever they end.
//!
//! Ethernet -> at most 2 tags -> IPv4, or IPv6 with at most 4 extension headers -> TCP, UDP, ICMP. Of a tunnel
//! (VXLAN, IP in IP) the headers inside are those that count.

use crate::counter;

/// Bytes that may end anywhere.
pub trait Bytes {
    /// Those at an offset; `None` when they are not all there.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// The number itself. The kernel's verifier is to take it for any number: else it looks at all that follows
    /// once more for each way on which the headers may have led here.
    fn hide(&self, number: usize) -> usize {
        number
    }
}

impl Bytes for &[u8] {
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }
}

/// Tags that a packet may have, wherever they stand.
pub const MAX_TAGS: usize = 2;
const MAX_EXTENSIONS: usize = 4;

// https://www.iana.org/assignments/protocol-numbers
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const IPV4_INSIDE: u8 = 4;
const IPV6_INSIDE: u8 = 41;
const ICMP6: u8 = 58;

/// Bits of [`Headers::flags`].
pub mod flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

/// Which part of a datagram a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    Whole,
    /// It has the ports.
    First,
    /// It has none: they are not guessed.
    Later,
}

impl Fragment {
    #[inline(always)]
    fn new(is_later: bool, has_more: bool) -> Self {
        match (is_later, has_more) {
            (true, _) => Self::Later,
            (false, true) => Self::First,
            (false, false) => Self::Whole,
        }
    }

    #[inline(always)]
    fn hidden(self, bytes: &impl Bytes) -> Self {
        let number = bytes.hide(self as usize);
        Self::new(number == Self::Later as usize, number == Self::First as usize)
    }
}

/// What the headers say. Addresses are IPv6, IPv4 ones are mapped; ports are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    pub source: [u8; 16],
    pub destination: [u8; 16],
    /// 0 where there are no ports.
    pub source_port: u16,
    pub destination_port: u16,
    pub protocol: u8,
    /// Of TCP; else 0.
    pub flags: u8,
    pub is_v4: bool,
    /// These are the headers inside of a tunnel.
    pub in_tunnel: bool,
    pub fragment: Fragment,
    /// Offset of what follows the last header.
    pub payload_at: u32,
    /// Offset of the datagram's end as the headers tell it; 0: they do not.
    pub end: u32,
}

impl Headers {
    /// Payload in a frame that is so long in all; without the padding of short frames.
    #[must_use]
    #[inline(always)]
    pub fn payload_bytes(&self, frame_bytes: u32) -> u32 {
        payload_bytes(self.payload_at, self.end, frame_bytes)
    }
}

/// Why a packet is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It ends before its headers do.
    Short,
    /// Neither IPv4 nor IPv6.
    Ethertype,
    Tags,
    /// A header contradicts itself.
    Header,
    Extensions,
    /// Neither TCP nor UDP nor ICMP.
    Protocol,
}

impl Refusal {
    /// The slot of [`counter`] for it.
    #[must_use]
    #[inline(always)]
    pub fn counter(self) -> u32 {
        match self {
            Self::Short => counter::PACKET_SHORT,
            Self::Ethertype => counter::PACKET_OTHER,
            Self::Tags => counter::PACKET_TAGS,
            Self::Header => counter::PACKET_HEADER,
            Self::Extensions => counter::PACKET_EXTENSIONS,
            Self::Protocol => counter::PACKET_PROTOCOL,
        }
    }
}

/// As [`Headers::payload_bytes`].
#[inline(always)]
pub(super) fn payload_bytes(payload_at: u32, end: u32, frame_bytes: u32) -> u32 {
    let end = if end == 0 || frame_bytes < end { frame_bytes } else { end };
    end.saturating_sub(payload_at)
}

/// The headers of an Ethernet frame. `tags`: how many were taken off before and are not in the bytes.
#[inline(always)]
pub fn parse(bytes: &impl Bytes, tags: usize) -> Result<Headers, Refusal> {
    let outer = frame(bytes, 0, tags)?;
    let is_whole = outer.fragment == Fragment::Whole;
    let (network, in_tunnel) = match outer.protocol {
        IPV4_INSIDE if is_whole => (ipv4(bytes, outer.at)?, true),
        IPV6_INSIDE if is_whole => (ipv6(bytes, outer.at)?, true),
        UDP if is_whole => match vxlan(bytes, outer.at)? {
            Some(at) => (frame(bytes, at, 0)?, true),
            None => (outer, false),
        },
        _ => (outer, false),
    };
    transport(bytes, &network, in_tunnel)
}

/// The network layer, and where the next one begins.
#[derive(Clone, Copy)]
struct Network {
    source: [u8; 16],
    destination: [u8; 16],
    protocol: u8,
    is_v4: bool,
    fragment: Fragment,
    at: usize,
    end: u32,
}

#[inline(always)]
fn frame(bytes: &impl Bytes, at: usize, tags: usize) -> Result<Network, Refusal> {
    const ETHERTYPE: usize = 12;
    const TAG_BYTES: usize = 4;
    let mut at = at + ETHERTYPE;
    for n in 0..=MAX_TAGS {
        let [high, low] = bytes.read(at).ok_or(Refusal::Short)?;
        match u16::from_be_bytes([high, low]) {
            0x8100 | 0x88a8 if tags + n < MAX_TAGS => at += TAG_BYTES,
            0x8100 | 0x88a8 => return Err(Refusal::Tags),
            0x0800 => return ipv4(bytes, bytes.hide(at + 2)),
            0x86dd => return ipv6(bytes, bytes.hide(at + 2)),
            _ => return Err(Refusal::Ethertype),
        }
    }
    Err(Refusal::Tags)
}

#[inline(always)]
fn ipv4(bytes: &impl Bytes, at: usize) -> Result<Network, Refusal> {
    const LEAST_BYTES: usize = 20;
    const OFFSET: u16 = 0x1fff;
    const MORE: u16 = 0x2000;
    let it: [u8; LEAST_BYTES] = bytes.read(at).ok_or(Refusal::Short)?;
    let header_bytes = usize::from(it[0] & 0x0f) * 4;
    let total_bytes = u16::from_be_bytes([it[2], it[3]]);
    let is_short = total_bytes != 0 && usize::from(total_bytes) < header_bytes;
    if it[0] >> 4 != 4 || header_bytes < LEAST_BYTES || is_short {
        return Err(Refusal::Header);
    }
    let place = u16::from_be_bytes([it[6], it[7]]);
    Ok(Network {
        source: mapped([it[12], it[13], it[14], it[15]]),
        destination: mapped([it[16], it[17], it[18], it[19]]),
        protocol: it[9],
        is_v4: true,
        fragment: Fragment::new(place & OFFSET != 0, place & MORE != 0).hidden(bytes),
        at: bytes.hide(at + header_bytes),
        end: end(bytes, at, total_bytes),
    })
}

#[inline(always)]
fn ipv6(bytes: &impl Bytes, at: usize) -> Result<Network, Refusal> {
    const HEADER_BYTES: usize = 40;
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let it: [u8; HEADER_BYTES] = bytes.read(at).ok_or(Refusal::Short)?;
    if it[0] >> 4 != 6 {
        return Err(Refusal::Header);
    }
    let payload_bytes = u16::from_be_bytes([it[4], it[5]]);
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    source.copy_from_slice(&it[8..24]);
    destination.copy_from_slice(&it[24..40]);
    let (mut protocol, mut end_at) = (it[6], at + HEADER_BYTES);
    let (mut is_later, mut has_more) = (false, false);
    for n in 0..=MAX_EXTENSIONS {
        match protocol {
            HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION if n == MAX_EXTENSIONS => {
                return Err(Refusal::Extensions);
            }
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let [next, eights] = bytes.read(end_at).ok_or(Refusal::Short)?;
                protocol = next;
                end_at = bytes.hide(end_at + (usize::from(eights) + 1) * 8);
            }
            FRAGMENT => {
                let it: [u8; 8] = bytes.read(end_at).ok_or(Refusal::Short)?;
                protocol = it[0];
                end_at += it.len();
                let place = u16::from_be_bytes([it[2], it[3]]);
                (is_later, has_more) = (place >> 3 != 0, place & 1 != 0);
                if is_later {
                    break;
                }
            }
            _ => break,
        }
    }
    Ok(Network {
        source,
        destination,
        protocol,
        is_v4: false,
        fragment: Fragment::new(is_later, has_more).hidden(bytes),
        at: bytes.hide(end_at),
        end: end(bytes, at + HEADER_BYTES, payload_bytes),
    })
}

/// A length is 0 in large packets that are cut into segments later, and then the end is not known.
#[inline(always)]
fn end(bytes: &impl Bytes, from: usize, n_bytes: u16) -> u32 {
    let end = if n_bytes == 0 { 0 } else { from + usize::from(n_bytes) };
    bytes.hide(end) as u32
}

pub(super) const UDP_BYTES: usize = 8;

#[inline(always)]
pub(super) fn is_vxlan_port(port: u16) -> bool {
    const ASSIGNED: u16 = 4789;
    /// What Linux took before there was a number, and what flannel takes.
    const OF_LINUX: u16 = 8472;
    matches!(port, ASSIGNED | OF_LINUX)
}

/// Where the frame inside begins. Who sends other things to these ports sends no VXLAN header.
#[inline(always)]
fn vxlan(bytes: &impl Bytes, at: usize) -> Result<Option<usize>, Refusal> {
    const HEADER_BYTES: usize = 8;
    const HAS_ID: u8 = 0x08;
    let it: [u8; 6] = bytes.read(at).ok_or(Refusal::Short)?;
    let n_bytes = usize::from(u16::from_be_bytes([it[4], it[5]]));
    let is_port = is_vxlan_port(u16::from_be_bytes([it[2], it[3]]));
    if !is_port || (n_bytes != 0 && n_bytes < UDP_BYTES + HEADER_BYTES) {
        return Ok(None);
    }
    let it: [u8; HEADER_BYTES] = bytes.read(at + UDP_BYTES).ok_or(Refusal::Short)?;
    let is_vxlan = it[0] == HAS_ID && it[7] == 0;
    Ok(is_vxlan.then_some(bytes.hide(at + UDP_BYTES + HEADER_BYTES)))
}

#[inline(always)]
fn transport(bytes: &impl Bytes, network: &Network, in_tunnel: bool) -> Result<Headers, Refusal> {
    let Network { source, destination, protocol, is_v4, fragment, at, end } = *network;
    let mut headers = Headers {
        source,
        destination,
        source_port: 0,
        destination_port: 0,
        protocol,
        flags: 0,
        is_v4,
        in_tunnel,
        fragment,
        payload_at: at as u32,
        end,
    };
    match protocol {
        TCP | UDP | ICMP | ICMP6 if fragment == Fragment::Later => {}
        TCP => tcp(bytes, at, &mut headers)?,
        UDP => udp(bytes, at, &mut headers)?,
        ICMP | ICMP6 => {}
        _ => return Err(Refusal::Protocol),
    }
    Ok(headers)
}

#[inline(always)]
fn tcp(bytes: &impl Bytes, at: usize, headers: &mut Headers) -> Result<(), Refusal> {
    const LEAST_WORDS: u8 = 5;
    let it: [u8; 14] = bytes.read(at).ok_or(Refusal::Short)?;
    let words = it[12] >> 4;
    if words < LEAST_WORDS {
        return Err(Refusal::Header);
    }
    headers.source_port = u16::from_be_bytes([it[0], it[1]]);
    headers.destination_port = u16::from_be_bytes([it[2], it[3]]);
    headers.flags = it[13];
    headers.payload_at = at as u32 + u32::from(words) * 4;
    Ok(())
}

#[inline(always)]
fn udp(bytes: &impl Bytes, at: usize, headers: &mut Headers) -> Result<(), Refusal> {
    let it: [u8; UDP_BYTES] = bytes.read(at).ok_or(Refusal::Short)?;
    let n_bytes = u16::from_be_bytes([it[4], it[5]]);
    if n_bytes != 0 && usize::from(n_bytes) < UDP_BYTES {
        return Err(Refusal::Header);
    }
    headers.source_port = u16::from_be_bytes([it[0], it[1]]);
    headers.destination_port = u16::from_be_bytes([it[2], it[3]]);
    headers.payload_at = (at + UDP_BYTES) as u32;
    // The length of a fragment is that of the whole datagram.
    if n_bytes != 0 && headers.fragment == Fragment::Whole {
        headers.end = end(bytes, at, n_bytes);
    }
    Ok(())
}

/// `::ffff:a.b.c.d`.
#[must_use]
#[inline(always)]
pub fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[10] = 0xff;
    address[11] = 0xff;
    address[12] = v4[0];
    address[13] = v4[1];
    address[14] = v4[2];
    address[15] = v4[3];
    address
}

/// An answer in one number, so that both halves can be asked whether they give the same.
#[must_use]
#[inline(always)]
pub fn digest(answer: &Result<Headers, Refusal>) -> u32 {
    /// FNV's prime, for words instead of bytes.
    const PRIME: u32 = 0x0100_0193;
    const IS_HEADERS: u32 = 1 << 31;
    let it = match answer {
        Ok(it) => it,
        Err(refusal) => return *refusal as u32 + 1,
    };
    let mut sum = 0x811c_9dc5_u32;
    let mut mix = |word: u32| sum = (sum ^ word).wrapping_mul(PRIME);
    for address in [&it.source, &it.destination] {
        for n in 0..4 {
            mix(u32::from_be_bytes([
                address[n * 4],
                address[n * 4 + 1],
                address[n * 4 + 2],
                address[n * 4 + 3],
            ]));
        }
    }
    mix(u32::from(it.source_port) << 16 | u32::from(it.destination_port));
    mix(u32::from(it.protocol) << 8 | u32::from(it.flags));
    mix((it.fragment as u32) << 2 | u32::from(it.in_tunnel) << 1 | u32::from(it.is_v4));
    mix(it.payload_at);
    mix(it.end);
    sum | IS_HEADERS
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeSet, net::Ipv6Addr};

    use super::*;

    /// The same in `tests/kernel/parser.rs`.
    const FRAMES: &str = include_str!("packets.txt");

    #[test]
    fn frames_are_read() {
        let mut refusals = BTreeSet::new();
        for (name, want, frame) in frames() {
            let got = parse(&&frame[..], 0);
            assert_eq!(text(&got), want, "{name}");
            refusals.extend(got.err().map(|it| format!("{it:?}")));
        }
        assert_eq!(refusals.len(), 6, "each refusal has its frame: {refusals:?}");
    }

    /// A frame that was cut is short, or says what the whole one says.
    #[test]
    fn frames_may_end_anywhere() {
        let (mut n_short, mut n_same) = (0, 0);
        for (name, _, frame) in frames() {
            let whole = parse(&&frame[..], 0);
            for len in 0..frame.len() {
                let cut = parse(&&frame[..len], 0);
                if cut == Err(Refusal::Short) {
                    n_short += 1;
                    continue;
                }
                n_same += 1;
                assert_eq!(cut, whole, "{name}, {len} bytes");
                assert!(
                    cut.is_err() || cut.is_ok_and(|it| it.payload_bytes(len as u32) as usize <= len),
                    "{name}"
                );
            }
        }
        println!("{n_short} short, {n_same} not");
        assert!(0 < n_short && 0 < n_same);
    }

    #[test]
    fn tags_that_were_taken_off_count() {
        let frame = |name| frames().find(|it| it.0 == name).unwrap().2;
        let (one, two) = (frame("vlan"), frame("qinq"));
        assert!(parse(&&one[..], 1).is_ok());
        assert_eq!(parse(&&one[..], 2), Err(Refusal::Tags));
        assert_eq!(parse(&&two[..], 1), Err(Refusal::Tags));
    }

    #[test]
    fn payload_is_what_the_headers_and_the_frame_both_have() {
        let headers =
            |end| Headers { payload_at: 42, end, ..parse(&&frames().next().unwrap().2[..], 0).unwrap() };
        for (end, frame, want) in [(50, 50, 8), (50, 60, 8), (50, 46, 4), (50, 40, 0), (0, 64_000, 63_958)] {
            assert_eq!(headers(end).payload_bytes(frame), want, "{end} of {frame}");
        }
    }

    #[test]
    fn answers_that_differ_have_digests_that_differ() {
        let answers = frames().map(|(_, text, frame)| (text, digest(&parse(&&frame[..], 0))));
        let answers: BTreeSet<_> = answers.collect();
        let digests: BTreeSet<_> = answers.iter().map(|it| it.1).collect();
        assert_eq!(answers.len(), digests.len());
    }

    pub(in crate::pure) fn frames() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
        FRAMES.lines().filter(|it| !it.starts_with('#')).map(|line| {
            let [name, want, hex] = line.split(" | ").collect::<Vec<_>>()[..] else { panic!("{line}") };
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (name, want, (0..hex.len()).step_by(2).map(byte).collect())
        })
    }

    fn text(answer: &Result<Headers, Refusal>) -> String {
        let it = match answer {
            Ok(it) => it,
            Err(refusal) => return format!("refused {refusal:?}"),
        };
        let protocol = match it.protocol {
            TCP => "tcp",
            UDP => "udp",
            ICMP => "icmp",
            ICMP6 => "icmp6",
            other => panic!("{other}"),
        };
        let [source, destination] = [it.source, it.destination].map(|it| Ipv6Addr::from(it).to_canonical());
        assert_eq!(it.is_v4, source.is_ipv4());
        let mut text = format!(
            "{protocol} {source} {} > {destination} {} {}..{}",
            it.source_port, it.destination_port, it.payload_at, it.end
        );
        if it.flags != 0 {
            text += &format!(" flags {:#04x}", it.flags);
        }
        text += match it.fragment {
            Fragment::Whole => "",
            Fragment::First => " first",
            Fragment::Later => " later",
        };
        text + if it.in_tunnel { " tunnel" } else { "" }
    }
}
