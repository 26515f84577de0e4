//! A verdict with its evidence.

use std::sync::Arc;

use crate::{
    assemble::span::{SpanId, TraceId},
    clock::Ktime,
    targets::process::Process,
};

/// Worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Critical,
    Warning,
    Advice,
}

impl Severity {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Advice => "advice",
        }
    }
}

/// A number or a text of the evidence. The key's end names the unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    Count(u64),
    Seconds(f64),
    Ratio(f64),
    Text(String),
}

/// Kinds are part of the contract with users: never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    ConnectRefused,
    ConnectTimedOut,
    ConnectAbandoned,
    ConnectUnreachable,
    ConnectReset,
    ConnectLate,
    RtoEpisode,
    DataUnacknowledged,
    KeepAliveFailed,
    WindowGaveUp,
    NetworkSilent,
    WindowClosed,
    ApplicationSilent,
    AcceptQueueFull,
    HttpServerErrors,
    DnsNoAnswer,
    DnsServerFailures,
    DnsNoSuchNames,
    DnsSlow,
}

impl FindingKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimedOut => "connect_timed_out",
            Self::ConnectAbandoned => "connect_abandoned",
            Self::ConnectUnreachable => "connect_unreachable",
            Self::ConnectReset => "connect_reset",
            Self::ConnectLate => "connect_late",
            Self::RtoEpisode => "rto_episode",
            Self::DataUnacknowledged => "data_unacknowledged",
            Self::KeepAliveFailed => "keepalive_failed",
            Self::WindowGaveUp => "window_gave_up",
            Self::NetworkSilent => "network_silent",
            Self::WindowClosed => "window_closed",
            Self::ApplicationSilent => "application_silent",
            Self::AcceptQueueFull => "accept_queue_full",
            Self::HttpServerErrors => "http_server_errors",
            Self::DnsNoAnswer => "dns_no_answer",
            Self::DnsServerFailures => "dns_server_failures",
            Self::DnsNoSuchNames => "dns_no_such_names",
            Self::DnsSlow => "dns_slow",
        }
    }
}

/// One verdict. Repeated ones are the same finding with a larger count.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub severity: Severity,
    pub kind: FindingKind,
    /// `None`: the process is not known any more.
    pub target: Option<Arc<Process>>,
    /// What it is about besides the target, so that equal verdicts are one finding: an address, a site.
    pub about: String,
    /// One sentence that a tired person understands.
    pub summary: String,
    pub evidence: Vec<(&'static str, Evidence)>,
    /// 0: it lasts, and was counted before.
    pub count: u64,
    pub first_seen: Ktime,
    pub last_seen: Ktime,
    /// The command line to type next.
    pub next: String,
    pub span: Option<(TraceId, SpanId)>,
}
