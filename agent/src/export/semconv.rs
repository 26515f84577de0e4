//! Every attribute and metric name, once.
//!
//! Names without `taskscope.` are of the semantic conventions; the link above each group leads to its
//! page in version 1.37.

use std::borrow::Cow;

use crate::assemble::{
    failure::FailureClass,
    span::{Outcome, Span},
};

/// <https://opentelemetry.io/docs/specs/semconv/>
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";
/// Instrumentation scope of everything that we make.
pub const SCOPE: &str = "taskscope";

// https://opentelemetry.io/docs/specs/semconv/resource/#service
pub const SERVICE_NAME: &str = "service.name";
pub const SERVICE_VERSION: &str = "service.version";
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";

// https://opentelemetry.io/docs/specs/semconv/resource/#telemetry-sdk
pub const TELEMETRY_SDK_LANGUAGE: &str = "telemetry.sdk.language";
pub const TELEMETRY_DISTRO_NAME: &str = "telemetry.distro.name";
pub const TELEMETRY_DISTRO_VERSION: &str = "telemetry.distro.version";

// https://opentelemetry.io/docs/specs/semconv/resource/process/
pub const PROCESS_PID: &str = "process.pid";
pub const PROCESS_EXECUTABLE_NAME: &str = "process.executable.name";
pub const PROCESS_RUNTIME_NAME: &str = "process.runtime.name";
pub const PROCESS_RUNTIME_VERSION: &str = "process.runtime.version";

// https://opentelemetry.io/docs/specs/semconv/resource/container/, .../k8s/, .../host/
pub const CONTAINER_ID: &str = "container.id";
pub const K8S_POD_UID: &str = "k8s.pod.uid";
pub const K8S_NODE_NAME: &str = "k8s.node.name";
pub const HOST_NAME: &str = "host.name";

// https://opentelemetry.io/docs/specs/semconv/http/http-spans/
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub const HTTP_REQUEST_METHOD_ORIGINAL: &str = "http.request.method_original";
pub const HTTP_ROUTE: &str = "http.route";
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub const URL_PATH: &str = "url.path";
pub const SERVER_ADDRESS: &str = "server.address";
pub const SERVER_PORT: &str = "server.port";
pub const CLIENT_ADDRESS: &str = "client.address";
pub const CLIENT_PORT: &str = "client.port";
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
pub const NETWORK_TRANSPORT: &str = "network.transport";
pub const NETWORK_TYPE: &str = "network.type";

// https://opentelemetry.io/docs/specs/semconv/database/sql/
pub const DB_SYSTEM_NAME: &str = "db.system.name";
pub const DB_OPERATION_NAME: &str = "db.operation.name";
pub const DB_QUERY_SUMMARY: &str = "db.query.summary";
pub const DB_QUERY_TEXT: &str = "db.query.text";

// https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
pub const RPC_SYSTEM: &str = "rpc.system";
pub const RPC_SYSTEM_GRPC: &str = "grpc";
pub const RPC_SERVICE: &str = "rpc.service";
pub const RPC_METHOD: &str = "rpc.method";
pub const RPC_GRPC_STATUS_CODE: &str = "rpc.grpc.status_code";
/// Names of the codes, from 0 on.
pub const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

// https://opentelemetry.io/docs/specs/semconv/registry/attributes/peer/, .../service/
/// Deprecated for [`SERVICE_PEER_NAME`], but the only one of the two that Tempo's service graph reads.
pub const PEER_SERVICE: &str = "peer.service";
pub const SERVICE_PEER_NAME: &str = "service.peer.name";

// https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/, .../thread/
pub const ERROR_TYPE: &str = "error.type";
pub const THREAD_ID: &str = "thread.id";

/// The type of an error that is not known.
pub const ERROR_OTHER: &str = "_OTHER";

/// The method of a request whose method is none of the known ones.
pub const METHOD_OTHER: &str = "_OTHER";
/// Methods that the conventions know.
pub const METHODS: &[&str] =
    &["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

// https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
pub const HTTP_SERVER_REQUEST_DURATION: &str = "http.server.request.duration";
pub const HTTP_CLIENT_REQUEST_DURATION: &str = "http.client.request.duration";
/// Boundaries that the conventions advise for both, in seconds.
pub const HTTP_DURATION_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

// https://opentelemetry.io/docs/specs/semconv/database/database-metrics/
pub const DB_CLIENT_OPERATION_DURATION: &str = "db.client.operation.duration";
/// Boundaries that the conventions advise, in seconds.
pub const DB_DURATION_BOUNDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

// https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute
pub const METRIC_OVERFLOW: &str = "otel.metric.overflow";

// No convention covers what follows.
/// Which rule found the span's parent: `goid`, `parent_goid` or `connection`.
pub const JOINED_BY: &str = "taskscope.joined_by";
/// What hit a request, of its events, and of the span that which explains most.
pub const CAUSE_KIND: &str = "taskscope.cause.kind";
/// For how long of the span, in seconds.
pub const CAUSE_DURATION: &str = "taskscope.cause.duration";
/// The same as a share of the span's duration, 0 to 1.
pub const CAUSE_SHARE: &str = "taskscope.cause.share";
/// True when the handler took the connection over.
pub const HIJACKED: &str = "taskscope.http.hijacked";

pub const EDGE_BYTES: &str = "taskscope.edge.bytes";
pub const EDGE_PACKETS: &str = "taskscope.edge.packets";
pub const EDGE_CONNECTIONS: &str = "taskscope.edge.connections";
pub const EDGE_ACTIVE_CONNECTIONS: &str = "taskscope.edge.active_connections";
pub const EDGE_CONNECT_FAILURES: &str = "taskscope.edge.connect.failures";
pub const EDGE_RETRANSMITS: &str = "taskscope.edge.retransmits";
/// By [`EDGE_CAUSE`].
pub const EDGE_CLOSED: &str = "taskscope.edge.closed";
pub const EDGE_RTO_EPISODES: &str = "taskscope.edge.rto.episodes";
pub const EDGE_RTO_TIME: &str = "taskscope.edge.rto.time";
pub const EDGE_RTT: &str = "taskscope.edge.rtt";
/// Tells edges apart whose ends have the same names.
pub const EDGE_ID: &str = "taskscope.edge.id";
/// The address that clients used, if it is translated on the way to the server; `server.port` is its port.
pub const EDGE_VIP_ADDRESS: &str = "taskscope.edge.vip.address";
/// The server's own address behind such an address.
pub const EDGE_BACKEND_ADDRESS: &str = "taskscope.edge.backend.address";
/// The server's own port behind such an address.
pub const EDGE_BACKEND_PORT: &str = "taskscope.edge.backend.port";
/// [`TO_SERVER`] or [`TO_CLIENT`].
pub const EDGE_DIRECTION: &str = "taskscope.edge.direction";
pub const TO_SERVER: &str = "to_server";
pub const TO_CLIENT: &str = "to_client";
/// `opened`, `retried`, `failed` or `reset`.
pub const EDGE_OUTCOME: &str = "taskscope.edge.outcome";
/// Of a retransmit or of the end of a connection.
pub const EDGE_CAUSE: &str = "taskscope.edge.cause";
pub const CLIENT_SERVICE: &str = "taskscope.client.service.name";
pub const SERVER_SERVICE: &str = "taskscope.server.service.name";

/// Not `dns.lookup.duration`: that one must carry the name that was asked for, and names are without bound.
pub const LOOKUP_DURATION: &str = "taskscope.dns.lookup.duration";
/// `NOERROR`, `NXDOMAIN` and so on; absent when there was no answer.
pub const RESPONSE_CODE: &str = "taskscope.dns.response_code";
// Names of log events, of which one is an event of spans, too, and what they carry.
/// A connect that failed.
pub const EVENT_CONNECT_FAILED: &str = "taskscope.connect.failed";
/// A connect that was answered, but not its first SYN.
pub const EVENT_CONNECT_LATE: &str = "taskscope.connect.late";
/// The time from a retransmission time-out to the next acknowledgement.
pub const EVENT_RTO_EPISODE: &str = "taskscope.rto_episode";
/// A connection that the kernel gave up.
pub const EVENT_CONNECTION_DIED: &str = "taskscope.connection.died";
/// What was sent is not acknowledged, again and again.
pub const EVENT_NETWORK_SILENT: &str = "taskscope.network.silent";
/// The peer takes no more data.
pub const EVENT_WINDOW_CLOSED: &str = "taskscope.window.closed";
/// What was acknowledged is not answered, or not read.
pub const EVENT_APPLICATION_SILENT: &str = "taskscope.application.silent";
/// A listener takes no more connections.
pub const EVENT_ACCEPT_QUEUE_FULL: &str = "taskscope.accept_queue.full";
/// In seconds, when it was told.
pub const STANDSTILL_DURATION: &str = "taskscope.standstill.duration";
/// That wait for the same.
pub const STANDSTILL_CONNECTIONS: &str = "taskscope.standstill.connections";
/// In seconds.
pub const RTO_DURATION: &str = "taskscope.rto.duration";
/// How often the timer fired.
pub const RTO_TIMEOUTS: &str = "taskscope.rto.timeouts";
/// How many of its kind an event stands for.
pub const EVENT_COUNT: &str = "taskscope.event.count";
/// From connect() to its end, in seconds.
pub const CONNECT_DURATION: &str = "taskscope.connect.duration";
/// SYNs that were sent, the first included.
pub const CONNECT_SYNS: &str = "taskscope.connect.syns";

/// Of the service graph that Grafana Tempo makes of spans; see docs/decisions/0006.
pub const GRAPH_CONNECTION_INFO: &str = "traces_service_graph_connection_info";
pub const GRAPH_CLIENT: &str = "client";
pub const GRAPH_SERVER: &str = "server";
/// Empty, or [`GRAPH_VIRTUAL_NODE`].
pub const GRAPH_CONNECTION_TYPE: &str = "connection_type";
/// Which of both is no process that we see: `client` or `server`.
pub const GRAPH_VIRTUAL_NODE: &str = "virtual_node";

/// Before the name of each vital.
pub const OWN_PREFIX: &str = "taskscope.";
/// Things lost, by [`OWN_LOST_REASON`].
pub const OWN_LOST: &str = "taskscope.lost";
pub const OWN_LOST_REASON: &str = "reason";
pub const OWN_KERNEL_EVENTS: &str = "taskscope.kernel.events";
pub const OWN_UPTIME: &str = "taskscope.uptime";
/// Seconds since a part of the agent gave its last sign of life.
pub const OWN_BEAT_AGE: &str = "taskscope.component.beat_age";
pub const OWN_COMPONENT: &str = "taskscope.component";
// https://opentelemetry.io/docs/specs/semconv/system/process-metrics/
pub const PROCESS_CPU_TIME: &str = "process.cpu.time";
pub const PROCESS_MEMORY_USAGE: &str = "process.memory.usage";

/// The method, if the conventions know it.
#[must_use]
pub fn method(method: &str) -> &'static str {
    METHODS.iter().find(|it| **it == method).copied().unwrap_or(METHOD_OTHER)
}

/// The same word in edge metrics, log events and the query API.
#[must_use]
pub fn failure_class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Refused => "refused",
        FailureClass::TimedOut => "timed_out",
        FailureClass::Abandoned => "abandoned",
        FailureClass::Unreachable => "unreachable",
        FailureClass::Reset => "reset",
        FailureClass::Other => "other",
    }
}

/// The name of a code; those that have none are numbers.
#[must_use]
pub fn grpc_code(code: u16) -> Cow<'static, str> {
    match GRPC_CODES.get(usize::from(code)) {
        Some(name) => Cow::Borrowed(*name),
        None => Cow::Owned(code.to_string()),
    }
}

/// Service and method of a full name, `/package.Service/Method`; one of another form is all method.
#[must_use]
pub fn grpc_method(full: &str) -> (Option<&str>, &str) {
    let name = full.strip_prefix('/').unwrap_or(full);
    match name.rsplit_once('/') {
        Some((service, method)) => (Some(service), method),
        None => (None, name),
    }
}

/// Why a span is an error: the status, or how the request ended without one.
#[must_use]
pub fn error_type(span: &Span) -> Option<Cow<'static, str>> {
    match span.outcome {
        Outcome::Status(status) => span.is_error().then(|| Cow::Owned(status.to_string())),
        Outcome::Code(code) => span.is_error().then(|| grpc_code(code)),
        Outcome::Hijacked | Outcome::Answered => None,
        Outcome::DriverError => {
            let error = span.statement.as_ref().and_then(|it| it.error.as_deref());
            Some(error.map_or(Cow::Borrowed(ERROR_OTHER), |it| Cow::Owned(it.to_owned())))
        }
        // The handler panicked, or ended its goroutine.
        Outcome::Aborted => Some(Cow::Borrowed("aborted")),
        // The connection broke before the answer.
        Outcome::Failed => Some(Cow::Borrowed("connection_failed")),
        // No connection came about: refused, timed out, no such name.
        Outcome::NoConnection => Some(Cow::Borrowed("connect_failed")),
    }
}
