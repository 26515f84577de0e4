//! UDP: what is counted of each flow, and whose sockets they are.

use super::Header;

/// Values of [`FlowKey::place`]: where packets are counted.
pub mod place {
    /// As they leave the socket that sent them: each byte once.
    pub const SENT: u8 = 1;
    /// At the door of the workload that they are for; their sender's socket is not known there.
    pub const TO_WORKLOAD: u8 = 2;
    /// As they come in from outside, for the host or for whoever is behind it.
    pub const FROM_OUTSIDE: u8 = 3;
}

wire! {
    /// The key of `FLOWS`: packets one way. Addresses as in [`super::sock::State`].
    ///
    /// Both ports are 0 for fragments after the first. It is aligned, so that the kernel half writes it by words.
    #[repr(align(8))]
    #[derive(Hash, PartialOrd, Ord)]
    pub struct FlowKey: 40 bytes {
        pub source: [u8; 16],
        pub destination: [u8; 16],
        pub source_port: u16,
        pub destination_port: u16,
        pub protocol: u8,
        pub place: u8,
        /// Of fragments without ports, the low bits of the sender's cookie: they keep sockets apart.
        pub socket: u16,
    }
}

wire! {
    /// The value of `FLOWS`.
    pub struct FlowCount: 64 bytes {
        /// Payload, without headers.
        pub bytes: u64,
        /// As they go over the wire: a large one that is cut later counts as its parts.
        pub packets: u64,
        /// Of the first packet. Another one means that the entry is new.
        pub first_ktime_ns: u64,
        /// Of the socket that sent last; 0 when it is not known.
        pub cookie: u64,
        /// Of the socket that sent first; 0 when it is not known.
        pub cgroup_id: u64,
        /// Where the first packet was met.
        pub ifindex: u32,
        pub reserved: [u8; 20],
    }
}

wire! {
    /// A row of the periodic dump. It goes through an iterator, not through the ring.
    pub struct FlowRow: 104 bytes {
        pub key: FlowKey,
        pub count: FlowCount,
    }
}

wire! {
    /// All that was ever counted, whatever became of the flows: kept for each CPU.
    pub struct FlowTotals: 24 bytes {
        pub bytes: u64,
        pub packets: u64,
        /// Flows that the map took.
        pub flows: u64,
    }
}

wire! {
    /// Who uses a UDP socket: at its first call, when another process calls, and now and then.
    pub struct UdpOwner: 80 bytes {
        pub header: Header,
        pub cookie: u64,
        pub cgroup_id: u64,
        pub local: [u8; 16],
        /// Unspecified, with port 0, when the socket is not connected.
        pub remote: [u8; 16],
        pub local_port: u16,
        pub remote_port: u16,
        /// Inode number of the network namespace.
        pub netns: u32,
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// A change here changes what old recordings mean: retire the kind and add a new one instead.
    #[test]
    fn offsets_are_frozen() {
        let owner = [
            ("cookie", offset_of!(UdpOwner, cookie), 24),
            ("cgroup_id", offset_of!(UdpOwner, cgroup_id), 32),
            ("local", offset_of!(UdpOwner, local), 40),
            ("remote", offset_of!(UdpOwner, remote), 56),
            ("local_port", offset_of!(UdpOwner, local_port), 72),
            ("remote_port", offset_of!(UdpOwner, remote_port), 74),
            ("netns", offset_of!(UdpOwner, netns), 76),
        ];
        let row = [
            ("source", offset_of!(FlowRow, key.source), 0),
            ("destination", offset_of!(FlowRow, key.destination), 16),
            ("source_port", offset_of!(FlowRow, key.source_port), 32),
            ("destination_port", offset_of!(FlowRow, key.destination_port), 34),
            ("protocol", offset_of!(FlowRow, key.protocol), 36),
            ("place", offset_of!(FlowRow, key.place), 37),
            ("socket", offset_of!(FlowRow, key.socket), 38),
            ("bytes", offset_of!(FlowRow, count.bytes), 40),
            ("packets", offset_of!(FlowRow, count.packets), 48),
            ("first_ktime_ns", offset_of!(FlowRow, count.first_ktime_ns), 56),
            ("cookie", offset_of!(FlowRow, count.cookie), 64),
            ("cgroup_id", offset_of!(FlowRow, count.cgroup_id), 72),
            ("ifindex", offset_of!(FlowRow, count.ifindex), 80),
        ];
        for (name, got, want) in owner.into_iter().chain(row) {
            assert_eq!(got, want, "{name}");
        }
    }
}
