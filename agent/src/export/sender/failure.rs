//! Why a request was not accepted, and what to do about it.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#failures>

use std::time::Duration;

use reqwest::StatusCode;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

#[derive(Debug)]
pub(in crate::export) struct Failure {
    pub(in crate::export) cause: Cause,
    /// The same request would fail again.
    pub(in crate::export) is_permanent: bool,
    /// What the collector asked for.
    pub(in crate::export) retry_after: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub(in crate::export) enum Cause {
    #[error("the collector did not answer within {} s", timeout.as_secs_f64())]
    NoAnswer { timeout: Duration },
    #[error("no answer over HTTP")]
    Http(#[source] Box<reqwest::Error>),
    #[error("the collector answered HTTP {status}: {text}")]
    Refused { status: u16, text: String },
    #[error("gRPC status {code:?}: {text}", code = .0.code(), text = .0.message())]
    Grpc(#[source] Box<Status>),
    #[error("cannot compress")]
    Compress(#[source] std::io::Error),
}

impl Failure {
    pub(super) fn grpc(status: Status) -> Self {
        let retry_after = status.get_details_retry_info().and_then(|it| it.retry_delay);
        // A status that the transport made carries what happened; one that came over the wire does not.
        let is_ours = std::error::Error::source(&status).is_some();
        let is_permanent = match status.code() {
            Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss => false,
            Code::ResourceExhausted => retry_after.is_none(),
            _ => !is_ours,
        };
        Self { cause: Cause::Grpc(Box::new(status)), is_permanent, retry_after }
    }

    /// `retry_after` is the header's text: seconds. A date is left to our own backoff.
    pub(super) fn http(status: StatusCode, retry_after: Option<&str>, text: String) -> Self {
        let may_retry = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Self {
            cause: Cause::Refused { status: status.as_u16(), text },
            is_permanent: !may_retry,
            retry_after: retry_after.and_then(|it| it.trim().parse().ok()).map(Duration::from_secs),
        }
    }

    pub(super) fn no_http_answer(error: reqwest::Error) -> Self {
        // The address is in the settings, and may hold a password.
        let cause = Cause::Http(Box::new(error.without_url()));
        Self { cause, is_permanent: false, retry_after: None }
    }

    pub(super) fn compress(error: std::io::Error) -> Self {
        Self { cause: Cause::Compress(error), is_permanent: true, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn grpc_codes() {
        let retried: Vec<_> =
            (0..=16).map(Code::from).filter(|it| !Failure::grpc(Status::new(*it, "")).is_permanent).collect();
        let want = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        assert_eq!(retried, want);
    }

    #[test]
    fn exhausted_is_retried_when_the_collector_says_when() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(5)));
        let failure = Failure::grpc(Status::with_error_details(Code::ResourceExhausted, "", details));
        assert_eq!((failure.is_permanent, failure.retry_after), (false, Some(Duration::from_secs(5))));
    }

    #[test]
    fn http_statuses() {
        let retried: Vec<_> = (300..600)
            .filter_map(|it| StatusCode::from_u16(it).ok())
            .filter(|it| !Failure::http(*it, None, String::new()).is_permanent)
            .map(|it| it.as_u16())
            .collect();
        assert_eq!(retried, [429, 502, 503, 504]);
    }

    #[test]
    fn retry_after_is_seconds_or_nothing() {
        for (text, want) in [(" 7 ", Some(7)), ("-1", None), ("Fri, 31 Dec 1999 23:59:59 GMT", None)] {
            let failure = Failure::http(StatusCode::TOO_MANY_REQUESTS, Some(text), String::new());
            assert_eq!(failure.retry_after, want.map(Duration::from_secs), "{text}");
        }
    }
}
