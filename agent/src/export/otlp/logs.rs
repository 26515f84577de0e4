//! Network events as log records: a `ResourceLogs` for each process that has the socket.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
};
use prost::Message as _;

use super::{
    attribute::{SAMPLED, int, scope, value_of},
    network_events::{self, Said},
    resource,
};
use crate::{
    clock::{Clock, Ktime},
    export::{digest::Told, node::Node, semconv},
    targets::process::Process,
};

/// An encoded request, made `now`.
pub(in crate::export) fn request(events: &[&Told], node: &Node, clock: &Clock, now: Ktime) -> Vec<u8> {
    let resource_logs = by_owner(events)
        .into_iter()
        .map(|(owner, events)| ResourceLogs {
            resource: Some(match owner {
                Some(process) => resource::process(process, node),
                // Not known any more: then it is something that the agent has to say.
                None => resource::agent(node),
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope(node)),
                log_records: events.into_iter().map(|it| record(it, clock, now)).collect(),
                schema_url: semconv::SCHEMA_URL.to_owned(),
            }],
            schema_url: semconv::SCHEMA_URL.to_owned(),
        })
        .collect();
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn by_owner<'a>(events: &[&'a Told]) -> Vec<(Option<&'a Arc<Process>>, Vec<&'a Told>)> {
    let mut groups: Vec<(Option<&Arc<Process>>, Vec<&Told>)> = Vec::new();
    for event in events {
        let owner = event.event.owner();
        match groups.iter_mut().find(|(it, _)| *it == owner) {
            Some((_, group)) => group.push(event),
            None => groups.push((owner, vec![event])),
        }
    }
    groups
}

fn record(told: &Told, clock: &Clock, now: Ktime) -> LogRecord {
    let Said { name, severity, body, mut attributes } = network_events::said(&told.event);
    attributes.push(int(semconv::EVENT_COUNT, i64::try_from(told.count).unwrap_or(i64::MAX)));
    let at = clock.wall(told.event.at());
    let (trace_id, span_id) =
        told.event.span.map(|(trace, span)| (trace.0.to_vec(), span.0.to_vec())).unzip();
    LogRecord {
        time_unix_nano: at.0,
        observed_time_unix_nano: clock.wall(now).max(at).0,
        severity_number: severity.into(),
        severity_text: if severity == SeverityNumber::Error { "ERROR" } else { "WARN" }.to_owned(),
        body: Some(value_of(body)),
        attributes,
        event_name: name.to_owned(),
        trace_id: trace_id.unwrap_or_default(),
        span_id: span_id.unwrap_or_default(),
        flags: told.event.span.map_or(0, |_| SAMPLED),
        ..LogRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use std::time::Duration;

    use super::*;
    use crate::{
        assemble::{
            edge::EdgeId,
            failure::{ConnectFailure, FailureClass},
            faults::Death,
            incident::{Happened, Incident, Other, Stands},
            network_event::{NetworkEvent, What},
            span::{SpanId, TraceId},
            standstill::Standstill,
        },
        export::testing,
    };

    #[test]
    fn what_happens_to_connections_in_words_and_attributes() {
        let late = Happened::ConnectedLate { syns: 2, took: Some(Duration::from_millis(1020)) };
        let stalled = Happened::Stalled { lasted: Duration::from_millis(1400), expiries: 3 };
        let server = Other::Server("10.0.0.9:80".parse().unwrap());
        let client = Other::Client("10.0.0.7".parse().unwrap(), 8080);
        let told =
            [(late, server), (stalled, server), (Happened::Died(Death::KeepAlive), client)].map(told_of_web);
        let want = "\
web taskscope.connect.late WARN 13 +1000 ms, seen +2000 ms: a connect to 10.0.0.9:80 was answered only at SYN 2 after 1.020 s | \
server.address=10.0.0.9 server.port=80 network.peer.address=10.0.0.9 network.peer.port=80 network.transport=tcp \
network.type=ipv4 taskscope.connect.syns=2 taskscope.connect.duration=1.02 taskscope.event.count=1
web taskscope.rto_episode WARN 13 +1000 ms, seen +2000 ms: nothing of what was sent to 10.0.0.9:80 was acknowledged for 1.400 s | \
server.address=10.0.0.9 server.port=80 network.peer.address=10.0.0.9 network.peer.port=80 network.transport=tcp \
network.type=ipv4 taskscope.rto.duration=1.4 taskscope.rto.timeouts=3 taskscope.event.count=1
web taskscope.connection.died ERROR 17 +1000 ms, seen +2000 ms: the kernel gave up a connection with 10.0.0.7, a client of port 8080: nobody answered the keep-alives | \
client.address=10.0.0.7 server.port=8080 network.peer.address=10.0.0.7 network.transport=tcp network.type=ipv4 \
error.type=keepalive taskscope.event.count=1
";
        assert_eq!(lines(&told.each_ref()), want);
    }

    fn told_of_web((happened, other): (Happened, Other)) -> Told {
        let what = What::Incident(Incident {
            happened,
            owner: Some(Arc::new(testing::process("web", 41))),
            other,
            at: Ktime(1_000_000_000),
        });
        Told { event: NetworkEvent { what, span: None }, count: 1 }
    }

    #[test]
    fn what_stands_still_in_words_and_attributes() {
        let stands = |what, edge| {
            let lasts = Duration::from_millis(2500);
            Happened::Stands(Stands { what, lasts, edge, connections: 3, is_new: true })
        };
        let silent = stands(Standstill::Unanswered { longest: Duration::ZERO }, Some(EdgeId(0xabc)));
        let full = stands(Standstill::AcceptQueue { waiting: 3, most: 2 }, None);
        let server = Other::Server("10.0.0.9:80".parse().unwrap());
        let own = Other::Anybody("[::]:8080".parse().unwrap());
        let want = "\
web taskscope.application.silent WARN 13 +1000 ms, seen +2000 ms: the host of 10.0.0.9:80 acknowledged a request 2.500 s ago, and there is no answer | \
server.address=10.0.0.9 server.port=80 network.peer.address=10.0.0.9 network.peer.port=80 network.transport=tcp \
network.type=ipv4 taskscope.standstill.duration=2.5 taskscope.standstill.connections=3 \
taskscope.edge.id=0000000000000abc taskscope.event.count=1
web taskscope.accept_queue.full WARN 13 +1000 ms, seen +2000 ms: no more connections may wait to be accepted on [::]:8080 | \
server.address=:: server.port=8080 network.transport=tcp taskscope.standstill.duration=2.5 \
taskscope.standstill.connections=3 taskscope.event.count=1
";
        assert_eq!(lines(&[(silent, server), (full, own)].map(told_of_web).each_ref()), want);
    }

    #[test]
    fn a_failed_connect_in_words_and_attributes() {
        let want = "\
web taskscope.connect.failed WARN 13 +1000 ms, seen +2000 ms: a connect to 10.0.0.9:80 was refused after 0.250 s | \
error.type=refused server.address=10.0.0.9 server.port=80 network.peer.address=10.0.0.9 network.peer.port=80 \
network.transport=tcp network.type=ipv4 taskscope.connect.syns=1 taskscope.connect.duration=0.25 \
taskscope.event.count=7
";
        let told = Told { event: testing::failure(FailureClass::Refused, 80), count: 7 };
        assert_eq!(lines(&[&told]), want);
    }

    #[test]
    fn what_is_grave_is_an_error() {
        for (class, want) in [
            (FailureClass::Refused, "WARN 13"),
            (FailureClass::TimedOut, "ERROR 17"),
            (FailureClass::Abandoned, "WARN 13"),
            (FailureClass::Unreachable, "ERROR 17"),
            (FailureClass::Other, "WARN 13"),
        ] {
            let told = Told { event: testing::failure(class, 80), count: 1 };
            let got = lines(&[&told]);
            assert!(got.contains(want) && got.contains(semconv::failure_class(class)), "{got}");
        }
    }

    #[test]
    fn each_client_has_its_own_and_none_is_the_agent() {
        let with = |client| {
            let failure = testing::connect_failure(FailureClass::Refused, 80);
            let what = What::ConnectFailed(ConnectFailure { client, ..failure });
            Told { event: NetworkEvent { what, span: None }, count: 1 }
        };
        let [web, cart] = ["web", "cart"].map(|it| with(Some(Arc::new(testing::process(it, 41)))));
        let nobody = with(None);
        let got = lines(&[&web, &cart, &web, &nobody]);
        let services: Vec<_> = got.lines().map(|it| it.split(' ').next().unwrap()).collect();
        assert_eq!(services, ["web", "web", "cart", "taskscope"]);
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let failure = testing::connect_failure(FailureClass::TimedOut, 80);
        let what = What::ConnectFailed(ConnectFailure { lasted: None, ..failure });
        let got = lines(&[&Told { event: NetworkEvent { what, span: None }, count: 1 }]);
        assert!(got.contains("a connect to 10.0.0.9:80 timed out | ") && !got.contains("duration"), "{got}");
    }

    #[test]
    fn the_server_behind_a_service_is_named() {
        let failure = testing::connect_failure(FailureClass::TimedOut, 80);
        let behind = Some(([10, 0, 1, 7], 8080).into());
        let what = What::ConnectFailed(ConnectFailure { behind, ..failure });
        let got = lines(&[&Told { event: NetworkEvent { what, span: None }, count: 1 }]);
        assert!(got.contains("a connect to 10.0.0.9:80 (10.0.1.7:8080 behind it) timed out"), "{got}");
        let backend = "taskscope.edge.backend.address=10.0.1.7 taskscope.edge.backend.port=8080";
        assert!(got.contains("server.address=10.0.0.9") && got.contains(backend), "{got}");
    }

    #[test]
    fn the_request_that_was_open_is_named_by_its_ids() {
        let mut event = testing::failure(FailureClass::Refused, 80);
        event.span = Some((TraceId([7; 16]), SpanId([9; 8])));
        let got = lines(&[&Told { event, count: 1 }]);
        let ids = format!(" trace {} span {} flags 1 | ", "07".repeat(16), "09".repeat(8));
        assert!(got.contains(&ids), "{got}");
    }

    fn lines(events: &[&Told]) -> String {
        let clock = Clock::new();
        let (begin, now) = (clock.wall(Ktime(0)).0, Ktime(2_000_000_000));
        let body = request(events, &testing::node(), &clock, now);
        let request = ExportLogsServiceRequest::decode(&body[..]).unwrap();
        let mut lines = String::new();
        for of_resource in &request.resource_logs {
            let resource = testing::attributes(&of_resource.resource.as_ref().unwrap().attributes);
            let service = resource.split(' ').next().unwrap().trim_start_matches("service.name=").to_owned();
            for it in &of_resource.scope_logs[0].log_records {
                let Some(Value::StringValue(body)) = it.body.as_ref().and_then(|it| it.value.as_ref()) else {
                    panic!("{it:?}")
                };
                let [at, seen] =
                    [it.time_unix_nano, it.observed_time_unix_nano].map(|it| (it - begin) / 1_000_000);
                let ids = match (<[u8; 16]>::try_from(&it.trace_id[..]), <[u8; 8]>::try_from(&it.span_id[..]))
                {
                    (Ok(trace), Ok(span)) => {
                        format!(" trace {} span {} flags {}", TraceId(trace), SpanId(span), it.flags)
                    }
                    _ => format!("{}{}", it.trace_id.escape_ascii(), it.span_id.escape_ascii()),
                };
                lines += &format!(
                    "{service} {} {} {} +{at} ms, seen +{seen} ms: {body}{ids} | {}\n",
                    it.event_name,
                    it.severity_text,
                    it.severity_number,
                    testing::attributes(&it.attributes)
                );
            }
        }
        lines
    }
}
