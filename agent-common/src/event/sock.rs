//! TCP sockets: what the kernel half keeps of each, and how each one ends.

use super::Header;

/// Values of [`State::role`].
pub mod role {
    /// The socket is older than the agent; the user half may find out.
    pub const UNKNOWN: u8 = 0;
    /// It went through SYN_SENT.
    pub const CLIENT: u8 = 1;
    /// It went through SYN_RECV.
    pub const SERVER: u8 = 2;
    pub const LISTENER: u8 = 3;
}

/// Values of [`State::owner`]: how good [`State::tgid`] is. A higher one replaces a lower one.
pub mod owner {
    pub const NONE: u8 = 0;
    /// The process that has it open, as the seed saw it; another may share it.
    pub const HOLDER: u8 = 1;
    /// The process that called connect() or listen(); a server inherits its listener's.
    pub const OPENER: u8 = 2;
    /// The process that read from it.
    pub const READER: u8 = 3;
}

/// Bits of [`State::flags`].
pub mod flag {
    /// The socket existed before the agent: its figures count from [`super::State::base_sent_bytes`].
    pub const SEEDED: u8 = 1;
    /// [`super::Closed`] was made: the dump must not show it again.
    pub const CLOSED: u8 = 2;
}

wire! {
    /// The value of `SOCKS`, one for each TCP socket.
    ///
    /// Addresses are IPv6; IPv4 ones are mapped (`::ffff:a.b.c.d`). Ports are in host order.
    pub struct State: 104 bytes {
        /// When the socket was opened; for a server, when its handshake was done.
        pub opened_ktime_ns: u64,
        /// 0: not established, or established before the agent came.
        pub established_ktime_ns: u64,
        /// 0 when the kernel has no cgroup v2 path for it.
        pub cgroup_id: u64,
        pub base_sent_bytes: u64,
        pub base_received_bytes: u64,
        pub tgid: u32,
        /// Inode number of the network namespace.
        pub netns: u32,
        /// `snd_una` at ESTABLISHED: the own initial sequence number + 1. NAT does not change it.
        pub local_isn: u32,
        /// `rcv_nxt` at ESTABLISHED: the peer's initial sequence number + 1.
        pub remote_isn: u32,
        pub local: [u8; 16],
        pub remote: [u8; 16],
        pub local_port: u16,
        pub remote_port: u16,
        pub role: u8,
        pub owner: u8,
        pub flags: u8,
        pub reserved: u8,
        /// `sk_err` at -> CLOSE, an errno: 0 for an orderly end.
        pub close_error: u16,
        pub reserved_end: [u8; 6],
    }
}

wire! {
    /// `struct tcp_sock`, as far as it is reported.
    pub struct Figures: 40 bytes {
        /// Payload sent at least once: `bytes_sent` - `bytes_retrans`.
        pub sent_bytes: u64,
        /// Payload received in order: `bytes_received` without the FIN.
        pub received_bytes: u64,
        pub segments_out: u32,
        pub segments_in: u32,
        /// `total_retrans`, in segments.
        pub retransmits: u32,
        /// `srtt_us >> 3`; 0 before the first sample.
        pub srtt_us: u32,
        /// `sk_err`, an errno.
        pub error: u16,
        /// `sk_err_soft`, an errno.
        pub soft_error: u16,
        /// `icsk_retransmits`: retransmissions of the segment in flight now.
        pub pending_retransmits: u8,
        /// `skc_state`, a TCP_* number.
        pub tcp_state: u8,
        pub reserved: u16,
    }
}

wire! {
    /// A row of the periodic dump. It goes through an iterator, not through the ring.
    pub struct Row: 152 bytes {
        pub cookie: u64,
        pub state: State,
        pub figures: Figures,
    }
}

wire! {
    /// SYN_SENT -> CLOSE. `figures.error` 0: the application gave up.
    pub struct ConnectFailed: 176 bytes {
        pub header: Header,
        pub row: Row,
    }
}

wire! {
    /// The end of a socket that was established: `tcp_destroy_sock`.
    pub struct Closed: 176 bytes {
        pub header: Header,
        pub row: Row,
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// A change here changes what old recordings mean: retire the kind and add a new one instead.
    #[test]
    fn offsets_are_frozen() {
        let state = [
            ("opened_ktime_ns", offset_of!(State, opened_ktime_ns), 0),
            ("established_ktime_ns", offset_of!(State, established_ktime_ns), 8),
            ("cgroup_id", offset_of!(State, cgroup_id), 16),
            ("base_sent_bytes", offset_of!(State, base_sent_bytes), 24),
            ("base_received_bytes", offset_of!(State, base_received_bytes), 32),
            ("tgid", offset_of!(State, tgid), 40),
            ("netns", offset_of!(State, netns), 44),
            ("local_isn", offset_of!(State, local_isn), 48),
            ("remote_isn", offset_of!(State, remote_isn), 52),
            ("local", offset_of!(State, local), 56),
            ("remote", offset_of!(State, remote), 72),
            ("local_port", offset_of!(State, local_port), 88),
            ("remote_port", offset_of!(State, remote_port), 90),
            ("role", offset_of!(State, role), 92),
            ("owner", offset_of!(State, owner), 93),
            ("flags", offset_of!(State, flags), 94),
            ("close_error", offset_of!(State, close_error), 96),
        ];
        let figures = [
            ("sent_bytes", offset_of!(Figures, sent_bytes), 0),
            ("received_bytes", offset_of!(Figures, received_bytes), 8),
            ("segments_out", offset_of!(Figures, segments_out), 16),
            ("segments_in", offset_of!(Figures, segments_in), 20),
            ("retransmits", offset_of!(Figures, retransmits), 24),
            ("srtt_us", offset_of!(Figures, srtt_us), 28),
            ("error", offset_of!(Figures, error), 32),
            ("soft_error", offset_of!(Figures, soft_error), 34),
            ("pending_retransmits", offset_of!(Figures, pending_retransmits), 36),
            ("tcp_state", offset_of!(Figures, tcp_state), 37),
        ];
        for (name, got, want) in state.into_iter().chain(figures) {
            assert_eq!(got, want, "{name}");
        }
    }
}
