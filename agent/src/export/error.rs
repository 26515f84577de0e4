//! What stops export before it begins.

use crate::config::PemError;

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("`{endpoint}` is no endpoint: it must be http://HOST:PORT or https://HOST:PORT")]
    Endpoint { endpoint: String },
    #[error("`{name}` cannot be sent as a header: a name is lower-case ASCII, a value printable ASCII")]
    Header { name: String },
    #[error("the certificates for gRPC to `{endpoint}` were refused")]
    GrpcTls { endpoint: String, source: Box<tonic::transport::Error> },
    #[error("cannot build the HTTP client for `{endpoint}`")]
    HttpClient { endpoint: String, source: Box<reqwest::Error> },
    #[error("cannot build the exporter of the agent's own telemetry")]
    OwnExporter { source: Box<opentelemetry_otlp::ExporterBuildError> },
    #[error("cannot flush the agent's own telemetry")]
    OwnShutdown { source: Box<opentelemetry_sdk::error::OTelSdkError> },
}
