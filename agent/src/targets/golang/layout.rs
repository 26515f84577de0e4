//! Where the fields are that the HTTP probes read.

use super::version::GoVersion;

/// The versions whose offsets were taken from their own debug information.
pub(crate) const OLDEST_MINOR: u16 = 21;
pub(crate) const NEWEST_MINOR: u16 = 27;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetsFrom {
    /// Every field was in the debug information of the file itself.
    Dwarf,
    /// Some or all fields are from the table of the version.
    Table,
}

/// What needs a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything.
    All,
    /// HTTP/2 in net/http.
    Http2,
    /// golang.org/x/net/http2, which goes its own way and is in few programs.
    SeparateHttp2,
    /// `database/sql`.
    Sql,
}

/// Struct and member, outermost first; the offset is their sum.
pub(crate) type MemberPath = &'static [(&'static str, &'static str)];

macro_rules! layout {
    ($(
        $field:ident = $variant:ident, $part:ident: $newest:literal,
        $( [ $( $type:literal . $member:literal ),+ ] )or+;
    )+) => {
        /// Offsets in bytes, each from the start of the object that holds the field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct HttpLayout { $( pub $field: u16, )+ }

        /// One entry of [`HttpLayout`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field { $( $variant, )+ }

        impl Field {
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => stringify!($field), )+ }
            }

            pub(crate) fn part(self) -> Part {
                match self { $( Self::$variant => Part::$part, )+ }
            }

            /// The first that a file tells is right: names changed with versions.
            pub(crate) fn paths(self) -> &'static [MemberPath] {
                match self { $( Self::$variant => &[$( &[$( ($type, $member) ),+] ),+], )+ }
            }
        }

        impl HttpLayout {
            pub fn get(&self, field: Field) -> u16 {
                match field { $( Field::$variant => self.$field, )+ }
            }

            pub(crate) fn set(&mut self, field: Field, offset: u16) {
                match field { $( Field::$variant => self.$field = offset, )+ }
            }

            /// The layout of [`NEWEST_MINOR`].
            const NEWEST: Self = Self { $( $field: $newest, )+ };
        }
    };
}

layout! {
    g_goid = GGoid, All: 152, ["runtime.g"."goid"];
    g_parent_goid = GParentGoid, All: 280, ["runtime.g"."parentGoid"];
    g_startpc = GStartpc, All: 304, ["runtime.g"."startpc"];
    g_panic = GPanic, All: 32, ["runtime.g"."_panic"];
    request_method = RequestMethod, All: 0, ["net/http.Request"."Method"];
    request_url = RequestUrl, All: 16, ["net/http.Request"."URL"];
    request_proto_major = RequestProtoMajor, All: 40, ["net/http.Request"."ProtoMajor"];
    request_proto_minor = RequestProtoMinor, All: 48, ["net/http.Request"."ProtoMinor"];
    request_host = RequestHost, All: 128, ["net/http.Request"."Host"];
    request_uri = RequestUri, All: 192, ["net/http.Request"."RequestURI"];
    url_host = UrlHost, All: 40, ["net/url.URL"."Host"];
    url_path = UrlPath, All: 56, ["net/url.URL"."Path"];
    response_conn = ResponseConn, All: 0, ["net/http.response"."conn"];
    response_status = ResponseStatus, All: 128, ["net/http.response"."status"];
    conn_rwc = ConnRwc, All: 16, ["net/http.conn"."rwc"];
    persist_conn_conn = PersistConnConn, All: 80, ["net/http.persistConn"."conn"];
    http_response_status_code = HttpResponseStatusCode, All: 16, ["net/http.Response"."StatusCode"];
    http_response_proto_major = HttpResponseProtoMajor, All: 40, ["net/http.Response"."ProtoMajor"];
    http_response_proto_minor = HttpResponseProtoMinor, All: 48, ["net/http.Response"."ProtoMinor"];
    tcp_conn_fd = TcpConnFd, All: 0, ["net.TCPConn"."conn", "net.conn"."fd"];
    net_fd_sysfd = NetFdSysfd, All: 16, ["net.netFD"."pfd", "internal/poll.FD"."Sysfd"];
    tls_conn_conn = TlsConnConn, All: 0, ["crypto/tls.Conn"."conn"];
    http2_request_method = Http2RequestMethod, Http2: 48,
        ["net/http/internal/http2.ServerRequest"."Method"] or ["net/http.Request"."Method"];
    http2_request_host = Http2RequestHost, Http2: 104,
        ["net/http/internal/http2.ServerRequest"."Host"] or ["net/http.Request"."Host"];
    http2_request_uri = Http2RequestUri, Http2: 144,
        ["net/http/internal/http2.ServerRequest"."RequestURI"] or ["net/http.Request"."RequestURI"];
    http2_writer_state = Http2WriterState, Http2: 0,
        ["net/http/internal/http2.responseWriter"."rws"] or ["net/http.http2responseWriter"."rws"];
    http2_state_stream = Http2StateStream, Http2: 0,
        ["net/http/internal/http2.responseWriterState"."stream"] or ["net/http.http2responseWriterState"."stream"];
    http2_state_conn = Http2StateConn, Http2: 184,
        ["net/http/internal/http2.responseWriterState"."conn"] or ["net/http.http2responseWriterState"."conn"];
    http2_state_status = Http2StateStatus, Http2: 240,
        ["net/http/internal/http2.responseWriterState"."status"] or ["net/http.http2responseWriterState"."status"];
    http2_stream_id = Http2StreamId, Http2: 8,
        ["net/http/internal/http2.stream"."id"] or ["net/http.http2stream"."id"];
    http2_server_conn = Http2ServerConn, Http2: 24,
        ["net/http/internal/http2.serverConn"."conn"] or ["net/http.http2serverConn"."conn"];
    http2_client_stream_conn = Http2ClientStreamConn, Http2: 0,
        ["net/http/internal/http2.clientStream"."cc"] or ["net/http.http2clientStream"."cc"];
    http2_client_stream_id = Http2ClientStreamId, Http2: 40,
        ["net/http/internal/http2.clientStream"."ID"] or ["net/http.http2clientStream"."ID"];
    http2_client_conn = Http2ClientConn, Http2: 8,
        ["net/http/internal/http2.ClientConn"."tconn"] or ["net/http.http2ClientConn"."tconn"];
    http2_read_loop_conn = Http2ReadLoopConn, Http2: 0,
        ["net/http/internal/http2.clientConnReadLoop"."cc"] or ["net/http.http2clientConnReadLoop"."cc"];
    separate_writer_state = SeparateWriterState, SeparateHttp2: 0,
        ["golang.org/x/net/http2.responseWriter"."rws"];
    separate_state_stream = SeparateStateStream, SeparateHttp2: 0,
        ["golang.org/x/net/http2.responseWriterState"."stream"];
    separate_state_conn = SeparateStateConn, SeparateHttp2: 16,
        ["golang.org/x/net/http2.responseWriterState"."conn"];
    separate_state_status = SeparateStateStatus, SeparateHttp2: 72,
        ["golang.org/x/net/http2.responseWriterState"."status"];
    separate_stream_id = SeparateStreamId, SeparateHttp2: 8, ["golang.org/x/net/http2.stream"."id"];
    separate_server_conn = SeparateServerConn, SeparateHttp2: 16, ["golang.org/x/net/http2.serverConn"."conn"];
    separate_client_stream_conn = SeparateClientStreamConn, SeparateHttp2: 0,
        ["golang.org/x/net/http2.clientStream"."cc"];
    separate_client_stream_id = SeparateClientStreamId, SeparateHttp2: 40,
        ["golang.org/x/net/http2.clientStream"."ID"];
    separate_client_conn = SeparateClientConn, SeparateHttp2: 8, ["golang.org/x/net/http2.ClientConn"."tconn"];
    separate_read_loop_conn = SeparateReadLoopConn, SeparateHttp2: 0,
        ["golang.org/x/net/http2.clientConnReadLoop"."cc"];
    driver_conn_ci = DriverConnCi, Sql: 40, ["database/sql.driverConn"."ci"];
    stmt_query = StmtQuery, Sql: 8, ["database/sql.Stmt"."query"];
}

impl HttpLayout {
    /// The layout that every build of `version` has, or nothing for a version never looked at.
    pub fn of_version(version: &GoVersion) -> Option<Self> {
        if version.major != 1 || !(OLDEST_MINOR..=NEWEST_MINOR).contains(&version.minor) {
            return None;
        }
        let mut layout = Self::NEWEST;
        // `syscallbp` came into g with 1.23 and an equal field left `gobuf` with 1.25.
        (layout.g_goid, layout.g_parent_goid, layout.g_startpc) = match version.minor {
            23 | 24 => (160, 280, 304),
            21 | 22 | 25 => (152, 272, 296),
            _ => (152, 280, 304),
        };
        if version.minor < 27 {
            layout.response_status = 120;
            layout.before_internal_http2();
        }
        Some(layout)
    }

    /// HTTP/2 became a package of its own with 1.27, with requests of its own.
    fn before_internal_http2(&mut self) {
        self.http2_request_method = self.request_method;
        self.http2_request_host = self.request_host;
        self.http2_request_uri = self.request_uri;
        (self.http2_state_conn, self.http2_state_status, self.http2_server_conn) = (16, 72, 16);
    }

    /// What stands in until debug information has given every field.
    pub(crate) fn unknown() -> Self {
        Self::NEWEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_version() {
        check("go1.21.13", (152, 272, 296, 120));
        check("go1.22.1", (152, 272, 296, 120));
        check("go1.23.12", (160, 280, 304, 120));
        check("go1.24.13", (160, 280, 304, 120));
        check("go1.25.6", (152, 272, 296, 120));
        check("go1.26.8", (152, 280, 304, 120));
        check("go1.27.4", (152, 280, 304, 128));
    }

    #[test]
    fn a_version_never_looked_at_has_no_layout() {
        for raw in ["go1.20.14", "go1.28.0", "go2.21.0"] {
            let version = GoVersion::parse(raw).unwrap();
            assert_eq!(HttpLayout::of_version(&version), None, "{raw}");
        }
    }

    #[test]
    fn each_field_is_set_and_got_as_itself() {
        let mut layout = HttpLayout::unknown();
        for (n, &field) in Field::ALL.iter().enumerate() {
            layout.set(field, 1000 + n as u16);
        }
        for (n, &field) in Field::ALL.iter().enumerate() {
            assert_eq!(layout.get(field), 1000 + n as u16, "{}", field.name());
        }
    }

    #[track_caller]
    fn check(raw: &str, want: (u16, u16, u16, u16)) {
        let layout = HttpLayout::of_version(&GoVersion::parse(raw).unwrap()).unwrap();
        let got = (layout.g_goid, layout.g_parent_goid, layout.g_startpc, layout.response_status);
        assert_eq!(got, want, "{raw}");
    }
}
