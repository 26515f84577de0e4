//! The HTTP half of the collector: as much HTTP/1.1 as the sender speaks.

use std::{future::pending, io::Read as _};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest,
    metrics::v1::ExportMetricsServiceRequest,
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message as _;
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::collector::{Answer, Desk, Envelope, Received};

pub(super) async fn serve(listener: TcpListener, desk: Desk, tls: Option<TlsAcceptor>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (desk, tls) = (desk.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, desk).await,
                // A client that is not let in is what some tests want.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, desk).await;
                    }
                }
            }
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, desk: Desk) {
    let mut stream = BufReader::new(stream);
    while let Some((path, headers)) = head(&mut stream).await {
        let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, it)| it.clone());
        assert_eq!(header("content-type").as_deref(), Some("application/x-protobuf"));
        let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let encoding = header("content-encoding");
        body = match encoding.as_deref() {
            None => body,
            Some("zstd") => zstd::decode_all(&body[..]).unwrap(),
            Some("gzip") => {
                let mut whole = Vec::new();
                GzDecoder::new(&body[..]).read_to_end(&mut whole).unwrap();
                whole
            }
            Some(encoding) => panic!("{encoding}"),
        };
        let envelope = Envelope { encoding, takes_zstd: false, tenant: header("x-scope-orgid") };
        let received = match path.as_str() {
            "/v1/traces" => Received::Traces(ExportTraceServiceRequest::decode(&body[..]).unwrap(), envelope),
            "/v1/metrics" => {
                Received::Metrics(ExportMetricsServiceRequest::decode(&body[..]).unwrap(), envelope)
            }
            "/v1/logs" => Received::Logs(ExportLogsServiceRequest::decode(&body[..]).unwrap(), envelope),
            path => panic!("{path}"),
        };
        let answer = reply(desk.take(received)).await;
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Path and headers, with names in lower case. `None`: the client is done.
async fn head(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<(String, Vec<(String, String)>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].strip_prefix("POST ").unwrap().split(' ').next().unwrap().to_owned();
    let headers = lines[1..]
        .iter()
        .map(|it| it.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some((path, headers))
}

async fn reply(answer: Answer) -> Vec<u8> {
    let (head, body) = match answer {
        Answer::Ok => ("200 OK", Vec::new()),
        Answer::Partial(rejected_spans) => {
            let error_message = "no room".to_owned();
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
            ("200 OK", ExportTraceServiceResponse { partial_success }.encode_to_vec())
        }
        Answer::Unavailable => ("503 Service Unavailable", b"later".to_vec()),
        Answer::Invalid => ("400 Bad Request", b"never".to_vec()),
        Answer::Throttled => ("429 Too Many Requests\r\nretry-after: 0", b"slower".to_vec()),
        Answer::TooLarge => ("413 Content Too Large", b"too large".to_vec()),
        Answer::Silent => pending().await,
    };
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}
