//! What is said of a request or statement beside its name and times. The conventions ask for `url.scheme`, and for
//! `url.full` at clients: neither the scheme nor the query is known here, so they are absent rather than guessed.

use std::{borrow::Cow, net::IpAddr};

use super::{span_events, statements};
use crate::{
    assemble::span::{JoinedBy, Outcome, Protocol, Side, Span, split_host},
    export::semconv,
};

/// Takes the attributes of a span, in whatever form.
pub trait AttributeSink {
    fn text(&mut self, key: &'static str, value: &str);
    fn yes(&mut self, key: &'static str);
    fn int(&mut self, key: &'static str, value: u64);

    /// IPv4 in its own form, also when it came over an IPv6 socket.
    fn address(&mut self, key: &'static str, value: IpAddr) {
        self.text(key, &text_of(value));
    }
}

/// All attributes of a span, names and values.
pub fn attributes(span: &Span, out: &mut impl AttributeSink) {
    match &span.statement {
        Some(statement) => statements::attributes(statement, out),
        None => request_attributes(span, out),
    }
    if let Some(error_type) = semconv::error_type(span) {
        out.text(semconv::ERROR_TYPE, &error_type);
    }
    if span.outcome == Outcome::Hijacked {
        out.yes(semconv::HIJACKED);
    }
    if let Some(rule) = joined_by(span.joined_by) {
        out.text(semconv::JOINED_BY, rule);
    }
    if span.goid != 0 {
        out.int(semconv::THREAD_ID, span.goid);
    }
    if let Some(cause) = span_events::main_cause(span) {
        out.text(semconv::CAUSE_KIND, cause);
    }
}

fn request_attributes(span: &Span, out: &mut impl AttributeSink) {
    what(span, out);
    let (address, port) = server(span);
    if let Some(address) = address {
        out.text(semconv::SERVER_ADDRESS, &address);
        if span.side == Side::Client {
            // Names the other end of the edge when it makes no spans; where it does, its own name wins.
            out.text(semconv::PEER_SERVICE, &address);
            out.text(semconv::SERVICE_PEER_NAME, &address);
        }
    }
    if let Some(port) = port {
        out.int(semconv::SERVER_PORT, port.into());
    }
    if let Some(peer) = span.peer {
        if span.side == Side::Server {
            out.address(semconv::CLIENT_ADDRESS, peer.ip());
            out.int(semconv::CLIENT_PORT, peer.port().into());
        }
        out.address(semconv::NETWORK_PEER_ADDRESS, peer.ip());
        out.int(semconv::NETWORK_PEER_PORT, peer.port().into());
    }
    if let Some(version) = version(span.protocol) {
        out.text(semconv::NETWORK_PROTOCOL_VERSION, version);
    }
    match span.outcome {
        Outcome::Status(status) => out.int(semconv::HTTP_RESPONSE_STATUS_CODE, status.into()),
        Outcome::Code(code) => out.int(semconv::RPC_GRPC_STATUS_CODE, code.into()),
        // A statement is none of these.
        Outcome::Answered | Outcome::DriverError => {}
        Outcome::Hijacked | Outcome::Aborted | Outcome::Failed | Outcome::NoConnection => {}
    }
}

fn version(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Http1(Some(0)) => Some("1.0"),
        Protocol::Http1(Some(1)) => Some("1.1"),
        Protocol::Http1(_) | Protocol::Grpc => None,
        Protocol::Http2 => Some("2"),
    }
}

/// What was asked for.
fn what(span: &Span, out: &mut impl AttributeSink) {
    if span.protocol == Protocol::Grpc {
        let (service, method) = semconv::grpc_method(&span.path);
        out.text(semconv::RPC_SYSTEM, semconv::RPC_SYSTEM_GRPC);
        if let Some(service) = service {
            out.text(semconv::RPC_SERVICE, service);
        }
        return out.text(semconv::RPC_METHOD, method);
    }
    let method = semconv::method(&span.method);
    out.text(semconv::HTTP_REQUEST_METHOD, method);
    if method == semconv::METHOD_OTHER && !span.method.is_empty() {
        out.text(semconv::HTTP_REQUEST_METHOD_ORIGINAL, &span.method);
    }
    out.text(semconv::URL_PATH, &span.path);
    if let Some(route) = &span.route {
        out.text(semconv::HTTP_ROUTE, route);
    }
}

/// The server as the client names it, else as the connection knows it.
pub(in crate::export) fn server(span: &Span) -> (Option<Cow<'_, str>>, Option<u16>) {
    let socket = match span.side {
        Side::Server => span.local,
        Side::Client => span.peer,
    };
    if span.host.is_empty() {
        return (socket.map(|it| Cow::Owned(text_of(it.ip()))), socket.map(|it| it.port()));
    }
    let (host, port) = split_host(&span.host);
    let port = match span.side {
        Side::Client => port.or(socket.map(|it| it.port())),
        // Before a server there may be a balancer with another port.
        Side::Server => port,
    };
    (Some(Cow::Borrowed(host)), port)
}

/// As [`AttributeSink::address`] has it.
pub(super) fn text_of(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

fn joined_by(rule: JoinedBy) -> Option<&'static str> {
    match rule {
        JoinedBy::Nothing => None,
        JoinedBy::Goid => Some("goid"),
        JoinedBy::ParentGoid => Some("parent_goid"),
        JoinedBy::Connection => Some("connection"),
    }
}
