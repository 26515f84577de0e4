//! Spans as one request: a `ResourceSpans` for each process.
//!
//! The conventions ask for `url.scheme`, and for `url.full` at clients: neither the scheme nor the
//! query is known here, so they are absent rather than guessed.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::KeyValue,
    trace::v1::{ResourceSpans, ScopeSpans, Span as Otlp, Status, span::SpanKind, status::StatusCode},
};

use super::{
    attribute::{int, scope, text, yes},
    resource,
};
use crate::{
    assemble::span::{JoinedBy, Outcome, Side, Span},
    clock::Clock,
    export::{node::Node, semconv},
    targets::process::Process,
};

/// Sampled, and whether the parent is in another process is known.
const FLAGS: u32 = 0x01 | 0x100;
const FLAG_PARENT_IS_REMOTE: u32 = 0x200;

pub(in crate::export) fn request(
    spans: &[Arc<Span>],
    node: &Node,
    clock: &Clock,
) -> ExportTraceServiceRequest {
    let resource_spans = by_process(spans)
        .into_iter()
        .map(|(process, spans)| ResourceSpans {
            resource: Some(resource::process(process, node)),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope(node)),
                spans: spans.into_iter().map(|it| convert(it, clock)).collect(),
                schema_url: semconv::SCHEMA_URL.to_owned(),
            }],
            schema_url: semconv::SCHEMA_URL.to_owned(),
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

/// A process may have several descriptions, since it may replace its program: then several groups.
fn by_process(spans: &[Arc<Span>]) -> Vec<(&Process, Vec<&Span>)> {
    let mut groups: BTreeMap<_, Vec<(&Arc<Process>, Vec<&Span>)>> = BTreeMap::new();
    for span in spans {
        let same = groups.entry(span.process.tgid).or_default();
        let found = same.iter_mut().find(|(it, _)| Arc::ptr_eq(it, &span.process) || **it == span.process);
        match found {
            Some((_, spans)) => spans.push(span),
            None => same.push((&span.process, vec![span])),
        }
    }
    groups.into_values().flatten().map(|(process, spans)| (&**process, spans)).collect()
}

fn convert(span: &Span, clock: &Clock) -> Otlp {
    let method = semconv::method(&span.method);
    // Clocks of two CPUs: an end before its begin would be refused or shown as ages.
    let ended = span.ended.max(span.began);
    let kind = match span.side {
        Side::Server => SpanKind::Server,
        Side::Client => SpanKind::Client,
    };
    let remote = match span.joined_by {
        JoinedBy::Connection => FLAG_PARENT_IS_REMOTE,
        JoinedBy::Nothing | JoinedBy::Goid | JoinedBy::ParentGoid => 0,
    };
    Otlp {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        parent_span_id: span.parent.map_or_else(Vec::new, |it| it.0.to_vec()),
        flags: FLAGS | remote,
        name: if method == semconv::METHOD_OTHER { "HTTP".to_owned() } else { method.to_owned() },
        kind: kind.into(),
        start_time_unix_nano: clock.wall(span.began).0,
        end_time_unix_nano: clock.wall(ended).0,
        attributes: attributes(span, method),
        status: Some(status(span)),
        ..Otlp::default()
    }
}

fn attributes(span: &Span, method: &str) -> Vec<KeyValue> {
    let mut attributes = vec![text(semconv::HTTP_REQUEST_METHOD, method)];
    if method == semconv::METHOD_OTHER && !span.method.is_empty() {
        attributes.push(text(semconv::HTTP_REQUEST_METHOD_ORIGINAL, &span.method));
    }
    attributes.push(text(semconv::URL_PATH, &span.path));
    attributes.push(text(semconv::NETWORK_PROTOCOL_VERSION, "1.1"));
    let (address, port) = server(span);
    attributes.extend(address.map(|it| text(semconv::SERVER_ADDRESS, it)));
    attributes.extend(port.map(|it| int(semconv::SERVER_PORT, it)));
    if let Some(peer) = span.peer {
        if span.side == Side::Server {
            attributes.push(text(semconv::CLIENT_ADDRESS, ip(peer)));
            attributes.push(int(semconv::CLIENT_PORT, peer.port()));
        }
        attributes.push(text(semconv::NETWORK_PEER_ADDRESS, ip(peer)));
        attributes.push(int(semconv::NETWORK_PEER_PORT, peer.port()));
    }
    attributes.extend(span.status().map(|it| int(semconv::HTTP_RESPONSE_STATUS_CODE, it)));
    attributes.extend(semconv::error_type(span).map(|it| text(semconv::ERROR_TYPE, it)));
    if span.outcome == Outcome::Hijacked {
        attributes.push(yes(semconv::HIJACKED));
    }
    attributes.extend(joined_by(span.joined_by).map(|it| text(semconv::JOINED_BY, it)));
    if let Ok(goid @ 1..) = i64::try_from(span.goid) {
        attributes.push(int(semconv::THREAD_ID, goid));
    }
    attributes
}

/// The server as the client names it, else as the connection knows it.
pub(in crate::export) fn server(span: &Span) -> (Option<String>, Option<u16>) {
    let socket = match span.side {
        Side::Server => span.local,
        Side::Client => span.peer,
    };
    if span.host.is_empty() {
        return (socket.map(ip), socket.map(|it| it.port()));
    }
    let (host, port) = split_host(&span.host);
    let port = match span.side {
        Side::Client => port.or(socket.map(|it| it.port())),
        // Before a server there may be a balancer with another port.
        Side::Server => port,
    };
    (Some(host.to_owned()), port)
}

/// `shop:80`, `shop`, `[::1]:80`, `::1`.
fn split_host(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => (name, port.parse().ok()),
        _ => (host, None),
    };
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

/// IPv4 in its own form, also when it came over an IPv6 socket.
fn ip(socket: SocketAddr) -> String {
    socket.ip().to_canonical().to_string()
}

fn status(span: &Span) -> Status {
    let code = if span.is_error() { StatusCode::Error } else { StatusCode::Unset };
    let message = match span.outcome {
        Outcome::Status(_) | Outcome::Hijacked => "",
        Outcome::Aborted => "the handler did not return",
        Outcome::Failed => "the connection failed during the last attempt",
        Outcome::NoConnection => "no connection to the server",
    };
    Status { message: message.to_owned(), code: code.into() }
}

fn joined_by(rule: JoinedBy) -> Option<&'static str> {
    match rule {
        JoinedBy::Nothing => None,
        JoinedBy::Goid => Some("goid"),
        JoinedBy::ParentGoid => Some("parent_goid"),
        JoinedBy::Connection => Some("connection"),
    }
}
