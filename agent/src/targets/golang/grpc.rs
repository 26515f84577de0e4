//! Where the fields are that the gRPC probes read, by the version of `google.golang.org/grpc`.

use super::{
    dwarf::{Members, Step, sum},
    refusal::RefusalReason,
};

pub(crate) const MODULE: &str = "google.golang.org/grpc";

/// The versions whose structs were looked at: from this one on…
const OLDEST_MINOR: u16 = 45;
/// …the last patch of each minor.
const LAST_PATCH: [u16; 41] = [
    0, 2, 0, 0, 0, 1, 0, 3, 0, 1, 1, 3, 2, 3, 0, 1, 1, 1, 2, 1, 1, 2, 3, 1, 4, 0, 1, 2, 0, 3, 1, 0, 0, 0, 3,
    0, 1, 1, 2, 0, 0,
];

/// What the build information says of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GrpcVersion {
    /// Of the first major version.
    Known { minor: u16, patch: u16 },
    /// Replaced, of a commit, or not noted at all.
    Other(String),
}

impl GrpcVersion {
    /// Reads `v1.85.0`.
    pub(crate) fn parse(raw: Option<&str>) -> Self {
        let raw = raw.unwrap_or("without a noted version");
        let number = |it: Option<&str>| it?.parse().ok();
        let mut parts = raw.strip_prefix("v1.").unwrap_or_default().splitn(2, '.');
        match (number(parts.next()), number(parts.next())) {
            (Some(minor), Some(patch)) => Self::Known { minor, patch },
            _ => Self::Other(raw.to_owned()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Known { minor, patch } => format!("v1.{minor}.{patch}"),
            Self::Other(raw) => raw.clone(),
        }
    }
}

macro_rules! layout {
    ($( $field:ident: $newest:literal, [ $( $package:literal $type:literal . $member:literal ),+ ]; )+) => {
        /// Offsets in bytes, each from the start of the object that holds the field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct GrpcLayout {
            /// A server's and a client's stream begin with a pointer to what they share, else with it.
            pub stream_is_pointer: bool,
            $( pub $field: u16, )+
        }

        impl GrpcLayout {
            /// The layout of the newest version in the table.
            const NEWEST: Self = Self { stream_is_pointer: false, $( $field: $newest, )+ };

            /// Overwrites what the file itself tells; whether that was everything.
            fn correct(&mut self, members: &Members) -> bool {
                let mut is_complete = true;
                $( match sum(&[$( (concat!($package, $type), $member) ),+], members) {
                    Some(offset) => self.$field = offset,
                    None => is_complete = false,
                } )+
                is_complete
            }
        }

        /// The members whose offsets are wanted.
        pub(crate) const STEPS: &[Step] = &[SECOND_IN_STREAM, $( $( (concat!($package, $type), $member) ),+ ),+];
    };
}

/// It follows what streams of both sides share, or the pointer to that. There since 1.69.
const SECOND_IN_STREAM: Step = ("google.golang.org/grpc/internal/transport.ServerStream", "st");
const POINTER_BYTES: u16 = 8;

layout! {
    stream_id: 108, ["google.golang.org/grpc/internal/transport." "Stream"."id"];
    stream_method: 16, ["google.golang.org/grpc/internal/transport." "Stream"."method"];
    stream_state: 104, ["google.golang.org/grpc/internal/transport." "Stream"."state"];
    server_conn: 16, ["google.golang.org/grpc/internal/transport." "http2Server"."conn"];
    client_conn: 128, ["google.golang.org/grpc/internal/transport." "http2Client"."conn"];
    client_quota: 392, ["google.golang.org/grpc/internal/transport." "http2Client"."streamQuota"];
    client_next_id: 440, ["google.golang.org/grpc/internal/transport." "http2Client"."nextID"];
    header_host: 0, ["google.golang.org/grpc/internal/transport." "CallHdr"."Host"];
    header_method: 16, ["google.golang.org/grpc/internal/transport." "CallHdr"."Method"];
    status_proto: 0, ["google.golang.org/grpc/internal/" "status.Status"."s"];
    status_code: 40, ["google.golang.org/genproto/googleapis/rpc/" "status.Status"."Code"];
    wrapped_conn: 0, ["google.golang.org/grpc/internal/credentials." "syscallConn"."Conn"];
}

impl GrpcLayout {
    /// The file is believed where it tells a field, the table of the version elsewhere.
    ///
    /// # Errors
    ///
    /// For a version never looked at, when the file does not tell every field.
    pub(crate) fn decide(version: &GrpcVersion, members: &Members) -> Result<Self, RefusalReason> {
        let table = match *version {
            GrpcVersion::Known { minor, patch } => Self::of_version(minor, patch),
            GrpcVersion::Other(_) => None,
        };
        let mut layout = table.unwrap_or(Self::NEWEST);
        let mut is_complete = layout.correct(members);
        match members.get(&SECOND_IN_STREAM) {
            Some(&second) => layout.stream_is_pointer = second == POINTER_BYTES,
            None => is_complete = false,
        }
        if table.is_none() && !is_complete {
            return Err(RefusalReason::UnknownGrpc { version: version.text() });
        }
        Ok(layout)
    }

    /// The layout that every build of the version has, or nothing for one never looked at.
    #[must_use]
    pub fn of_version(minor: u16, patch: u16) -> Option<Self> {
        let last = LAST_PATCH.get(usize::from(minor.checked_sub(OLDEST_MINOR)?))?;
        if last < &patch {
            return None;
        }
        let mut layout = Self::NEWEST;
        (layout.stream_id, layout.stream_method, layout.stream_state) = match minor {
            ..54 => (0, 80, 224),
            54..60 => (0, 80, 240),
            60..66 => (0, 80, 248),
            66..69 => (0, 88, 248),
            69..77 => (0, 24, 112),
            77.. => (108, 16, 104),
        };
        layout.stream_is_pointer = (69..77).contains(&minor);
        layout.server_conn = if minor < 60 { 32 } else { 16 };
        (layout.client_conn, layout.client_quota, layout.client_next_id) = match minor {
            ..48 | 51 => (64, 320, 340),
            48..51 => (64, 328, 348),
            52..58 => (136, 392, 412),
            58..64 => (128, 384, 404),
            64..68 | 77..85 => (128, 384, 432),
            68..77 | 85.. => (128, 392, 440),
        };
        Some(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_version() {
        for (version, want) in [
            ("v1.45.0", (0, 80, 224, false, 32, 64, 320, 340)),
            ("v1.50.1", (0, 80, 224, false, 32, 64, 328, 348)),
            ("v1.51.0", (0, 80, 224, false, 32, 64, 320, 340)),
            ("v1.56.3", (0, 80, 240, false, 32, 136, 392, 412)),
            ("v1.64.1", (0, 80, 248, false, 16, 128, 384, 432)),
            ("v1.67.3", (0, 88, 248, false, 16, 128, 384, 432)),
            ("v1.70.0", (0, 24, 112, true, 16, 128, 392, 440)),
            ("v1.76.0", (0, 24, 112, true, 16, 128, 392, 440)),
            ("v1.83.2", (108, 16, 104, false, 16, 128, 384, 432)),
            ("v1.85.0", (108, 16, 104, false, 16, 128, 392, 440)),
        ] {
            let it = GrpcLayout::decide(&GrpcVersion::parse(Some(version)), &Members::new()).unwrap();
            let got = (it.stream_id, it.stream_method, it.stream_state, it.stream_is_pointer);
            let conns = (it.server_conn, it.client_conn, it.client_quota, it.client_next_id);
            let (a, b, c, d) = got;
            let (e, f, g, h) = conns;
            assert_eq!((a, b, c, d, e, f, g, h), want, "{version}");
        }
    }

    #[test]
    fn a_version_never_looked_at_needs_every_field() {
        let all: Members = STEPS.iter().map(|it| (*it, 8)).collect();
        for version in [
            Some("v1.44.0"),
            Some("v1.83.3"),
            Some("v1.86.0"),
            Some("v2.50.0"),
            Some("v1.85.0-dev"),
            Some("v1.85.1-0.20260817212433-ac3dfec99bb1"),
            Some("v1."),
            Some(""),
            None,
        ] {
            let version = GrpcVersion::parse(version);
            let refused = GrpcLayout::decide(&version, &Members::new()).unwrap_err();
            assert!(matches!(refused, RefusalReason::UnknownGrpc { .. }), "{version:?}");
            let layout = GrpcLayout::decide(&version, &all).unwrap();
            assert_eq!((layout.stream_state, layout.stream_is_pointer), (8, true), "{version:?}");
            for step in STEPS {
                let mut some = all.clone();
                some.remove(step);
                assert!(GrpcLayout::decide(&version, &some).is_err(), "{version:?} without {step:?}");
            }
        }
    }

    #[test]
    fn the_file_is_believed_before_the_table() {
        let version = GrpcVersion::parse(Some("v1.85.0"));
        let members = Members::from([(SECOND_IN_STREAM, 256), (STEPS[1], 112)]);
        let layout = GrpcLayout::decide(&version, &members).unwrap();
        assert_eq!((layout.stream_id, layout.stream_state), (112, 104));
        assert!(!layout.stream_is_pointer);
    }
}
