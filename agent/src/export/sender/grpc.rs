//! OTLP over gRPC.

use std::time::Duration;

use prost::bytes::Bytes;
use tonic::{
    Request,
    codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{Signal, codec::Raw, failure::Failure, reply::Accepted, tls};
use crate::{
    config::{
        Pem,
        settings::{Compression, Otlp},
    },
    export::ExportError,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A collector that vanished without a word is noticed between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Grpc {
    client: tonic::client::Grpc<Channel>,
    metadata: MetadataMap,
    pub(super) timeout: Duration,
}

impl Grpc {
    pub(super) fn new(settings: &Otlp) -> Result<Self, ExportError> {
        // A collector may compress its answer whether or not we do.
        let mut client = tonic::client::Grpc::new(channel(settings)?)
            .accept_compressed(CompressionEncoding::Zstd)
            .accept_compressed(CompressionEncoding::Gzip);
        client = match settings.compression {
            Compression::Zstd => client.send_compressed(CompressionEncoding::Zstd),
            Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
            Compression::None => client,
        };
        Ok(Self { client, metadata: metadata(&settings.headers)?, timeout: settings.timeout })
    }

    pub(super) async fn send(&self, signal: Signal, body: Bytes) -> Result<Accepted, Failure> {
        let path = PathAndQuery::from_static(match signal {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        });
        let mut request = Request::new(body);
        *request.metadata_mut() = self.metadata.clone();
        let mut client = self.client.clone();
        client.ready().await.map_err(|it| Failure::grpc(tonic::Status::from_error(it.into())))?;
        let response = client.unary(request, path, Raw).await.map_err(Failure::grpc)?;
        Ok(Accepted::decode(signal, response.into_inner()))
    }
}

/// Connects with the first request, and again whenever the connection broke.
pub(in crate::export) fn channel(settings: &Otlp) -> Result<Channel, ExportError> {
    let bad_endpoint = || ExportError::Endpoint { endpoint: settings.endpoint.clone() };
    let endpoint = Endpoint::from_shared(settings.endpoint.clone()).map_err(|_| bad_endpoint())?;
    let scheme = endpoint.uri().scheme_str().ok_or_else(bad_endpoint)?;
    let is_tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(bad_endpoint()),
    };
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(CONNECT_TIMEOUT);
    if !is_tls {
        return Ok(endpoint.connect_lazy());
    }
    tls::choose_provider();
    let Pem { ca, client } = Pem::read(&settings.tls)?;
    let mut config = ClientTlsConfig::new();
    config = match ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
        None => config.with_native_roots(),
    };
    if let Some((certificate, key)) = client {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = endpoint.tls_config(config).map_err(|source| ExportError::GrpcTls {
        endpoint: settings.endpoint.clone(),
        source: Box::new(source),
    })?;
    Ok(endpoint.connect_lazy())
}

pub(in crate::export) fn metadata(headers: &[(String, String)]) -> Result<MetadataMap, ExportError> {
    let mut metadata = MetadataMap::new();
    for (name, value) in headers {
        let bad_header = || ExportError::Header { name: name.clone() };
        // Header names are the same in any case; HTTP/2 wants them in lower case.
        let key: MetadataKey<Ascii> = name.to_ascii_lowercase().parse().map_err(|_| bad_header())?;
        let mut value: MetadataValue<Ascii> = value.parse().map_err(|_| bad_header())?;
        value.set_sensitive(true);
        metadata.append(key, value);
    }
    Ok(metadata)
}
