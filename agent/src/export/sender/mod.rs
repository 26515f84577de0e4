//! One request to the collector, over gRPC or HTTP. Knows which failures are worth another try.

use std::time::Duration;

use prost::bytes::Bytes;

use super::ExportError;
pub(super) use crate::config::settings::Signal;
use crate::config::settings::{Otlp, OtlpProtocol};

mod codec;
mod failure;
pub(super) mod grpc;
pub(super) mod http;
mod reply;
pub(super) mod tls;

pub(super) use self::{
    failure::{Cause, Failure},
    reply::Accepted,
};

/// Cheap to clone: clones share connections.
#[derive(Clone)]
pub enum Sender {
    Grpc(Box<grpc::Grpc>),
    Http(http::Http),
}

impl Sender {
    /// `settings` are those of one signal. Reads certificates, but connects only when there is something to send.
    pub fn new(settings: &Otlp) -> Result<Self, ExportError> {
        Ok(match settings.protocol {
            OtlpProtocol::Grpc => Self::Grpc(Box::new(grpc::Grpc::new(settings)?)),
            OtlpProtocol::HttpProtobuf => Self::Http(http::Http::new(settings)?),
        })
    }

    /// Sends an encoded request once.
    pub(super) async fn send(&self, signal: Signal, body: Bytes) -> Result<Accepted, Failure> {
        let (timeout, answer) = match self {
            Self::Grpc(it) => (it.timeout, tokio::time::timeout(it.timeout, it.send(signal, body)).await),
            Self::Http(it) => (it.timeout, tokio::time::timeout(it.timeout, it.send(signal, body)).await),
        };
        answer.unwrap_or(Err(no_answer(timeout)))
    }
}

fn no_answer(timeout: Duration) -> Failure {
    Failure { cause: Cause::NoAnswer { timeout }, is_permanent: false, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::collector::settings;

    #[tokio::test]
    async fn bad_settings_are_named() {
        check(|it| it.endpoint = "collector:4317".to_owned(), "`collector:4317` is no endpoint");
        check(|it| it.endpoint = "ftp://collector".to_owned(), "`ftp://collector` is no endpoint");
        check(|it| it.endpoint = String::new(), "`` is no endpoint");
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        check(|it| it.headers = header("a b", "c"), "`a b` cannot be sent as a header");
        check(|it| it.headers = header("key", "a\nb"), "`key` cannot be sent as a header");
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Otlp), want: &str) {
        for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
            let mut settings = settings("127.0.0.1:4317".parse().unwrap(), protocol);
            change(&mut settings);
            let error = Sender::new(&settings).err().map(|it| it.to_string());
            assert!(error.as_ref().is_some_and(|it| it.starts_with(want)), "{protocol:?}: {error:?}");
        }
    }
}
