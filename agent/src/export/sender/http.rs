//! OTLP over HTTP/1.1 with binary protobuf.

use std::{
    io::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flate2::write::GzEncoder;
use prost::bytes::Bytes;
use reqwest::{
    Certificate, Client, Identity, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT},
    redirect::Policy,
};
use zstd::bulk::Compressor;

use super::{Signal, failure::Failure, reply::Accepted, tls};
use crate::{
    config::{
        Pem,
        settings::{Compression, Otlp},
    },
    export::{ExportError, semconv},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers are small; nobody fills our memory with a longer one.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Of an answer in a log line.
const MAX_TEXT_CHARS: usize = 200;

#[derive(Clone)]
pub struct Http {
    client: Client,
    url: String,
    compression: Compression,
    zstd: Zstd,
    pub(super) timeout: Duration,
}

/// The quickest: spans repeat themselves so much that more effort hardly makes them smaller.
const ZSTD_LEVEL: i32 = 1;

impl Http {
    pub(super) fn new(settings: &Otlp) -> Result<Self, ExportError> {
        Ok(Self {
            client: client(settings)?,
            url: settings.endpoint.clone(),
            compression: settings.compression,
            zstd: Zstd::default(),
            timeout: settings.timeout,
        })
    }

    pub(super) async fn send(&self, signal: Signal, body: Bytes) -> Result<Accepted, Failure> {
        let mut request = self.client.post(&self.url).header(CONTENT_TYPE, "application/x-protobuf");
        request = match self.compression {
            Compression::Zstd => {
                let body = self.zstd.compress(&body).map_err(Failure::compress)?;
                request.header(CONTENT_ENCODING, "zstd").body(body)
            }
            Compression::Gzip => {
                let body = gzip(&body).map_err(Failure::compress)?;
                request.header(CONTENT_ENCODING, "gzip").body(body)
            }
            Compression::None => request.body(body),
        };
        let response = request.send().await.map_err(Failure::no_http_answer)?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).cloned();
        let answer = read(response).await?;
        if status.is_success() {
            return Ok(Accepted::decode(signal, answer.into()));
        }
        let text = String::from_utf8_lossy(&answer).chars().take(MAX_TEXT_CHARS).collect();
        Err(Failure::http(status, retry_after.as_ref().and_then(|it| it.to_str().ok()), text))
    }
}

/// Keeps its working memory, which would be made anew for each request. Made when first used.
#[derive(Clone, Default)]
struct Zstd(Arc<Mutex<Option<Compressor<'static>>>>);

impl Zstd {
    fn compress(&self, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let compressor = match &mut *kept {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(ZSTD_LEVEL)?),
        };
        compressor.compress(body)
    }
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(body)?;
    out.finish()
}

pub(in crate::export) fn client(settings: &Otlp) -> Result<Client, ExportError> {
    if !settings.endpoint.starts_with("http://") && !settings.endpoint.starts_with("https://") {
        return Err(ExportError::Endpoint { endpoint: settings.endpoint.clone() });
    }
    let failed =
        |source| ExportError::HttpClient { endpoint: settings.endpoint.clone(), source: Box::new(source) };
    tls::choose_provider();
    // Only `config` reads the environment, and a POST does not survive a redirect.
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .default_headers(headers(&settings.headers)?);
    if settings.endpoint.starts_with("https://") {
        let Pem { ca, client } = Pem::read(&settings.tls)?;
        if let Some(ca) = ca {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(&ca).map_err(failed)?);
        }
        if let Some((certificate, key)) = client {
            let both = [certificate, b"\n".to_vec(), key].concat();
            builder = builder.identity(Identity::from_pem(&both).map_err(failed)?);
        }
    }
    builder.build().map_err(failed)
}

fn headers(headers: &[(String, String)]) -> Result<HeaderMap, ExportError> {
    let mut map = HeaderMap::new();
    map.insert(USER_AGENT, HeaderValue::from_static(semconv::SCOPE));
    for (name, value) in headers {
        let bad_header = || ExportError::Header { name: name.clone() };
        let key: HeaderName = name.parse().map_err(|_| bad_header())?;
        let mut value: HeaderValue = value.parse().map_err(|_| bad_header())?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    Ok(map)
}

async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::no_http_answer)? {
        answer.extend_from_slice(&chunk);
        if MAX_ANSWER_BYTES <= answer.len() {
            break;
        }
    }
    answer.truncate(MAX_ANSWER_BYTES);
    Ok(answer)
}
