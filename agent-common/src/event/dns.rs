//! DNS messages, as far as each is in one packet.

use super::Header;

wire! {
    /// A query or an answer, which its own first bytes tell. Its first [`DnsPacket::copied_bytes`] follow the
    /// record; what comes after them is left from older records.
    ///
    /// Addresses as in [`super::sock::State`]. Of the header only the time is always known: the process
    /// is the one that asks, where the hook can tell, and else 0.
    pub struct DnsPacket: 80 bytes {
        pub header: Header,
        /// Of the socket that sent the packet; 0 where the packet does not point to it.
        pub cookie: u64,
        pub source: [u8; 16],
        pub destination: [u8; 16],
        pub source_port: u16,
        pub destination_port: u16,
        pub ifindex: u32,
        /// Of the whole message, as the UDP header says, or the two bytes before it in TCP.
        pub wire_bytes: u16,
        pub copied_bytes: u16,
        /// [`crate::pure::packet::UDP`] or [`crate::pure::packet::TCP`].
        pub protocol: u8,
        pub reserved: [u8; 3],
    }
}

impl DnsPacket {
    /// What was copied of the message, out of a whole record; `None` when it contradicts itself.
    #[must_use]
    pub fn payload<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        record.get(size_of::<Self>()..)?.get(..usize::from(self.copied_bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;
    use crate::Wire as _;

    /// A change here changes what old recordings mean: retire the kind and add a new one instead.
    #[test]
    fn offsets_are_frozen() {
        let message = [
            ("header", offset_of!(DnsPacket, header), 0),
            ("cookie", offset_of!(DnsPacket, cookie), 24),
            ("source", offset_of!(DnsPacket, source), 32),
            ("destination", offset_of!(DnsPacket, destination), 48),
            ("source_port", offset_of!(DnsPacket, source_port), 64),
            ("destination_port", offset_of!(DnsPacket, destination_port), 66),
            ("ifindex", offset_of!(DnsPacket, ifindex), 68),
            ("wire_bytes", offset_of!(DnsPacket, wire_bytes), 72),
            ("copied_bytes", offset_of!(DnsPacket, copied_bytes), 74),
            ("protocol", offset_of!(DnsPacket, protocol), 76),
        ];
        for (name, got, want) in message {
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn a_payload_that_is_not_all_there_is_none() {
        let message = DnsPacket { copied_bytes: 3, ..DnsPacket::zeroed() };
        let mut record = message.as_bytes().to_vec();
        record.extend([7, 8]);
        assert_eq!(message.payload(&record), None);
        record.extend([9, 10]);
        assert_eq!(message.payload(&record), Some(&[7, 8, 9][..]));
        assert_eq!(message.payload(&[]), None);
    }
}
