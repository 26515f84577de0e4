//! Network events as log records: a `ResourceLogs` for each client.
//!
//! Which span a failed connect belongs to is not known: a Go program dials on a goroutine of its own. So
//! there are no ids of a trace.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::KeyValue,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
};
use prost::Message as _;

use super::{
    attribute::{double, int, scope, text, value_of},
    resource,
};
use crate::{
    assemble::{
        failure::{ConnectFailure, FailureClass},
        network_event::NetworkEvent,
    },
    clock::{Clock, Ktime},
    export::{digest::Told, node::Node, semconv},
    targets::process::Process,
};

/// An encoded request, made `now`.
pub(in crate::export) fn request(events: &[&Told], node: &Node, clock: &Clock, now: Ktime) -> Vec<u8> {
    let resource_logs = by_client(events)
        .into_iter()
        .map(|(client, events)| ResourceLogs {
            resource: Some(match client {
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

fn by_client<'a>(events: &[&'a Told]) -> Vec<(Option<&'a Arc<Process>>, Vec<&'a Told>)> {
    let mut groups: Vec<(Option<&Arc<Process>>, Vec<&Told>)> = Vec::new();
    for event in events {
        let client = event.event.client();
        match groups.iter_mut().find(|(it, _)| *it == client) {
            Some((_, group)) => group.push(event),
            None => groups.push((client, vec![event])),
        }
    }
    groups
}

fn record(told: &Told, clock: &Clock, now: Ktime) -> LogRecord {
    let (name, severity, body, mut attributes) = match &told.event {
        NetworkEvent::ConnectFailed(it) => {
            (semconv::EVENT_CONNECT_FAILED, severity(it.class), sentence(it), connect_failed(it))
        }
    };
    attributes.push(int(semconv::EVENT_COUNT, i64::try_from(told.count).unwrap_or(i64::MAX)));
    let at = clock.wall(told.event.at());
    LogRecord {
        time_unix_nano: at.0,
        observed_time_unix_nano: clock.wall(now).max(at).0,
        severity_number: severity.into(),
        severity_text: if severity == SeverityNumber::Error { "ERROR" } else { "WARN" }.to_owned(),
        body: Some(value_of(body)),
        attributes,
        event_name: name.to_owned(),
        ..LogRecord::default()
    }
}

/// As grave as the finding of the same name.
fn severity(class: FailureClass) -> SeverityNumber {
    match class {
        FailureClass::TimedOut | FailureClass::Unreachable => SeverityNumber::Error,
        FailureClass::Refused | FailureClass::Abandoned | FailureClass::Reset | FailureClass::Other => {
            SeverityNumber::Warn
        }
    }
}

fn sentence(failure: &ConnectFailure) -> String {
    let ConnectFailure { class, server, lasted, .. } = failure;
    let what = match class {
        FailureClass::Refused => "was refused",
        FailureClass::TimedOut => "timed out",
        FailureClass::Abandoned => "was given up by the application",
        FailureClass::Unreachable => "found no way there",
        FailureClass::Reset => "was reset",
        FailureClass::Other => "failed",
    };
    let after = lasted.map_or_else(String::new, |it| format!(" after {:.3} s", it.as_secs_f64()));
    format!("a connect to {server} {what}{after}")
}

fn connect_failed(failure: &ConnectFailure) -> Vec<KeyValue> {
    let ConnectFailure { class, client: _, server, lasted, syns, at: _ } = failure;
    let ip = server.ip().to_canonical();
    let address = ip.to_string();
    let mut attributes = vec![
        text(semconv::ERROR_TYPE, semconv::failure_class(*class)),
        text(semconv::SERVER_ADDRESS, &address),
        int(semconv::SERVER_PORT, server.port()),
        text(semconv::NETWORK_PEER_ADDRESS, address),
        int(semconv::NETWORK_PEER_PORT, server.port()),
        text(semconv::NETWORK_TRANSPORT, "tcp"),
        text(semconv::NETWORK_TYPE, if ip.is_ipv4() { "ipv4" } else { "ipv6" }),
        int(semconv::CONNECT_SYNS, *syns),
    ];
    attributes.extend(lasted.map(|it| double(semconv::CONNECT_DURATION, it.as_secs_f64())));
    attributes
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::export::testing;

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
            let NetworkEvent::ConnectFailed(failure) = testing::failure(FailureClass::Refused, 80);
            Told { event: NetworkEvent::ConnectFailed(ConnectFailure { client, ..failure }), count: 1 }
        };
        let [web, cart] = ["web", "cart"].map(|it| with(Some(Arc::new(testing::process(it, 41)))));
        let nobody = with(None);
        let got = lines(&[&web, &cart, &web, &nobody]);
        let services: Vec<_> = got.lines().map(|it| it.split(' ').next().unwrap()).collect();
        assert_eq!(services, ["web", "web", "cart", "taskscope"]);
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let NetworkEvent::ConnectFailed(failure) = testing::failure(FailureClass::TimedOut, 80);
        let event = NetworkEvent::ConnectFailed(ConnectFailure { lasted: None, ..failure });
        let got = lines(&[&Told { event, count: 1 }]);
        assert!(got.contains("a connect to 10.0.0.9:80 timed out | ") && !got.contains("duration"), "{got}");
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
                assert!(it.trace_id.is_empty() && it.span_id.is_empty());
                lines += &format!(
                    "{service} {} {} {} +{at} ms, seen +{seen} ms: {body} | {}\n",
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
