//! Spans as one request: a `ResourceSpans` for each process.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use ahash::AHashMap;

use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};

use super::{
    attribute::{SAMPLED, scope},
    resource,
    span_attributes::{AttributeSink, attributes, text_of},
    span_events::{self, Figure, SpanEvent},
    statements,
    wire::{bytes, fixed_32, fixed_64, long_message, message, number, prost},
};
use crate::{
    assemble::span::{JoinedBy, Outcome, Protocol, Side, Span},
    clock::Clock,
    export::{node::Node, semconv},
    targets::process::Process,
};

/// Whether the parent is in another process is known.
const FLAGS: u32 = SAMPLED | 0x100;
const FLAG_PARENT_IS_REMOTE: u32 = 0x200;
/// Of a usual span; a guess that is wrong costs a copy.
const SPAN_BYTES: usize = 512;

/// An encoded `ExportTraceServiceRequest`.
pub(in crate::export) fn request(spans: &[&Span], node: &Node, clock: &Clock) -> Vec<u8> {
    let mut out = Vec::with_capacity(spans.len() * SPAN_BYTES);
    let mut addresses = Addresses::default();
    for (process, spans) in by_process(spans) {
        // ResourceSpans: 1 resource, 2 scope_spans, 3 schema_url.
        message(&mut out, 1, |out| {
            prost(out, 1, &resource::process(process, node));
            // ScopeSpans: 1 scope, 2 spans, 3 schema_url.
            message(out, 2, |out| {
                prost(out, 1, &scope(node));
                for span in spans {
                    long_message(out, 2, |out| encode(span, clock, &mut addresses, out));
                }
                bytes(out, 3, semconv::SCHEMA_URL.as_bytes());
            });
            bytes(out, 3, semconv::SCHEMA_URL.as_bytes());
        });
    }
    out
}

/// A process may have several descriptions, since it may replace its program: then several groups.
fn by_process<'a>(spans: &[&'a Span]) -> Vec<(&'a Process, Vec<&'a Span>)> {
    let mut groups: Vec<(&Process, Vec<&Span>)> = Vec::new();
    let mut places = AHashMap::new();
    for span in spans {
        let place = *places.entry(Arc::as_ptr(&span.process)).or_insert_with(|| {
            let same = groups.iter().position(|(process, _)| **process == *span.process);
            same.unwrap_or_else(|| {
                groups.push((&span.process, Vec::new()));
                groups.len() - 1
            })
        });
        groups[place].1.push(span);
    }
    groups
}

/// Addresses as text: the same few come again and again.
#[derive(Default)]
struct Addresses(AHashMap<IpAddr, String>);

impl Addresses {
    fn text(&mut self, ip: IpAddr) -> &str {
        self.0.entry(ip).or_insert_with(|| text_of(ip))
    }
}

/// The fields of a `Span`, in the order of their numbers in
/// <https://github.com/open-telemetry/opentelemetry-proto/blob/v1.9.0/opentelemetry/proto/trace/v1/trace.proto>.
fn encode(span: &Span, clock: &Clock, addresses: &mut Addresses, out: &mut Vec<u8>) {
    let kind = match span.side {
        Side::Server => SpanKind::Server,
        Side::Client => SpanKind::Client,
    };
    // Clocks of two CPUs: an end before its begin would be refused or shown as ages.
    let ended = span.ended.max(span.began);
    let remote = match span.joined_by {
        JoinedBy::Connection => FLAG_PARENT_IS_REMOTE,
        JoinedBy::Nothing | JoinedBy::Goid | JoinedBy::ParentGoid => 0,
    };
    bytes(out, 1, &span.trace_id.0);
    bytes(out, 2, &span.span_id.0);
    if let Some(parent) = span.parent {
        bytes(out, 4, &parent.0);
    }
    bytes(out, 5, name(span).as_bytes());
    number(out, 6, kind as u64);
    fixed_64(out, 7, clock.wall(span.began).0);
    fixed_64(out, 8, clock.wall(ended).0);
    attributes(span, &mut Attributes { out, addresses });
    events(out, span, clock);
    message(out, 15, |out| status(out, span));
    fixed_32(out, 16, FLAGS | remote);
}

/// Of low cardinality, as the conventions ask: what differs from one request to the next is in attributes.
fn name(span: &Span) -> Cow<'_, str> {
    if let Some(statement) = &span.statement {
        return statements::name(statement);
    }
    if span.protocol == Protocol::Grpc {
        return Cow::Borrowed(span.path.strip_prefix('/').unwrap_or(&span.path));
    }
    let method = semconv::method(&span.method);
    let method = if method == semconv::METHOD_OTHER { "HTTP" } else { method };
    match &span.route {
        Some(route) => Cow::Owned(format!("{method} {route}")),
        None => Cow::Borrowed(method),
    }
}

/// Fields 11 and 12 of a `Span`: its events, and how many are left out. An `Event`: 1 time_unix_nano, 2 name,
/// 3 attributes.
fn events(out: &mut Vec<u8>, span: &Span, clock: &Clock) {
    for SpanEvent { name, at, attributes } in span_events::span_events(span) {
        long_message(out, 11, |out| {
            fixed_64(out, 1, clock.wall(at).0);
            bytes(out, 2, name.as_bytes());
            for (key, value) in attributes {
                push(out, 3, key, |out| match value {
                    Figure::Text(ref it) => bytes(out, 1, it.as_bytes()),
                    Figure::Count(it) => number(out, 3, it),
                    Figure::Number(it) => fixed_64(out, 4, it.to_bits()),
                });
            }
        });
    }
    if let Some(causes) = span.causes.as_ref().filter(|it| it.left_out != 0) {
        number(out, 12, causes.left_out.into());
    }
}

/// Field 9 of a `Span`, once for each.
struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    addresses: &'a mut Addresses,
}

impl AttributeSink for Attributes<'_> {
    fn text(&mut self, key: &'static str, value: &str) {
        push(self.out, 9, key, |out| bytes(out, 1, value.as_bytes()));
    }

    fn yes(&mut self, key: &'static str) {
        push(self.out, 9, key, |out| number(out, 2, 1));
    }

    fn int(&mut self, key: &'static str, value: u64) {
        push(self.out, 9, key, |out| number(out, 3, value));
    }

    fn address(&mut self, key: &'static str, value: IpAddr) {
        push(self.out, 9, key, |out| bytes(out, 1, self.addresses.text(value).as_bytes()));
    }
}

/// A `KeyValue` of 1 key and 2 value, which is one of many fields.
fn push(out: &mut Vec<u8>, field: u64, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
    message(out, field, |out| {
        bytes(out, 1, key.as_bytes());
        message(out, 2, write);
    });
}

/// `Status`: 2 message, 3 code.
fn status(out: &mut Vec<u8>, span: &Span) {
    let text = match span.outcome {
        Outcome::Status(_)
        | Outcome::Code(_)
        | Outcome::Hijacked
        | Outcome::Answered
        | Outcome::DriverError => "",
        Outcome::Aborted => "the handler did not return",
        Outcome::Failed => "the connection failed during the last attempt",
        Outcome::NoConnection => "no connection to the server",
    };
    if !text.is_empty() {
        bytes(out, 2, text.as_bytes());
    }
    if span.is_error() {
        number(out, 3, StatusCode::Error as u64);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span as Otlp,
    };
    use prost::Message as _;

    use std::time::Duration;

    use super::*;
    use crate::{
        assemble::span::{Causes, SpanId, Stall, StallOver},
        clock::Ktime,
        export::testing,
    };

    #[test]
    fn a_server_answers() {
        check(
            "server GET 200 host=shop:8080 local=10.0.0.1:8080 peer=10.0.0.2:5000",
            "Server GET Unset | http.request.method=GET url.path=/cart server.address=shop server.port=8080 client.address=10.0.0.2 client.port=5000 \
             network.peer.address=10.0.0.2 network.peer.port=5000 http.response.status_code=200",
        );
    }

    #[test]
    fn a_client_knows_the_port_from_its_connection() {
        check(
            "client POST 200 host=api.example peer=10.0.0.2:443 goid=7 joined=goid",
            "Client POST Unset | http.request.method=POST url.path=/cart server.address=api.example \
             peer.service=api.example service.peer.name=api.example server.port=443 network.peer.address=10.0.0.2 \
             network.peer.port=443 http.response.status_code=200 taskscope.joined_by=goid thread.id=7",
        );
    }

    #[test]
    fn the_version_is_told_where_it_is_known() {
        for version in ["1.0", "1.1", "2"] {
            check(
                &format!("client GET 200 host=shop version={version}"),
                &format!(
                    "Client GET Unset | http.request.method=GET url.path=/cart server.address=shop peer.service=shop \
                     service.peer.name=shop network.protocol.version={version} http.response.status_code=200"
                ),
            );
        }
    }

    #[test]
    fn a_call_of_grpc_has_a_service_and_a_method() {
        check(
            "server /shop.v1.Cart/Add code:0 local=10.0.0.1:443 peer=10.0.0.2:5000",
            "Server shop.v1.Cart/Add Unset | rpc.system=grpc rpc.service=shop.v1.Cart rpc.method=Add \
             server.address=10.0.0.1 server.port=443 client.address=10.0.0.2 client.port=5000 \
             network.peer.address=10.0.0.2 network.peer.port=5000 rpc.grpc.status_code=0",
        );
        check(
            "client /shop.v1.Cart/Add code:4 host=cart:50051",
            "Client shop.v1.Cart/Add Error | rpc.system=grpc rpc.service=shop.v1.Cart rpc.method=Add \
             server.address=cart peer.service=cart service.peer.name=cart server.port=50051 \
             rpc.grpc.status_code=4 error.type=DEADLINE_EXCEEDED",
        );
        check(
            "server nonsense code:12",
            "Server nonsense Error | rpc.system=grpc rpc.method=nonsense rpc.grpc.status_code=12 \
             error.type=UNIMPLEMENTED",
        );
    }

    #[test]
    fn a_code_is_an_error_by_side() {
        let by_server = |code: &u16| convert_line(&format!("server /s/m code:{code}")).contains(" Error |");
        assert_eq!((0..=17).filter(by_server).collect::<Vec<_>>(), [2, 4, 12, 13, 14, 15, 17]);
        let by_client = |code: &u16| convert_line(&format!("client /s/m code:{code}")).contains(" Error |");
        assert_eq!((0..=17).filter(by_client).collect::<Vec<_>>(), (1..=17).collect::<Vec<_>>());
        assert!(convert_line("client /s/m code:17").ends_with(" error.type=17"));
    }

    #[test]
    fn a_status_is_an_error_by_side() {
        for (side, status, want) in [
            ("server", 499, "Unset"),
            ("server", 500, "Error"),
            ("client", 399, "Unset"),
            ("client", 400, "Error"),
        ] {
            let got = convert_line(&format!("{side} GET {status}"));
            assert!(got.contains(&format!(" GET {want} |")), "{got}");
            let error_type = format!(" error.type={status}");
            assert_eq!(got.contains(&error_type), want == "Error", "{got}");
        }
    }

    #[test]
    fn ends_without_status() {
        for (side, outcome, want) in [
            ("server", "aborted", "Server GET Error: the handler did not return | aborted"),
            (
                "client",
                "failed",
                "Client GET Error: the connection failed during the last attempt | \
                                  connection_failed",
            ),
            ("client", "noconnection", "Client GET Error: no connection to the server | connect_failed"),
        ] {
            let got = convert_line(&format!("{side} GET {outcome}"));
            let (head, attributes) = got.split_once(" | ").unwrap();
            let (_, error_type) = attributes.split_once("error.type=").unwrap();
            assert_eq!(format!("{head} | {error_type}"), want);
        }
        let got = convert_line("server GET hijacked");
        assert!(got.contains("Unset | ") && got.ends_with("taskscope.http.hijacked=true"), "{got}");
    }

    #[test]
    fn an_unknown_method_does_not_make_a_name() {
        let got = convert_line("server BREW 200");
        let want = "Server HTTP Unset | http.request.method=_OTHER http.request.method_original=BREW ";
        assert!(got.starts_with(want), "{got}");
        let got = convert_line("server - 200");
        assert!(got.starts_with("Server HTTP Unset | http.request.method=_OTHER url.path"), "{got}");
    }

    #[test]
    fn without_host_the_connection_names_the_server() {
        let got = convert_line("server GET 200 local=[::ffff:10.0.0.1]:8080");
        assert!(got.contains("server.address=10.0.0.1 server.port=8080 "), "{got}");
    }

    #[test]
    fn ids_times_and_parent() {
        let clock = Clock::new();
        let mut span = testing::span(5);
        span.parent = Some(SpanId([9; 8]));
        span.joined_by = JoinedBy::Connection;
        let got = convert(&span, &clock);
        assert_eq!(got.trace_id, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(got.span_id, [0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(got.parent_span_id, [9; 8]);
        assert_eq!(got.flags, 0x301);
        assert_eq!(got.start_time_unix_nano, clock.wall(Ktime(1_000_000_000)).0);
        assert_eq!(got.end_time_unix_nano - got.start_time_unix_nano, 1_000_000);

        // As clocks of two CPUs may have it.
        span.ended = Ktime(1);
        let got = convert(&span, &clock);
        assert_eq!(got.end_time_unix_nano, got.start_time_unix_nano);
    }

    #[test]
    fn what_its_connection_went_through_is_on_the_span() {
        let clock = Clock::new();
        let mut span = testing::span(5);
        let over = StallOver { lasted: Duration::from_millis(1400), expiries: 3 };
        let stalls = vec![
            Stall { fired: Ktime(1_000_200_000), sender: Side::Client, over: Some(over) },
            Stall { fired: Ktime(1_000_500_000), sender: Side::Server, over: None },
        ];
        span.causes = Some(Box::new(Causes { stalls, left_out: 2, ..Causes::default() }));
        let got = convert(&span, &clock);
        let events: Vec<_> = got
            .events
            .iter()
            .map(|it| {
                let us = (it.time_unix_nano - clock.wall(span.began).0) / 1000;
                format!("{} +{us} us {}", it.name, testing::attributes(&it.attributes))
            })
            .collect();
        assert_eq!(
            events,
            [
                "taskscope.rto_episode +200 us taskscope.cause.kind=rto taskscope.edge.direction=to_server \
                 taskscope.cause.duration=0.001 taskscope.cause.share=1 taskscope.rto.duration=1.4 \
                 taskscope.rto.timeouts=3",
                "taskscope.rto_episode +500 us taskscope.cause.kind=rto taskscope.edge.direction=to_client",
            ]
        );
        assert_eq!(got.dropped_events_count, 2);
        assert!(testing::attributes(&got.attributes).ends_with(" taskscope.cause.kind=rto"));
    }

    #[test]
    fn a_statement_has_no_http_in_it() {
        let mut span = testing::statement(7);
        let text = "db.query.text=SELECT a FROM items WHERE b = ?";
        let want = format!(
            "Client SELECT items Error | db.system.name=postgresql db.operation.name=SELECT \
             db.query.summary=SELECT items {text} error.type=*pq.Error thread.id=7"
        );
        assert_eq!(shown(&span), want);

        span.outcome = Outcome::DriverError;
        let statement = span.statement.as_mut().unwrap();
        (statement.operation, statement.target, statement.error) = (None, None, None);
        let want = format!(
            "Client postgresql Error | db.system.name=postgresql {text} error.type=_OTHER thread.id=7"
        );
        assert_eq!(shown(&span), want);
    }

    #[test]
    fn one_resource_for_each_process() {
        let mut spans: Vec<_> = (1..=4).map(testing::span).collect();
        for (span, (service, tgid)) in
            spans.iter_mut().zip([("web", 41), ("cart", 42), ("web", 41), ("web-after-exec", 41)])
        {
            span.process = Arc::new(testing::process(service, tgid));
        }
        let body = request(&spans.iter().collect::<Vec<_>>(), &testing::node(), &Clock::new());
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        assert_eq!(request.encode_to_vec(), body);
        let got: Vec<_> = request
            .resource_spans
            .iter()
            .map(|it| {
                let attributes = testing::attributes(&it.resource.as_ref().unwrap().attributes);
                let service = attributes.split(' ').next().unwrap().to_owned();
                (service, it.scope_spans[0].spans.len())
            })
            .collect();
        let want = [("web", 2), ("cart", 1), ("web-after-exec", 1)];
        assert_eq!(got, want.map(|(service, n)| (format!("service.name={service}"), n)));
    }

    /// Decoded again by prost, which would write the same bytes.
    fn convert(span: &Span, clock: &Clock) -> Otlp {
        let mut body = Vec::new();
        encode(span, clock, &mut Addresses::default(), &mut body);
        let span = Otlp::decode(&body[..]).unwrap();
        assert_eq!(span.encode_to_vec(), body);
        span
    }

    #[track_caller]
    fn check(line: &str, want: &str) {
        assert_eq!(convert_line(line), want, "\nspan: {line}");
    }

    /// `SIDE METHOD OUTCOME [host=][local=][peer=][goid=][joined=]` as `KIND NAME STATUS | ATTRIBUTES`.
    fn convert_line(line: &str) -> String {
        let mut span = testing::span(0);
        span.host = "".into();
        let words: Vec<_> = line.split(' ').collect();
        span.side = if words[0] == "server" { Side::Server } else { Side::Client };
        span.method = words[1].trim_matches('-').into();
        span.outcome = match words[2] {
            "hijacked" => Outcome::Hijacked,
            "aborted" => Outcome::Aborted,
            "failed" => Outcome::Failed,
            "noconnection" => Outcome::NoConnection,
            code if code.starts_with("code:") => {
                (span.protocol, span.path) = (Protocol::Grpc, words[1].into());
                Outcome::Code(code[5..].parse().unwrap())
            }
            status => Outcome::Status(status.parse().unwrap()),
        };
        for (key, value) in words[3..].iter().map(|it| it.split_once('=').unwrap()) {
            match key {
                "host" => span.host = value.into(),
                "local" => span.local = Some(value.parse().unwrap()),
                "peer" => span.peer = Some(value.parse().unwrap()),
                "goid" => span.goid = value.parse().unwrap(),
                "version" => {
                    span.protocol = match value {
                        "1.0" => Protocol::Http1(Some(0)),
                        "1.1" => Protocol::Http1(Some(1)),
                        _ => Protocol::Http2,
                    };
                }
                "joined" => span.joined_by = JoinedBy::Goid,
                key => panic!("{key}"),
            }
        }
        shown(&span)
    }

    fn shown(span: &Span) -> String {
        let got = convert(span, &Clock::new());
        let status = got.status.clone().unwrap();
        let message = if status.message.is_empty() { "" } else { ": " };
        format!(
            "{:?} {} {:?}{message}{} | {}",
            got.kind(),
            got.name,
            status.code(),
            status.message,
            testing::attributes(&got.attributes)
        )
    }
}
