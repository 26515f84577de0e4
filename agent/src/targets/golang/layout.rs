//! Where the fields are that the HTTP/1 probes read.

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

macro_rules! layout {
    ($( $field:ident = $variant:ident: $newest:literal, [ $( $type:literal . $member:literal ),+ ]; )+) => {
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

            /// Struct and member, outermost first; the offset is their sum.
            pub(crate) fn path(self) -> &'static [(&'static str, &'static str)] {
                match self { $( Self::$variant => &[$( ($type, $member) ),+], )+ }
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
    g_goid = GGoid: 152, ["runtime.g"."goid"];
    g_parent_goid = GParentGoid: 280, ["runtime.g"."parentGoid"];
    g_startpc = GStartpc: 304, ["runtime.g"."startpc"];
    request_method = RequestMethod: 0, ["net/http.Request"."Method"];
    request_url = RequestUrl: 16, ["net/http.Request"."URL"];
    request_proto_major = RequestProtoMajor: 40, ["net/http.Request"."ProtoMajor"];
    request_host = RequestHost: 128, ["net/http.Request"."Host"];
    request_uri = RequestUri: 192, ["net/http.Request"."RequestURI"];
    url_host = UrlHost: 40, ["net/url.URL"."Host"];
    url_path = UrlPath: 56, ["net/url.URL"."Path"];
    response_conn = ResponseConn: 0, ["net/http.response"."conn"];
    response_status = ResponseStatus: 128, ["net/http.response"."status"];
    conn_rwc = ConnRwc: 16, ["net/http.conn"."rwc"];
    persist_conn_conn = PersistConnConn: 80, ["net/http.persistConn"."conn"];
    http_response_status_code = HttpResponseStatusCode: 16, ["net/http.Response"."StatusCode"];
    tcp_conn_fd = TcpConnFd: 0, ["net.TCPConn"."conn", "net.conn"."fd"];
    net_fd_sysfd = NetFdSysfd: 16, ["net.netFD"."pfd", "internal/poll.FD"."Sysfd"];
    tls_conn_conn = TlsConnConn: 0, ["crypto/tls.Conn"."conn"];
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
        }
        Some(layout)
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
