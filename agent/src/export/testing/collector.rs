//! A collector on loopback that answers as it is told, over both protocols.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsServiceRequest, logs_service_server::LogsServiceServer},
    metrics::v1::{ExportMetricsServiceRequest, metrics_service_server::MetricsServiceServer},
    trace::v1::{ExportTraceServiceRequest, trace_service_server::TraceServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{codec::CompressionEncoding, transport::Server};

use super::{certificates::Certificates, http, services::Services};
use crate::config::settings::{Compression, Otlp, OtlpProtocol, Signal, Tls};

/// How a request is answered. Without one: [`Answer::Ok`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    /// So many spans, points or records are thrown away.
    Partial(i64),
    /// gRPC `Unavailable`, HTTP 503.
    Unavailable,
    /// gRPC `InvalidArgument`, HTTP 400.
    Invalid,
    /// gRPC `ResourceExhausted` with `RetryInfo`, HTTP 429 with `Retry-After`: at once.
    Throttled,
    /// gRPC `ResourceExhausted` without it, HTTP 413.
    TooLarge,
    /// No answer at all.
    Silent,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Received {
    Traces(ExportTraceServiceRequest, Envelope),
    Metrics(ExportMetricsServiceRequest, Envelope),
    Logs(ExportLogsServiceRequest, Envelope),
}

/// What was around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// How the body was compressed.
    pub(crate) encoding: Option<String>,
    /// gRPC: whether the answer may be compressed.
    pub(crate) takes_zstd: bool,
    /// Of the header `x-scope-orgid`.
    pub(crate) tenant: Option<String>,
}

/// Shared with the connections.
#[derive(Clone)]
pub(crate) struct Desk {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    n_asked: Arc<AtomicUsize>,
    received: mpsc::UnboundedSender<Received>,
}

impl Desk {
    /// Keeps what was accepted; the answer to it.
    pub(crate) fn take(&self, received: Received) -> Answer {
        self.n_asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Ok);
        if matches!(answer, Answer::Ok | Answer::Partial(_)) {
            // A test that ended does not read any more.
            drop(self.received.send(received));
        }
        answer
    }
}

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    pub(crate) received: mpsc::UnboundedReceiver<Received>,
    n_asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Collector {
    /// On a free port.
    pub(crate) async fn start(protocol: OtlpProtocol, answers: &[Answer]) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), protocol, answers, None).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        protocol: OtlpProtocol,
        answers: &[Answer],
        tls: Option<&Certificates>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let n_asked = Arc::new(AtomicUsize::new(0));
        let desk = Desk { answers, n_asked: Arc::clone(&n_asked), received: sender };
        let server = match protocol {
            OtlpProtocol::Grpc => tokio::spawn(serve_grpc(listener, desk, tls.cloned())),
            OtlpProtocol::HttpProtobuf => {
                tokio::spawn(http::serve(listener, desk, tls.map(Certificates::acceptor)))
            }
        };
        Self { address, received, n_asked, server }
    }

    /// Requests that came, whatever the answer.
    pub(crate) fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::Relaxed)
    }

    pub(crate) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(Duration::from_secs(20), self.received.recv()).await;
        next.expect("the collector must receive something").unwrap()
    }

    /// Goids of the next `n` spans, sorted.
    pub(crate) async fn spans(&mut self, n: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < n {
            if let Received::Traces(request, _) = self.next().await {
                let spans = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
                numbers.extend(
                    spans
                        .flat_map(|it| it.spans)
                        .map(|it| u64::from_be_bytes(it.span_id.try_into().unwrap())),
                );
            }
        }
        numbers.sort_unstable();
        numbers
    }
}

/// For spans, plain and without compression.
pub(crate) fn settings(address: SocketAddr, protocol: OtlpProtocol) -> Otlp {
    settings_of(Signal::Traces, address, protocol)
}

pub(crate) fn settings_of(signal: Signal, address: SocketAddr, protocol: OtlpProtocol) -> Otlp {
    Otlp {
        endpoint: match protocol {
            OtlpProtocol::Grpc => format!("http://{address}"),
            OtlpProtocol::HttpProtobuf => format!("http://{address}{}", signal.path()),
        },
        protocol,
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
        compression: Compression::None,
        tls: Tls::default(),
    }
}

async fn serve_grpc(listener: TcpListener, desk: Desk, tls: Option<Certificates>) {
    let services = Services { desk };
    let (zstd, gzip) = (CompressionEncoding::Zstd, CompressionEncoding::Gzip);
    let traces = TraceServiceServer::new(services.clone()).accept_compressed(gzip);
    let metrics = MetricsServiceServer::new(services.clone()).accept_compressed(gzip);
    let logs = LogsServiceServer::new(services).accept_compressed(gzip);
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls.server_config()).unwrap();
    }
    server
        .add_service(traces.accept_compressed(zstd).send_compressed(zstd))
        .add_service(metrics.accept_compressed(zstd).send_compressed(zstd))
        .add_service(logs.accept_compressed(zstd).send_compressed(zstd))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .unwrap();
}
