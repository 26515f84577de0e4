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
    /// [`super::Closed`] is made, or lost: no dump may show it from then on.
    pub const CLOSED: u8 = 2;
    /// The peer sent a RST.
    pub const RST_IN: u8 = 4;
    /// We sent a RST.
    pub const RST_OUT: u8 = 8;
    /// The bits from here on are one of [`super::reset`].
    pub const RESET_SHIFT: u8 = 4;
}

/// Why we sent a RST. Our own numbers, up to 15: those of the kernel's `enum sk_rst_reason` differ by version.
pub mod reset {
    /// The kernel does not say, or says what is none of these.
    pub const UNKNOWN: u8 = 0;
    /// The program wanted it so: it closed with SO_LINGER and no time, or disconnected.
    pub const PROGRAM: u8 = 1;
    /// The program closed what had data that it had not read.
    pub const UNREAD: u8 = 2;
    /// Data came after the program had closed.
    pub const LATE_DATA: u8 = 3;
    /// The program did not want to wait for the peer's end: TCP_LINGER2 below zero.
    pub const NO_WAIT: u8 = 4;
    /// Too many orphans, or too much memory for them.
    pub const MEMORY: u8 = 5;
    pub const KEEPALIVE: u8 = 6;
    /// Ended from outside, as by `ss --kill`, or its peer never ended a closed connection.
    pub const ABORTED: u8 = 7;
    /// What came in does not belong to the connection.
    pub const PROTOCOL: u8 = 8;
    pub const MPTCP: u8 = 9;
}

/// Values of [`Figures::tcp_state`], include/net/tcp_states.h; part of the kernel's ABI by way of TCP_INFO.
pub mod tcp_state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
    pub const CLOSING: u8 = 11;
    pub const NEW_SYN_RECV: u8 = 12;
}

/// Why segments were sent again: the index into [`State::retransmits`].
///
/// In the order in which they are asked for: a probe's timer is still armed during a fast retransmit.
pub mod class {
    /// In the handshake: a SYN of the client, a SYN-ACK of the server.
    pub const SYN: usize = 0;
    /// Later segments were acknowledged.
    pub const FAST: usize = 1;
    /// The retransmission timer fired.
    pub const RTO: usize = 2;
    /// Repair after that, not a time-out of its own.
    pub const SLOW_START: usize = 3;
    /// A tail loss probe.
    pub const TLP: usize = 4;
    /// None of these.
    pub const OTHER: usize = 5;
    pub const COUNT: usize = 6;
}

wire! {
    /// The value of `SOCKS`, one for each TCP socket.
    ///
    /// Addresses are IPv6; IPv4 ones are mapped (`::ffff:a.b.c.d`). Ports are in host order.
    pub struct State: 176 bytes {
        /// When the socket was opened; for a server, when its handshake was done.
        pub opened_ktime_ns: u64,
        /// 0: not established, or established before the agent came.
        pub established_ktime_ns: u64,
        /// 0 when the kernel has no cgroup v2 path for it.
        pub cgroup_id: u64,
        pub base_sent_bytes: u64,
        pub base_received_bytes: u64,
        /// Since when the segment for which the retransmission timer fired was under way; 0: nothing of the
        /// kind. The episode lasts until all is acknowledged that was under way when it began.
        pub rto_since_ktime_ns: u64,
        /// Of the episodes that ended.
        pub rto_total_ns: u64,
        pub tgid: u32,
        /// Inode number of the network namespace.
        pub netns: u32,
        /// `snd_una` at ESTABLISHED: the own initial sequence number + 1. NAT does not change it.
        pub local_isn: u32,
        /// `rcv_nxt` at ESTABLISHED: the peer's initial sequence number + 1.
        pub remote_isn: u32,
        /// Segments, by [`class`]. Of a listener: SYN-ACKs, for connections that may have come about later.
        pub retransmits: [u32; class::COUNT],
        pub local: [u8; 16],
        pub remote: [u8; 16],
        /// One that has not ended is counted, too.
        pub rto_episodes: u32,
        /// How often the retransmission timer fired, not counting handshakes.
        pub rto_expiries: u32,
        /// `srtt_us >> 3` at ESTABLISHED; 0: not established, or before the agent came.
        pub handshake_rtt_us: u32,
        /// `write_seq - snd_una` at -> CLOSE, when that came with an error.
        pub close_unacked_bytes: u32,
        pub local_port: u16,
        pub remote_port: u16,
        /// `sk_err` at -> CLOSE, an errno: 0 for an orderly end.
        pub close_error: u16,
        pub role: u8,
        pub owner: u8,
        pub flags: u8,
        /// `icsk_retransmits` at -> CLOSE, when that came with an error.
        pub close_retransmits: u8,
        /// `icsk_probes_out` then.
        pub close_probes: u8,
        /// As [`rto_expiries`](Self::rto_expiries), within the episode of now or the last one.
        pub episode_expiries: u8,
        /// `total_retrans` when the socket was first seen: what came later is by [`class`].
        pub base_retransmits: u32,
        /// `segs_out` and `segs_in` then.
        pub base_segments_out: u32,
        pub base_segments_in: u32,
        /// What a dump showed last, in short: the kernel half's own. 0: to be shown whatever it looks like.
        pub shown: u64,
    }
}

wire! {
    /// `struct tcp_sock`, as far as it is reported. What a kernel does not have is 0.
    pub struct Figures: 88 bytes {
        /// Payload sent at least once: `bytes_sent` - `bytes_retrans`.
        pub sent_bytes: u64,
        /// Payload received in order: `bytes_received` without the FIN.
        pub received_bytes: u64,
        /// `bytes_acked`, in which SYN and FIN count. It moves when the peer answers.
        pub acked_bytes: u64,
        pub segments_out: u32,
        pub segments_in: u32,
        /// `total_retrans`, in segments.
        pub retransmits: u32,
        /// `srtt_us >> 3`; 0 before the first sample.
        pub srtt_us: u32,
        /// `packets_out`: segments sent and not yet acknowledged.
        pub packets_out: u32,
        /// `write_seq - snd_una`: written by the application and not yet acknowledged, sent or not.
        pub unacked_bytes: u32,
        /// `snd_wnd`: what the peer takes; 0: its window is closed.
        pub send_window: u32,
        /// `icsk_rto`: after which time the timer fires next. It doubles with [`backoff`](Self::backoff).
        pub rto_ms: u32,
        /// How long ago anything came in (`rcv_tstamp`), by the kernel's ticks.
        pub received_ms_ago: u32,
        /// How long ago data went out (`lsndtime`), by the kernel's ticks.
        pub sent_ms_ago: u32,
        /// How long ago data came in (`icsk_ack.lrcvtime`), by the kernel's ticks; as yet none: the handshake.
        pub data_received_ms_ago: u32,
        /// `rcv_nxt - copied_seq` without the FIN: received, acknowledged, and not read by the application.
        pub unread_bytes: u32,
        /// `sk_ack_backlog`: connections of a listener that nobody has accepted yet; 0 for others.
        pub accept_backlog: u32,
        /// `sk_max_ack_backlog`: how many may wait so.
        pub accept_backlog_max: u32,
        /// `sk_err`, an errno.
        pub error: u16,
        /// `sk_err_soft`, an errno.
        pub soft_error: u16,
        /// `icsk_retransmits`: retransmissions of the segment in flight now.
        pub pending_retransmits: u8,
        /// `skc_state`, one of [`tcp_state`].
        pub tcp_state: u8,
        /// `icsk_backoff`: how often the timer was doubled.
        pub backoff: u8,
        /// `icsk_probes_out`: probes of a closed window, or of an idle peer, without an answer.
        pub probes_out: u8,
    }
}

wire! {
    /// A row of the periodic dump. It goes through a ring of its own.
    pub struct Row: 272 bytes {
        pub cookie: u64,
        pub state: State,
        pub figures: Figures,
    }
}

wire! {
    /// SYN_SENT -> CLOSE. `figures.error` 0: the application gave up.
    pub struct ConnectFailed: 296 bytes {
        pub header: Header,
        pub row: Row,
    }
}

wire! {
    /// The end of a socket that was established: `tcp_destroy_sock`.
    pub struct Closed: 296 bytes {
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
            ("rto_since_ktime_ns", offset_of!(State, rto_since_ktime_ns), 40),
            ("rto_total_ns", offset_of!(State, rto_total_ns), 48),
            ("tgid", offset_of!(State, tgid), 56),
            ("netns", offset_of!(State, netns), 60),
            ("local_isn", offset_of!(State, local_isn), 64),
            ("remote_isn", offset_of!(State, remote_isn), 68),
            ("retransmits", offset_of!(State, retransmits), 72),
            ("local", offset_of!(State, local), 96),
            ("remote", offset_of!(State, remote), 112),
            ("rto_episodes", offset_of!(State, rto_episodes), 128),
            ("rto_expiries", offset_of!(State, rto_expiries), 132),
            ("handshake_rtt_us", offset_of!(State, handshake_rtt_us), 136),
            ("close_unacked_bytes", offset_of!(State, close_unacked_bytes), 140),
            ("local_port", offset_of!(State, local_port), 144),
            ("remote_port", offset_of!(State, remote_port), 146),
            ("close_error", offset_of!(State, close_error), 148),
            ("role", offset_of!(State, role), 150),
            ("owner", offset_of!(State, owner), 151),
            ("flags", offset_of!(State, flags), 152),
            ("close_retransmits", offset_of!(State, close_retransmits), 153),
            ("close_probes", offset_of!(State, close_probes), 154),
            ("episode_expiries", offset_of!(State, episode_expiries), 155),
            ("base_retransmits", offset_of!(State, base_retransmits), 156),
            ("base_segments_out", offset_of!(State, base_segments_out), 160),
            ("base_segments_in", offset_of!(State, base_segments_in), 164),
            ("shown", offset_of!(State, shown), 168),
        ];
        let figures = [
            ("sent_bytes", offset_of!(Figures, sent_bytes), 0),
            ("received_bytes", offset_of!(Figures, received_bytes), 8),
            ("acked_bytes", offset_of!(Figures, acked_bytes), 16),
            ("segments_out", offset_of!(Figures, segments_out), 24),
            ("segments_in", offset_of!(Figures, segments_in), 28),
            ("retransmits", offset_of!(Figures, retransmits), 32),
            ("srtt_us", offset_of!(Figures, srtt_us), 36),
            ("packets_out", offset_of!(Figures, packets_out), 40),
            ("unacked_bytes", offset_of!(Figures, unacked_bytes), 44),
            ("send_window", offset_of!(Figures, send_window), 48),
            ("rto_ms", offset_of!(Figures, rto_ms), 52),
            ("received_ms_ago", offset_of!(Figures, received_ms_ago), 56),
            ("sent_ms_ago", offset_of!(Figures, sent_ms_ago), 60),
            ("data_received_ms_ago", offset_of!(Figures, data_received_ms_ago), 64),
            ("unread_bytes", offset_of!(Figures, unread_bytes), 68),
            ("accept_backlog", offset_of!(Figures, accept_backlog), 72),
            ("accept_backlog_max", offset_of!(Figures, accept_backlog_max), 76),
            ("error", offset_of!(Figures, error), 80),
            ("soft_error", offset_of!(Figures, soft_error), 82),
            ("pending_retransmits", offset_of!(Figures, pending_retransmits), 84),
            ("tcp_state", offset_of!(Figures, tcp_state), 85),
            ("backoff", offset_of!(Figures, backoff), 86),
            ("probes_out", offset_of!(Figures, probes_out), 87),
        ];
        for (name, got, want) in state.into_iter().chain(figures) {
            assert_eq!(got, want, "{name}");
        }
    }
}
