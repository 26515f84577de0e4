//! A request, seen by its server or by its client.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use agent_common::event::http::joined_by;

use super::failure::FailureClass;
use crate::{clock::Ktime, targets::process::Process};

/// Sixteen random bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Eight random bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

macro_rules! hexadecimal {
    ($id:ident) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
hexadecimal!(TraceId);
hexadecimal!(SpanId);

/// Which span of which trace.
pub type SpanIds = (TraceId, SpanId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

/// What the request was spoken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// And its minor version, if that is known. Or a request that got no connection.
    Http1(Option<u8>),
    Http2,
    Grpc,
}

impl Protocol {
    /// Whether a connection has more than one request under way.
    #[must_use]
    pub fn has_streams(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }

    /// As edges have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1(_) | Self::Http2 => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a status, as the peer sees it.
    Status(u16),
    /// A call of gRPC, with a code, as its own end knows it.
    Code(u16),
    /// The handler took the connection over: what follows is no HTTP.
    Hijacked,
    /// The handler did not return: panic, `http.ErrAbortHandler` or `runtime.Goexit`.
    Aborted,
    /// The client's last attempt failed on its connection.
    Failed,
    /// The client got no connection.
    NoConnection,
    /// The driver of a database answered.
    Answered,
    /// It answered with an error.
    DriverError,
}

/// Which rule found the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinedBy {
    Nothing,
    Goid,
    ParentGoid,
    Connection,
}

impl JoinedBy {
    /// As the kernel half says it.
    #[must_use]
    pub(super) fn of(rule: u8) -> Self {
        match rule {
            joined_by::GOID => Self::Goid,
            joined_by::PARENT_GOID => Self::ParentGoid,
            joined_by::CONNECTION => Self::Connection,
            _ => Self::Nothing,
        }
    }
}

/// What a database was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// As the conventions name it; `other_sql` when the driver is not known.
    pub system: &'static str,
    /// The first keyword; `None` when it is none, or could not be read.
    pub operation: Option<&'static str>,
    /// The table, or what else it is about.
    pub target: Option<Arc<str>>,
    /// Without literals and comments; cut at `limits::STATEMENT_BYTES`.
    pub text: Arc<str>,
    /// The type of the error, as Go prints it; `None`: none, or not known.
    pub error: Option<Arc<str>>,
}

impl Statement {
    /// `SELECT orders`, as much of it as is known.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let operation = self.operation?;
        Some(self.target.as_ref().map_or_else(|| operation.to_owned(), |it| format!("{operation} {it}")))
    }
}

/// A retransmission timer of the request's connection fired while the request was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// When it fired first.
    pub fired: Ktime,
    /// Whose timer: that end sent again.
    pub sender: Side,
    /// `None`: as far as was known when the request ended, nothing was acknowledged again.
    pub over: Option<StallOver>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallOver {
    /// For so long nothing was acknowledged.
    pub lasted: Duration,
    /// So often the timer fired.
    pub expiries: u32,
}

/// A connect that failed, for a request that got no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDial {
    /// When it had failed.
    pub at: Ktime,
    pub class: FailureClass,
    pub server: SocketAddr,
    pub lasted: Duration,
    /// SYNs that were sent, the first included.
    pub syns: u32,
}

/// What hit a request while it was open. Whoever finds out more of that kind adds a list here, and its words in
/// `export/otlp/span_events.rs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    pub stalls: Vec<Stall>,
    pub dials: Vec<FailedDial>,
    pub left_out: u32,
}

impl Causes {
    /// All lists together. More are left out, and counted.
    pub const MAX: usize = 8;

    pub fn has_room(&mut self) -> bool {
        let has_room = self.stalls.len() + self.dials.len() < Self::MAX;
        self.left_out += u32::from(!has_room);
        has_room
    }
}

/// Spans that ended about the same time, shared by all who keep them.
pub type Batch = Arc<Vec<Span>>;

/// A request, or a statement, that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// `None`: a root.
    pub parent: Option<SpanId>,
    pub joined_by: JoinedBy,
    pub side: Side,
    pub protocol: Protocol,
    pub process: Arc<Process>,
    pub began: Ktime,
    pub ended: Ktime,
    /// Upper case, as sent; empty when it could not be read, and for gRPC.
    pub method: Arc<str>,
    /// Without query; of gRPC, the full name of the method, as sent. Cut at `limits::PATH_BYTES`.
    pub path: Arc<str>,
    /// The pattern that the server matched, without method and host: `/items/{id}`. `None`: not known.
    pub route: Option<Arc<str>>,
    /// Whether there was a query: its values are never copied out of the kernel half's record.
    pub has_query: bool,
    /// `Host` as the program wrote it, port included.
    pub host: Arc<str>,
    pub outcome: Outcome,
    /// Own and other end of the connection, when it has an identity.
    pub local: Option<SocketAddr>,
    pub peer: Option<SocketAddr>,
    pub goid: u64,
    /// `None`: nothing of the kind.
    pub causes: Option<Box<Causes>>,
    /// `Some`: it is a statement, and nothing that is HTTP's is set.
    pub statement: Option<Box<Statement>>,
}

impl Span {
    #[must_use]
    pub fn ids(&self) -> SpanIds {
        (self.trace_id, self.span_id)
    }

    #[must_use]
    pub fn duration(&self) -> Duration {
        self.ended.since(self.began)
    }

    /// By the conventions. HTTP: 5xx is a server's error, 4xx and 5xx are a client's. gRPC: each code but OK is a
    /// client's; a server's are those that the client cannot have caused.
    #[must_use]
    pub fn is_error(&self) -> bool {
        match (self.outcome, self.side) {
            (Outcome::Status(status), Side::Server) => 500 <= status,
            (Outcome::Status(status), Side::Client) => 400 <= status,
            (Outcome::Code(code), Side::Server) => matches!(code, 2 | 4 | 12..=15 | 17..),
            (Outcome::Code(code), Side::Client) => code != 0,
            (Outcome::Hijacked | Outcome::Answered, _) => false,
            (Outcome::Aborted | Outcome::Failed | Outcome::NoConnection | Outcome::DriverError, _) => true,
        }
    }

    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Status(status) => Some(status),
            _ => None,
        }
    }
}

/// A host as programs write it, and its port: `shop:80`, `shop`, `[::1]:80`, `::1`.
#[must_use]
pub fn split_host(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => (name, port.parse().ok()),
        _ => (host, None),
    };
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (host, want) in [
            ("shop", ("shop", None)),
            ("shop:80", ("shop", Some(80))),
            ("shop:x", ("shop", None)),
            ("[::1]:80", ("::1", Some(80))),
            ("[::1]", ("::1", None)),
            ("::1", ("::1", None)),
            (":", ("", None)),
        ] {
            assert_eq!(split_host(host), want, "{host}");
        }
    }
}
