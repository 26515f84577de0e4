//! One file per family of events; each event starts with a [`Header`].

use crate::Wire;

wire! {
    /// The first bytes of every record.
    pub struct Header: 24 bytes {
        /// `bpf_ktime_get_ns`: CLOCK_MONOTONIC, nanoseconds since boot without suspend.
        pub ktime_ns: u64,
        /// Process (the kernel's tgid), in the initial pid namespace. 0 when none is current.
        pub tgid: u32,
        /// Thread (the kernel's pid), in the initial pid namespace.
        pub tid: u32,
        /// [`Record::KIND`] of the whole record.
        pub kind: u32,
        /// Explicit, so that no byte of the stack leaks.
        pub reserved: u32,
    }
}

/// A [`Wire`] type that starts with a [`Header`]. Implemented by the table below only.
pub trait Record: Wire {
    const KIND: u32;
    /// The slot of [`crate::counter`] that counts a record for which the ring had no room.
    const LOST: u32;
}

/// Why some bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    Short { kind: u32, len: usize },
    UnknownKind(u32),
}

macro_rules! records {
    ($( $kind:literal => $module:ident::$name:ident, lost: $lost:ident; )*) => {
        /// Any record, by kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $( $name($module::$name), )* }

        $(
            impl Record for $module::$name {
                const KIND: u32 = $kind;
                const LOST: u32 = crate::counter::$lost;
            }
            const _: () = assert!(core::mem::offset_of!($module::$name, header) == 0);
        )*

        /// Total: no input panics or blocks. Bytes after the record are ignored.
        pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
            let len = bytes.len();
            let Some(Header { kind, .. }) = Header::read_from(bytes) else {
                return Err(DecodeError::Short { kind: 0, len });
            };
            match kind {
                $( $kind => $module::$name::read_from(bytes).map(Event::$name), )*
                unknown => return Err(DecodeError::UnknownKind(unknown)),
            }
            .ok_or(DecodeError::Short { kind, len })
        }
    };
}

pub mod dns;
pub mod fault;
pub mod http;
pub mod packet;
pub mod proc;
pub mod sock;
pub mod sql;
pub mod udp;

// A number is never used again; gaps are retired records.
records! {
    1 => proc::Exec, lost: PROC_RING_FULL;
    2 => proc::Exit, lost: PROC_RING_FULL;
    5 => packet::Stray, lost: PACKET_RING_FULL;
    7 => sock::ConnectFailed, lost: SOCK_RING_FULL;
    8 => sock::Closed, lost: SOCK_RING_FULL;
    9 => fault::Retransmit, lost: FAULT_RING_FULL;
    10 => fault::RtoEnded, lost: FAULT_RING_FULL;
    11 => udp::UdpOwner, lost: UDP_RING_FULL;
    14 => dns::DnsPacket, lost: DNS_RING_FULL;
    15 => http::Call, lost: HTTP_RING_FULL;
    18 => sql::Statement, lost: SQL_RING_FULL;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_record_is_an_error_and_never_a_panic() {
        let mut record = [0xffu8; size_of::<http::Call>()];
        record[16..20].copy_from_slice(&http::Call::KIND.to_ne_bytes());
        for len in 0..record.len() {
            assert!(matches!(decode(&record[..len]), Err(DecodeError::Short { .. })), "{len}");
        }
        assert!(decode(&record).is_ok());
    }

    #[test]
    fn an_unknown_kind_is_named() {
        assert_eq!(decode(&[0xff; 24]), Err(DecodeError::UnknownKind(u32::MAX)));
    }

    #[test]
    fn a_record_survives_the_way_there_and_back() {
        let mut exec = proc::Exec::zeroed();
        exec.header = Header { ktime_ns: 1, tgid: 2, tid: 3, kind: proc::Exec::KIND, reserved: 0 };
        assert_eq!(decode(exec.as_bytes()), Ok(Event::Exec(exec)));
    }
}
