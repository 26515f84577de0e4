//! What stops export before it begins.

use std::{io, path::PathBuf};

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot read `{path}`", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` holds no {what} in PEM form", path = path.display())]
    NoPem { path: PathBuf, what: &'static str },
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
