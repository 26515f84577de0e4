//! Packets from nobody.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

/// SYNs, each from an address of its own, from the network namespace that this thread is in.
///
/// # Panics
///
/// When the kernel refuses the socket, which takes CAP_NET_RAW, or a packet.
#[track_caller]
pub fn syns(to: SocketAddrV4, n_packets: u32) {
    const SYN: u8 = 2;
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
        .unwrap_or_else(|error| panic!("no raw socket: {error}"));
    let there = SocketAddr::new((*to.ip()).into(), 0).into();
    for n in 0..n_packets {
        let packet = segment(Ipv4Addr::from_bits(0x0b00_0001 + n), to, SYN);
        raw.send_to(&packet, &there).unwrap_or_else(|error| panic!("SYN {n}: {error}"));
    }
}

/// Headers of IPv4 and TCP.
fn segment(from: Ipv4Addr, to: SocketAddrV4, flags: u8) -> [u8; 40] {
    const SOURCE_PORT: u16 = 1025;
    let mut packet = [0u8; 40];
    // Version and length, time to live, TCP; the kernel fills in the rest.
    (packet[0], packet[8], packet[9]) = (0x45, 64, 6);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.ip().octets());
    packet[20..22].copy_from_slice(&SOURCE_PORT.to_be_bytes());
    packet[22..24].copy_from_slice(&to.port().to_be_bytes());
    (packet[32], packet[33]) = (0x50, flags);
    let sum = checksum(&packet);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Of TCP, over addresses, protocol, length and the segment: without it no listener would see the packet.
fn checksum(packet: &[u8; 40]) -> u16 {
    let segment = &packet[20..];
    let pseudo = [0, packet[9], 0, 20];
    let words = packet[12..20].chunks_exact(2).chain(pseudo.chunks_exact(2)).chain(segment.chunks_exact(2));
    let mut sum: u32 = words.map(|it| u32::from(u16::from_be_bytes([it[0], it[1]]))).sum();
    while 0xffff < sum {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_adds_up_to_nothing() {
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 8081);
        let packet = segment(Ipv4Addr::new(11, 0, 0, 1), to, 2);
        assert_ne!(packet[36..38], [0, 0]);
        assert_eq!(checksum(&packet), 0);
    }
}
