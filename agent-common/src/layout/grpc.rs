//! As its parent, of gRPC in Go programs.

wire! {
    /// What a watched process has of gRPC; all zero when it has none.
    pub struct GrpcProcess: 48 bytes {
        /// `go:itab.*transport.http2Server,transport.ServerTransport` in this process. The other transport
        /// is HTTP/2 of net/http.
        pub server_transport_itab: u64,
        /// `go:itab.*credentials.syscallConn,net.Conn`; 0: none.
        pub wrapped_conn_itab: u64,
        pub stream_id: u16,
        pub stream_method: u16,
        pub stream_state: u16,
        /// 1: a server's and a client's stream begin with a pointer to what they share, else with it.
        pub stream_is_pointer: u16,
        pub server_conn: u16,
        pub client_conn: u16,
        pub client_quota: u16,
        pub client_next_id: u16,
        pub header_host: u16,
        pub header_method: u16,
        pub status_proto: u16,
        pub status_code: u16,
        pub wrapped_conn: u16,
        pub reserved: [u16; 3],
    }
}
