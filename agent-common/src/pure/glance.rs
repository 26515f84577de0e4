//! What most packets say at a glance, by few loads: those without tags, options of IP and tunnel. Of others only the
//! whole parser can tell.

use super::packet::{Bytes, TCP, UDP, UDP_BYTES, is_vxlan_port, payload_bytes};

/// What [`parse`](super::packet::parse) says, too, unless that refuses the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Tcp(PlainTcp),
    Udp(PlainUdp),
    Unsaid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainTcp {
    pub flags: u8,
    pub source_port: u16,
    pub destination_port: u16,
}

/// A whole datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainUdp {
    pub source: Words,
    pub destination: Words,
    pub source_port: u16,
    pub destination_port: u16,
    /// As in [`Headers`](super::packet::Headers).
    pub payload_at: u32,
    pub end: u32,
}

impl PlainUdp {
    /// As [`Headers::payload_bytes`](super::packet::Headers::payload_bytes).
    #[must_use]
    #[inline(always)]
    pub fn payload_bytes(&self, frame_bytes: u32) -> u32 {
        payload_bytes(self.payload_at, self.end, frame_bytes)
    }
}

/// The bytes of an address as they lie in memory: the kernel half moves bytes one by one.
pub type Words = [u64; 2];

#[must_use]
#[inline(always)]
pub fn bytes_of([high, low]: Words) -> [u8; 16] {
    let mut address = [0; 16];
    address[..8].copy_from_slice(&high.to_ne_bytes());
    address[8..].copy_from_slice(&low.to_ne_bytes());
    address
}

const ETHERNET_BYTES: usize = 14;
/// Without options.
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;

#[must_use]
#[inline(always)]
pub fn glance(bytes: &impl Bytes) -> Plain {
    let plain = match bytes.read(ETHERNET_BYTES - 2) {
        Some([0x08, 0x00]) => plain_ipv4(bytes),
        Some([0x86, 0xdd]) => plain_ipv6(bytes),
        _ => None,
    };
    plain.unwrap_or(Plain::Unsaid)
}

#[inline(always)]
fn plain_ipv4(bytes: &impl Bytes) -> Option<Plain> {
    /// Version 4, five words.
    const PLAIN: u8 = 0x45;
    let it: [u8; IPV4_BYTES] = bytes.read(ETHERNET_BYTES)?;
    let total_bytes = u16::from_be_bytes([it[2], it[3]]);
    let is_whole = u16::from_be_bytes([it[6], it[7]]) & 0x3fff == 0;
    let is_short = total_bytes != 0 && usize::from(total_bytes) < IPV4_BYTES;
    if it[0] != PLAIN || !is_whole || is_short {
        return None;
    }
    let word = |at: usize| u64::from_ne_bytes([0, 0, 0xff, 0xff, it[at], it[at + 1], it[at + 2], it[at + 3]]);
    plain(bytes, it[9], ETHERNET_BYTES + IPV4_BYTES, || [[0, word(12)], [0, word(16)]])
}

#[inline(always)]
fn plain_ipv6(bytes: &impl Bytes) -> Option<Plain> {
    let it: [u8; IPV6_BYTES] = bytes.read(ETHERNET_BYTES)?;
    if it[0] >> 4 != 6 {
        return None;
    }
    let word = |at: usize| {
        let [a, b, c, d] = [it[at], it[at + 1], it[at + 2], it[at + 3]];
        u64::from_ne_bytes([a, b, c, d, it[at + 4], it[at + 5], it[at + 6], it[at + 7]])
    };
    plain(bytes, it[6], ETHERNET_BYTES + IPV6_BYTES, || [[word(8), word(16)], [word(24), word(32)]])
}

#[inline(always)]
fn plain(
    bytes: &impl Bytes,
    protocol: u8,
    at: usize,
    addresses: impl FnOnce() -> [Words; 2],
) -> Option<Plain> {
    match protocol {
        TCP => {
            let it: [u8; 14] = bytes.read(at)?;
            let source_port = u16::from_be_bytes([it[0], it[1]]);
            let destination_port = u16::from_be_bytes([it[2], it[3]]);
            Some(Plain::Tcp(PlainTcp { flags: it[13], source_port, destination_port }))
        }
        UDP => {
            let it: [u8; UDP_BYTES] = bytes.read(at)?;
            let source_port = u16::from_be_bytes([it[0], it[1]]);
            let destination_port = u16::from_be_bytes([it[2], it[3]]);
            let n_bytes = u16::from_be_bytes([it[4], it[5]]);
            if is_vxlan_port(destination_port) || usize::from(n_bytes) < UDP_BYTES {
                return None;
            }
            let (payload_at, end) = ((at + UDP_BYTES) as u32, at as u32 + u32::from(n_bytes));
            let [source, destination] = addresses();
            Some(Plain::Udp(PlainUdp { source, destination, source_port, destination_port, payload_at, end }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::packet::{Fragment, Refusal, parse, tests::frames};

    #[test]
    fn it_is_what_the_headers_say() {
        let (mut n_tcp, mut n_udp) = (0, 0);
        for (name, _, frame) in frames() {
            let headers = parse(&&frame[..], 0);
            match glance(&&frame[..]) {
                Plain::Tcp(it) => {
                    n_tcp += 1;
                    // Nobody looks further at those that are refused.
                    let Ok(headers) = headers else {
                        assert_eq!(headers, Err(Refusal::Header), "{name}");
                        continue;
                    };
                    let want = (headers.source_port, headers.destination_port, headers.flags);
                    assert_eq!((it.source_port, it.destination_port, it.flags), want, "{name}");
                    assert_eq!((headers.protocol, headers.in_tunnel), (TCP, false), "{name}");
                }
                Plain::Udp(it) => {
                    n_udp += 1;
                    let headers = headers.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
                    assert_eq!((headers.protocol, headers.in_tunnel), (UDP, false), "{name}");
                    assert_eq!(headers.fragment, Fragment::Whole, "{name}");
                    let got = [it.source, it.destination].map(bytes_of);
                    assert_eq!(got, [headers.source, headers.destination], "{name}");
                    let want = (headers.source_port, headers.destination_port);
                    assert_eq!((it.source_port, it.destination_port), want, "{name}");
                    assert_eq!((it.payload_at, it.end), (headers.payload_at, headers.end), "{name}");
                }
                Plain::Unsaid => {}
            }
        }
        assert!(3 < n_tcp && 1 < n_udp, "{n_tcp} of TCP, {n_udp} of UDP");
    }

    #[test]
    fn a_frame_may_end_anywhere() {
        for (name, _, frame) in frames() {
            let whole = glance(&&frame[..]);
            for len in 0..frame.len() {
                let cut = glance(&&frame[..len]);
                assert!(cut == Plain::Unsaid || cut == whole, "{name}, {len} bytes");
            }
        }
    }
}
