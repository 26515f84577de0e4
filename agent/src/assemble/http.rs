//! A request record becomes a span.

use std::sync::Arc;

use agent_common::event::http::{Call, end, protocol, side};

use super::{
    address,
    span::{JoinedBy, Outcome, Protocol, Side, Span, SpanId, TraceId},
    texts::Texts,
};
use crate::{clock::Ktime, targets::process::Process};

/// `None` when the record contradicts itself, which no kernel half of this build makes.
#[must_use]
pub(super) fn span(call: &Call, process: &Arc<Process>, texts: &mut Texts) -> Option<Span> {
    let side = match call.side {
        side::SERVER => Side::Server,
        side::CLIENT => Side::Client,
        _ => return None,
    };
    let protocol = match call.protocol {
        protocol::GRPC => Protocol::Grpc,
        protocol::HTTP2 => Protocol::Http2,
        _ => Protocol::Http1(call.minor.checked_sub(1)),
    };
    let outcome = outcome(call, side, protocol)?;
    let target = cut(&call.path, call.path_len);
    // A client's is decoded, and the query is not in it: a `?` is a part of the path. Methods of gRPC have none.
    let has_query = side == Side::Server && protocol != Protocol::Grpc;
    let query = target.iter().position(|byte| *byte == b'?' && has_query);
    let method = match cut(&call.method, call.method_len) {
        // net/http: an empty method of a client's request means GET.
        b"" if side == Side::Client && protocol != Protocol::Grpc => b"GET",
        method => method,
    };
    Some(Span {
        trace_id: TraceId(call.trace_id),
        span_id: SpanId(call.span_id),
        parent: (call.parent_span_id != [0; 8]).then_some(SpanId(call.parent_span_id)),
        joined_by: JoinedBy::of(call.joined_by),
        side,
        protocol,
        process: Arc::clone(process),
        began: Ktime(call.began_ktime_ns),
        ended: Ktime(call.header.ktime_ns),
        method: texts.get(method),
        path: texts.get(&target[..query.unwrap_or(target.len())]),
        route: route(cut(&call.route, call.route_len)).map(|it| texts.get(it)),
        has_query: query.is_some(),
        host: texts.get(cut(&call.host, call.host_len)),
        outcome,
        local: address::socket(call.local, call.local_port),
        peer: address::socket(call.remote, call.remote_port),
        goid: call.goid,
        causes: None,
        statement: None,
    })
}

/// `[METHOD ][HOST]/[PATH]` is a pattern of `ServeMux`; of Go before 1.22 `[HOST]/[PATH]`.
fn route(pattern: &[u8]) -> Option<&[u8]> {
    let path = pattern.iter().position(|byte| *byte == b'/')?;
    Some(&pattern[path..])
}

fn outcome(call: &Call, side: Side, protocol: Protocol) -> Option<Outcome> {
    const OK: u16 = 200;
    Some(match call.end {
        end::RETURNED if protocol == Protocol::Grpc => Outcome::Code(call.status),
        // The handler wrote nothing: net/http answers 200 for it.
        end::RETURNED if call.status == 0 && side == Side::Server => Outcome::Status(OK),
        end::RETURNED => Outcome::Status(call.status),
        end::HIJACKED => Outcome::Hijacked,
        end::ABORTED => Outcome::Aborted,
        end::FAILED => Outcome::Failed,
        end::NO_CONNECTION => Outcome::NoConnection,
        _ => return None,
    })
}

fn cut(bytes: &[u8], len: u8) -> &[u8] {
    &bytes[..usize::from(len).min(bytes.len())]
}

#[cfg(test)]
pub(super) mod tests {
    use agent_common::Wire as _;

    use super::*;
    use crate::assemble::directory;

    #[test]
    fn the_query_never_leaves() {
        check("server returned 0 GET /a/b?card=4711", "Server GET /a/b ?true Status(200)");
        check("server returned 503 POST /x", "Server POST /x ?false Status(503)");
    }

    #[test]
    fn a_question_mark_in_a_decoded_path_is_no_query() {
        check("client returned 200 GET /what?/is", "Client GET /what?/is ?false Status(200)");
    }

    #[test]
    fn a_client_without_a_method_gets() {
        check("client returned 404 - /x", "Client GET /x ?false Status(404)");
    }

    #[test]
    fn requests_end_in_many_ways() {
        check("server aborted 0 GET /x", "Server GET /x ?false Aborted");
        check("server hijacked 101 GET /x", "Server GET /x ?false Hijacked");
        check("client failed 0 GET /x", "Client GET /x ?false Failed");
        check("client unconnected 0 GET /x", "Client GET /x ?false NoConnection");
    }

    #[test]
    fn a_method_of_grpc_has_neither_verb_nor_query() {
        check("grpc-server returned 0 - /shop.Cart/Add?x", "Server  /shop.Cart/Add?x ?false Code(0)");
        check("grpc-client returned 14 - /shop.Cart/Add", "Client  /shop.Cart/Add ?false Code(14)");
    }

    #[test]
    fn rubbish_is_no_span() {
        let process = directory::tests::process(1, "/bin/a");
        assert_eq!(span(&Call::zeroed(), &process, &mut Texts::default()), None);
        let call = Call { side: side::SERVER, end: 77, ..Call::zeroed() };
        assert_eq!(span(&call, &process, &mut Texts::default()), None);
        let call = Call { side: 1, end: 1, path_len: 255, host_len: 255, method_len: 255, ..Call::zeroed() };
        assert!(span(&call, &process, &mut Texts::default()).is_some(), "lengths beyond the fields are cut");
    }

    /// A server's, that says nothing else.
    pub(in crate::assemble) fn returned() -> Call {
        Call { side: side::SERVER, end: end::RETURNED, ..Call::zeroed() }
    }

    #[track_caller]
    fn check(input: &str, want: &str) {
        let words: Vec<&str> = input.split(' ').collect();
        let [who, how, status, method, path] = words[..] else { panic!("{input}") };
        let mut call = Call { status: status.parse().unwrap(), ..Call::zeroed() };
        call.side = if who.ends_with("server") { side::SERVER } else { side::CLIENT };
        call.protocol = if who.starts_with("grpc") { protocol::GRPC } else { protocol::HTTP1 };
        call.end = match how {
            "returned" => end::RETURNED,
            "hijacked" => end::HIJACKED,
            "aborted" => end::ABORTED,
            "failed" => end::FAILED,
            _ => end::NO_CONNECTION,
        };
        let method = method.trim_matches('-');
        call.method[..method.len()].copy_from_slice(method.as_bytes());
        call.method_len = method.len() as u8;
        call.path[..path.len()].copy_from_slice(path.as_bytes());
        call.path_len = path.len() as u8;
        let span = span(&call, &directory::tests::process(1, "/bin/a"), &mut Texts::default()).unwrap();
        let got =
            format!("{:?} {} {} ?{} {:?}", span.side, span.method, span.path, span.has_query, span.outcome);
        assert_eq!(got, want, "{input}");
    }
}
