//! What the kernel has counted for a socket.

use std::{io, mem::size_of_val, net::TcpStream, os::fd::AsRawFd as _};

use serde_json::{Value, json};

/// Of `struct tcp_info` in linux/tcp.h, which only grows at its end.
mod offset {
    pub(super) const STATE: usize = 0;
    pub(super) const RTT: usize = 68;
    pub(super) const TOTAL_RETRANS: usize = 100;
    pub(super) const BYTES_ACKED: usize = 120;
    pub(super) const BYTES_RECEIVED: usize = 128;
    pub(super) const SEGS_OUT: usize = 136;
    pub(super) const SEGS_IN: usize = 140;
    pub(super) const BYTES_SENT: usize = 200;
    pub(super) const BYTES_RETRANS: usize = 208;
    pub(super) const REQUIRED: usize = 216;
    // Since Linux 6.7.
    pub(super) const TOTAL_RTO: usize = 240;
    pub(super) const TOTAL_RTO_RECOVERIES: usize = 242;
    pub(super) const TOTAL_RTO_MS: usize = 244;
    pub(super) const END: usize = 248;
}

/// By the number, from 1.
const STATES: [&str; 12] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_recv",
];

pub(crate) struct TcpInfo {
    bytes: [u8; offset::END],
    /// How many of them this kernel knows.
    length: usize,
}

impl TcpInfo {
    /// `libc::tcp_info` ends before the byte counts, hence the raw bytes.
    pub(crate) fn of(stream: &TcpStream) -> io::Result<Self> {
        let mut bytes = [0; offset::END];
        let mut length = size_of_val(&bytes) as libc::socklen_t;
        let (level, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        // SAFETY: the kernel writes at most `length` bytes to `bytes`, and any byte is a valid `u8`.
        let failed = unsafe {
            libc::getsockopt(stream.as_raw_fd(), level, option, bytes.as_mut_ptr().cast(), &raw mut length)
        };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        let length = length as usize;
        if length < offset::REQUIRED {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel's TCP_INFO has no bytes_sent",
            ));
        }
        Ok(Self { bytes, length })
    }

    pub(crate) fn to_json(&self) -> Value {
        let state = usize::from(self.bytes[offset::STATE]);
        let newest = offset::END <= self.length;
        json!({
            "state": state.checked_sub(1).and_then(|it| STATES.get(it)),
            "bytes_sent": self.u64(offset::BYTES_SENT),
            "bytes_retrans": self.u64(offset::BYTES_RETRANS),
            "bytes_received": self.u64(offset::BYTES_RECEIVED),
            "bytes_acked": self.u64(offset::BYTES_ACKED),
            "segs_out": self.u32(offset::SEGS_OUT),
            "segs_in": self.u32(offset::SEGS_IN),
            "total_retrans": self.u32(offset::TOTAL_RETRANS),
            "rtt_us": self.u32(offset::RTT),
            "total_rto": newest.then(|| self.u16(offset::TOTAL_RTO)),
            "total_rto_recoveries": newest.then(|| self.u16(offset::TOTAL_RTO_RECOVERIES)),
            "total_rto_ms": newest.then(|| self.u32(offset::TOTAL_RTO_MS)),
        })
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(std::array::from_fn(|i| self.bytes[at + i]))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(std::array::from_fn(|i| self.bytes[at + i]))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(std::array::from_fn(|i| self.bytes[at + i]))
    }
}
