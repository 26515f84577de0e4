//! Where foreign structs keep their fields: found by the user half, used by the kernel half.

pub mod grpc;

use crate::limits::TLS_ITABS;

/// Which probe was hit: the index into [`GoProcess::hits`].
pub mod point {
    pub const SERVER_BEGIN: usize = 0;
    pub const SERVER_END: usize = 1;
    pub const SERVER_HIJACKED: usize = 2;
    pub const SERVER_DEFERRED: usize = 3;
    pub const CLIENT_BEGIN: usize = 4;
    pub const CLIENT_CONN: usize = 5;
    pub const CLIENT_SENT: usize = 6;
    pub const CLIENT_ATTEMPTED: usize = 7;
    pub const CLIENT_RETRY: usize = 8;
    pub const CLIENT_CONN_CLOSED: usize = 9;
    pub const HTTP2_SERVER_BEGIN: usize = 10;
    pub const HTTP2_SERVER_END: usize = 11;
    pub const HTTP2_SERVER_CONN_CLOSED: usize = 12;
    pub const HTTP2_CLIENT_SENT: usize = 13;
    pub const HTTP2_CLIENT_ATTEMPTED: usize = 14;
    pub const HTTP2_CLIENT_RETRY: usize = 15;
    pub const HTTP2_CLIENT_CONN_CLOSED: usize = 16;
    /// So much further are those of HTTP/2 for [`http2_code::SEPARATE`](super::http2_code::SEPARATE).
    pub const SEPARATE: usize = 7;
    pub const SEPARATE_CLIENT_BEGIN: usize = HTTP2_CLIENT_CONN_CLOSED + SEPARATE + 1;
    pub const SERVER_ROUTE: usize = SEPARATE_CLIENT_BEGIN + 1;
    pub const SERVER_ROUTE_121: usize = SERVER_ROUTE + 1;
    pub const SQL_QUERY: usize = SERVER_ROUTE_121 + 1;
    pub const SQL_EXEC: usize = SQL_QUERY + 1;
    pub const SQL_STMT: usize = SQL_EXEC + 1;
    pub const SQL_RUN: usize = SQL_STMT + 1;
    pub const SQL_ANSWERED: usize = SQL_RUN + 1;
    pub const SQL_PREPARED: usize = SQL_ANSWERED + 1;
    pub const SQL_ENDED: usize = SQL_PREPARED + 1;
    pub const GRPC_SERVER_BEGIN: usize = SQL_ENDED + 1;
    pub const GRPC_SERVER_END: usize = SQL_ENDED + 2;
    pub const GRPC_SERVER_CLOSED: usize = SQL_ENDED + 3;
    pub const GRPC_CLIENT_BEGIN: usize = SQL_ENDED + 4;
    pub const GRPC_CLIENT_STREAM: usize = SQL_ENDED + 5;
    pub const GRPC_CLIENT_END: usize = SQL_ENDED + 6;
    pub const GRPC_CLIENT_CLOSED: usize = SQL_ENDED + 7;
    pub const COUNT: usize = GRPC_CLIENT_CLOSED + 1;
}

/// Which copy of the code of HTTP/2 a point is in: its cookie.
pub mod http2_code {
    /// That of net/http. Points of nothing else than HTTP/2 have this one, too.
    pub const BUNDLED: u64 = 0;
    /// golang.org/x/net/http2.
    pub const SEPARATE: u64 = 1;
}

/// More than `enum sk_rst_reason` has; a power of two.
pub const RESET_REASONS: usize = 32;

/// What a filter of a clsact qdisc leads to: the index into `DOORS`.
pub mod door {
    pub const FROM_WORKLOAD: u32 = 0;
    pub const TO_WORKLOAD: u32 = 1;
    pub const NIC_IN: u32 = 2;
    pub const COUNT: u32 = 3;
}

/// The offset of a field that the running kernel does not have. Whoever can do without it asks for that.
pub const ABSENT: u32 = u32::MAX;

/// Classes of price: what a program does decides what a hit costs. The cookie of `calibrate`.
pub mod price {
    /// The trap and a look-up.
    pub const TRAP: u64 = 0;
    /// Reads some fields and keeps a request.
    pub const BEGIN: u64 = 1;
    /// Makes a record of it and removes it.
    pub const END: u64 = 2;
}

wire! {
    /// Where one copy of the code of HTTP/2 keeps its fields. Offsets are in bytes.
    pub struct Http2: 26 bytes {
        pub request_method: u16,
        pub request_uri: u16,
        pub request_host: u16,
        /// `responseWriter.rws`: a `*responseWriterState`.
        pub writer_state: u16,
        pub state_stream: u16,
        pub state_conn: u16,
        pub state_status: u16,
        pub stream_id: u16,
        /// `serverConn.conn`: a `net.Conn`.
        pub server_conn: u16,
        /// `clientStream.cc`: a `*ClientConn`.
        pub client_stream_conn: u16,
        pub client_stream_id: u16,
        /// `ClientConn.tconn`: a `net.Conn`.
        pub client_conn: u16,
        /// `clientConnReadLoop.cc`: a `*ClientConn`.
        pub read_loop_conn: u16,
    }
}

wire! {
    /// A watched Go process: the value of `WATCHED`. Offsets are in bytes.
    pub struct GoProcess: 520 bytes {
        /// Hits of each [`point`]; the kernel half adds.
        pub hits: [u64; point::COUNT],
        /// `go:itab.*net.TCPConn,net.Conn` in this process; 0: unknown, no connection has an identity.
        pub tcp_conn_itab: u64,
        /// `go:itab.*crypto/tls.Conn,net.Conn`; unused ones are 0.
        pub tls_conn_itabs: [u64; TLS_ITABS],
        pub g_goid: u16,
        pub g_parent_goid: u16,
        pub request_method: u16,
        pub request_url: u16,
        pub request_proto_major: u16,
        pub request_host: u16,
        pub request_uri: u16,
        pub url_host: u16,
        pub url_path: u16,
        pub response_conn: u16,
        pub response_status: u16,
        pub conn_rwc: u16,
        pub persist_conn_conn: u16,
        /// `StatusCode` of the client's `http.Response`.
        pub client_status: u16,
        pub tcp_conn_fd: u16,
        pub net_fd_sysfd: u16,
        pub tls_conn_conn: u16,
        /// `_panic`: what panics, or is `runtime.Goexit`, at the moment.
        pub g_panic: u16,
        /// `ProtoMajor` of the client's `http.Response`.
        pub client_proto_major: u16,
        pub client_proto_minor: u16,
        pub request_proto_minor: u16,
        /// Of net/http.
        pub http2: Http2,
        /// Of golang.org/x/net/http2.
        pub separate_http2: Http2,
        /// Of `database/sql`.
        pub driver_conn_ci: u16,
        pub stmt_query: u16,
        pub reserved: [u16; 3],
        pub grpc: grpc::GrpcProcess,
    }
}

wire! {
    /// Offsets of kernel struct fields in bytes, from the running kernel's BTF.
    ///
    /// `nested.field` is the offset from the outer struct.
    pub struct KernelLayout: 132 bytes {
        pub sock_family: u32,
        pub sock_num: u32,
        pub sock_dport: u32,
        pub sock_daddr: u32,
        pub sock_rcv_saddr: u32,
        pub sock_v6_daddr: u32,
        pub sock_v6_rcv_saddr: u32,
        pub sock_state: u32,
        pub sock_net: u32,
        pub sock_flags: u32,
        pub sock_err: u32,
        pub sock_err_soft: u32,
        pub sock_cgroup: u32,
        pub sock_protocol: u32,
        pub net_inum: u32,
        pub cgroup_kn: u32,
        pub kernfs_node_id: u32,
        pub icsk_retransmits: u32,
        pub tcp_bytes_sent: u32,
        pub tcp_bytes_retrans: u32,
        pub tcp_bytes_received: u32,
        pub tcp_segs_out: u32,
        pub tcp_segs_in: u32,
        pub tcp_total_retrans: u32,
        pub tcp_srtt_us: u32,
        pub tcp_snd_una: u32,
        pub tcp_rcv_nxt: u32,
        pub tcp_write_seq: u32,
        pub tcp_copied_seq: u32,
        /// Bit number of SOCK_DONE in `sk_flags`: the peer's FIN was received.
        pub sock_done_bit: u32,
        /// As [`sock_done_bit`](Self::sock_done_bit), of SOCK_LINGER: close() waits, or resets.
        pub sock_linger_bit: u32,
        pub socket_sk: u32,
        pub socket_file: u32,
    }
}

wire! {
    /// What the kernel's reasons for a reset mean.
    pub struct ResetReasons: 33 bytes {
        /// 1: the tracepoint hands over a reason, as since Linux 6.10.
        pub has: u8,
        /// Of the kernel's value, one of [`crate::event::sock::reset`].
        pub meaning: [u8; RESET_REASONS],
    }
}

wire! {
    /// As [`KernelLayout`], for the way from a file descriptor to its socket.
    pub struct FileLayout: 28 bytes {
        pub task_files: u32,
        pub files_fdt: u32,
        pub fdtable_fd: u32,
        pub fdtable_max_fds: u32,
        pub file_private_data: u32,
        pub task_tgid: u32,
        pub binprm_filename: u32,
    }
}

wire! {
    /// As [`KernelLayout`], for what tells how a connection fares.
    pub struct TcpLayout: 60 bytes {
        /// The byte of a bit field, in its lower five bits.
        pub icsk_ca_state: u32,
        pub icsk_pending: u32,
        pub icsk_backoff: u32,
        pub icsk_probes_out: u32,
        pub icsk_rto: u32,
        pub tcp_packets_out: u32,
        pub tcp_snd_wnd: u32,
        pub tcp_rcv_tstamp: u32,
        pub tcp_lsndtime: u32,
        pub icsk_lrcvtime: u32,
        pub tcp_bytes_acked: u32,
        pub sock_ack_backlog: u32,
        pub sock_max_ack_backlog: u32,
        pub inet_sport: u32,
        /// No offset: nanoseconds of a jiffy, the unit of times in `tcp_sock`.
        pub jiffy_ns: u32,
    }
}
