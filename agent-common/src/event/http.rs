//! Requests of Go programs, one record for each, made when it ends.

use super::Header;
use crate::limits::{HOST_BYTES, METHOD_BYTES, PATH_BYTES, ROUTE_BYTES};

/// Values of [`Call::side`].
pub mod side {
    pub const SERVER: u8 = 1;
    pub const CLIENT: u8 = 2;
}

/// Values of [`Call::protocol`]. 0: none was known yet, and only HTTP/1 was looked for.
pub mod protocol {
    pub const HTTP1: u8 = 1;
    pub const HTTP2: u8 = 2;
    pub const GRPC: u8 = 3;
}

/// Values of [`Call::end`].
pub mod end {
    /// The handler returned, or the response's headers arrived.
    pub const RETURNED: u8 = 1;
    /// The handler took the connection over.
    pub const HIJACKED: u8 = 2;
    /// The handler did not return: panic, `http.ErrAbortHandler` or `runtime.Goexit`.
    pub const ABORTED: u8 = 3;
    /// The client's last attempt failed on its connection.
    pub const FAILED: u8 = 4;
    /// The client got no connection.
    pub const NO_CONNECTION: u8 = 5;
}

/// Values of [`Call::joined_by`]: which rule found the parent.
pub mod joined_by {
    pub const NOTHING: u8 = 0;
    /// The server request of the same goroutine.
    pub const GOID: u8 = 1;
    /// The server request of the goroutine that started this one.
    pub const PARENT_GOID: u8 = 2;
    /// The client call on the other end of the connection, by TCP sequence number or stream id.
    pub const CONNECTION: u8 = 3;
}

wire! {
    /// A request, seen by its server or by its client. `header.ktime_ns` is its end.
    ///
    /// Addresses and ports as in [`super::sock::State`]; all zero when the connection has no identity.
    pub struct Call: 368 bytes {
        pub header: Header,
        pub began_ktime_ns: u64,
        /// Random bytes, made where a trace begins and handed on from begin to begin.
        pub trace_id: [u8; 16],
        pub span_id: [u8; 8],
        /// All zero: a root.
        pub parent_span_id: [u8; 8],
        pub goid: u64,
        pub local: [u8; 16],
        pub remote: [u8; 16],
        pub local_port: u16,
        pub remote_port: u16,
        /// The stream id. Of HTTP/1, which has none, the client's `write_seq` before it sent, and the server's
        /// `copied_seq` when the handler began.
        pub seq: u32,
        /// 0: the server wrote nothing, which the client sees as 200; or no response.
        pub status: u16,
        pub side: u8,
        pub end: u8,
        pub joined_by: u8,
        pub method_len: u8,
        pub path_len: u8,
        pub host_len: u8,
        pub method: [u8; METHOD_BYTES],
        /// A server's is the request URI, query included; a client's is `URL.Path`.
        pub path: [u8; PATH_BYTES],
        pub host: [u8; HOST_BYTES],
        /// Of use to the kernel half only: address of the connection object of the last attempt.
        pub conn_object: u64,
        /// As above: whether an attempt reached a connection.
        pub reached_connection: u8,
        pub protocol: u8,
        /// Of HTTP/1: the minor version that the request came in, or its answer, and one. 0: not known.
        pub minor: u8,
        pub reserved: u8,
        /// Network namespace of a loopback connection, which means nothing elsewhere; else 0.
        pub netns: u32,
        pub route_len: u8,
        /// The pattern of the server's `ServeMux`, as the program registered it; of nested ones the innermost.
        pub route: [u8; ROUTE_BYTES],
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// A change here changes what old recordings mean: retire the kind and add a new one instead.
    #[test]
    fn offsets_are_frozen() {
        let got = [
            ("began_ktime_ns", offset_of!(Call, began_ktime_ns), 24),
            ("trace_id", offset_of!(Call, trace_id), 32),
            ("span_id", offset_of!(Call, span_id), 48),
            ("parent_span_id", offset_of!(Call, parent_span_id), 56),
            ("goid", offset_of!(Call, goid), 64),
            ("local", offset_of!(Call, local), 72),
            ("remote", offset_of!(Call, remote), 88),
            ("local_port", offset_of!(Call, local_port), 104),
            ("remote_port", offset_of!(Call, remote_port), 106),
            ("seq", offset_of!(Call, seq), 108),
            ("status", offset_of!(Call, status), 112),
            ("side", offset_of!(Call, side), 114),
            ("end", offset_of!(Call, end), 115),
            ("joined_by", offset_of!(Call, joined_by), 116),
            ("method_len", offset_of!(Call, method_len), 117),
            ("path_len", offset_of!(Call, path_len), 118),
            ("host_len", offset_of!(Call, host_len), 119),
            ("method", offset_of!(Call, method), 120),
            ("path", offset_of!(Call, path), 128),
            ("host", offset_of!(Call, host), 224),
            ("protocol", offset_of!(Call, protocol), 281),
            ("minor", offset_of!(Call, minor), 282),
            ("netns", offset_of!(Call, netns), 284),
            ("route_len", offset_of!(Call, route_len), 288),
            ("route", offset_of!(Call, route), 289),
        ];
        for (name, got, want) in got {
            assert_eq!(got, want, "{name}");
        }
    }
}
