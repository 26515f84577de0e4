//! What a network event says as a log record: name, severity, a sentence, attributes.

use std::{net::SocketAddr, time::Duration};

use opentelemetry_proto::tonic::{common::v1::KeyValue, logs::v1::SeverityNumber};

use super::attribute::{double, int, text};
use crate::{
    assemble::{
        failure::{ConnectFailure, FailureClass},
        faults::Death,
        incident::{Happened, Incident, Other, Stands},
        network_event::{NetworkEvent, What},
        standstill::Standstill,
    },
    export::semconv,
};

pub(super) struct Said {
    pub(super) name: &'static str,
    pub(super) severity: SeverityNumber,
    pub(super) body: String,
    pub(super) attributes: Vec<KeyValue>,
}

pub(super) fn said(event: &NetworkEvent) -> Said {
    match &event.what {
        What::ConnectFailed(it) => connect_failed(it),
        What::Incident(it) => incident(it),
    }
}

fn connect_failed(failure: &ConnectFailure) -> Said {
    let ConnectFailure { class, client: _, server, behind, lasted, syns, at: _ } = failure;
    // As grave as the finding of the same name.
    let (what, severity) = match class {
        FailureClass::Refused => ("was refused", SeverityNumber::Warn),
        FailureClass::TimedOut => ("timed out", SeverityNumber::Error),
        FailureClass::Abandoned => ("was given up by the application", SeverityNumber::Warn),
        FailureClass::Unreachable => ("found no way there", SeverityNumber::Error),
        FailureClass::Reset => ("was reset", SeverityNumber::Warn),
        FailureClass::Other => ("failed", SeverityNumber::Warn),
    };
    let mut attributes = vec![text(semconv::ERROR_TYPE, semconv::failure_class(*class))];
    attributes.extend(to_server(*server));
    attributes.extend(behind.iter().flat_map(|it| to_backend(*it)));
    attributes.push(int(semconv::CONNECT_SYNS, *syns));
    attributes.extend(lasted.map(|it| seconds(semconv::CONNECT_DURATION, it)));
    Said {
        name: semconv::EVENT_CONNECT_FAILED,
        severity,
        body: format!("a connect to {} {what}{}", failure.whom(), after(*lasted)),
        attributes,
    }
}

fn incident(incident: &Incident) -> Said {
    let Incident { happened, owner: _, other, at: _ } = incident;
    let (whom, ends) = match *other {
        Other::Server(server) => (server.to_string(), to_server(server)),
        Other::Client(client, own_port) => {
            (format!("{client}, a client of port {own_port}"), to_client(client, own_port))
        }
        Other::Anybody(own) => (own.to_string(), to_own(own)),
    };
    let (name, severity, body, more) = match *happened {
        Happened::ConnectedLate { syns, took } => {
            let mut more = vec![int(semconv::CONNECT_SYNS, syns)];
            more.extend(took.map(|it| seconds(semconv::CONNECT_DURATION, it)));
            let body = format!("a connect to {whom} was answered only at SYN {syns}{}", after(took));
            (semconv::EVENT_CONNECT_LATE, SeverityNumber::Warn, body, more)
        }
        Happened::Stalled { lasted, expiries } => {
            let more = vec![seconds(semconv::RTO_DURATION, lasted), int(semconv::RTO_TIMEOUTS, expiries)];
            let body = format!(
                "nothing of what was sent to {whom} was acknowledged for {:.3} s",
                lasted.as_secs_f64()
            );
            (semconv::EVENT_RTO_EPISODE, SeverityNumber::Warn, body, more)
        }
        Happened::Died(death) => {
            let why = match death {
                Death::Unacknowledged => "what was sent was never acknowledged",
                Death::KeepAlive => "nobody answered the keep-alives",
                Death::Window => "it took no more data",
            };
            let more = vec![text(semconv::ERROR_TYPE, death.name())];
            let body = format!("the kernel gave up a connection with {whom}: {why}");
            (semconv::EVENT_CONNECTION_DIED, SeverityNumber::Error, body, more)
        }
        Happened::Stands(ref it) => stands(it, &whom),
    };
    Said { name, severity, body, attributes: ends.into_iter().chain(more).collect() }
}

/// Told when it begins.
fn stands(stands: &Stands, whom: &str) -> (&'static str, SeverityNumber, String, Vec<KeyValue>) {
    let Stands { what, lasts, edge, connections, is_new: _ } = stands;
    let time = format!("{:.3} s", lasts.as_secs_f64());
    let (name, body) = match what {
        Standstill::Network { .. } => (
            semconv::EVENT_NETWORK_SILENT,
            format!("what was sent to {whom} is not acknowledged for {time}, though it is repeated"),
        ),
        Standstill::Window { .. } => {
            (semconv::EVENT_WINDOW_CLOSED, format!("{whom} takes no more data for {time}"))
        }
        Standstill::Unanswered { .. } => (
            semconv::EVENT_APPLICATION_SILENT,
            format!("the host of {whom} acknowledged a request {time} ago, and there is no answer"),
        ),
        Standstill::Unread { .. } => {
            (semconv::EVENT_APPLICATION_SILENT, format!("what {whom} sent is not read for {time}"))
        }
        Standstill::AcceptQueue { .. } => (
            semconv::EVENT_ACCEPT_QUEUE_FULL,
            format!("no more connections may wait to be accepted on {whom}"),
        ),
    };
    let mut more = vec![
        seconds(semconv::STANDSTILL_DURATION, *lasts),
        int(semconv::STANDSTILL_CONNECTIONS, *connections),
    ];
    more.extend(edge.map(|it| text(semconv::EDGE_ID, format!("{:016x}", it.0))));
    (name, SeverityNumber::Warn, body, more)
}

/// Where the process itself listens.
fn to_own(own: SocketAddr) -> Vec<KeyValue> {
    vec![
        text(semconv::SERVER_ADDRESS, own.ip().to_canonical().to_string()),
        int(semconv::SERVER_PORT, own.port()),
        text(semconv::NETWORK_TRANSPORT, "tcp"),
    ]
}

fn to_server(server: SocketAddr) -> Vec<KeyValue> {
    let address = server.ip().to_canonical().to_string();
    let mut attributes =
        vec![text(semconv::SERVER_ADDRESS, &address), int(semconv::SERVER_PORT, server.port())];
    attributes.extend(peer(server.ip(), address));
    attributes.insert(3, int(semconv::NETWORK_PEER_PORT, server.port()));
    attributes
}

/// What the server's address was translated to.
fn to_backend(backend: SocketAddr) -> [KeyValue; 2] {
    [
        text(semconv::EDGE_BACKEND_ADDRESS, backend.ip().to_canonical().to_string()),
        int(semconv::EDGE_BACKEND_PORT, backend.port()),
    ]
}

/// Its port means nothing.
fn to_client(client: std::net::IpAddr, own_port: u16) -> Vec<KeyValue> {
    let address = client.to_canonical().to_string();
    let mut attributes = vec![text(semconv::CLIENT_ADDRESS, &address), int(semconv::SERVER_PORT, own_port)];
    attributes.extend(peer(client, address));
    attributes
}

fn peer(ip: std::net::IpAddr, address: String) -> [KeyValue; 3] {
    [
        text(semconv::NETWORK_PEER_ADDRESS, address),
        text(semconv::NETWORK_TRANSPORT, "tcp"),
        text(semconv::NETWORK_TYPE, if ip.to_canonical().is_ipv4() { "ipv4" } else { "ipv6" }),
    ]
}

fn seconds(key: &'static str, duration: Duration) -> KeyValue {
    double(key, duration.as_secs_f64())
}

fn after(lasted: Option<Duration>) -> String {
    lasted.map_or_else(String::new, |it| format!(" after {:.3} s", it.as_secs_f64()))
}
