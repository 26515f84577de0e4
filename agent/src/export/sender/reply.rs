//! What the collector says when it accepts.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
    trace::v1::ExportTraceServiceResponse,
};
use prost::{Message as _, bytes::Bytes};

use super::Signal;

/// Accepted, perhaps in part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::export) struct Accepted {
    /// Spans, data points or log records that the collector threw away.
    pub(in crate::export) rejected: u64,
    /// Why, or advice; mostly empty.
    pub(in crate::export) message: String,
}

impl Accepted {
    /// A body that is no response says nothing about the request: it was accepted.
    pub(super) fn decode(signal: Signal, body: Bytes) -> Self {
        let partial = match signal {
            Signal::Traces => ExportTraceServiceResponse::decode(body)
                .ok()
                .and_then(|it| it.partial_success)
                .map(|it| (it.rejected_spans, it.error_message)),
            Signal::Metrics => ExportMetricsServiceResponse::decode(body)
                .ok()
                .and_then(|it| it.partial_success)
                .map(|it| (it.rejected_data_points, it.error_message)),
            Signal::Logs => ExportLogsServiceResponse::decode(body)
                .ok()
                .and_then(|it| it.partial_success)
                .map(|it| (it.rejected_log_records, it.error_message)),
        };
        let (rejected, message) = partial.unwrap_or_default();
        Self { rejected: u64::try_from(rejected).unwrap_or(0), message }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    #[test]
    fn partial_success_is_read() {
        for (rejected_spans, want) in [(3, 3), (0, 0), (-1, 0)] {
            let error_message = "too many".to_owned();
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
            let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
            let got = Accepted::decode(Signal::Traces, body.into());
            assert_eq!(got, Accepted { rejected: want, message: "too many".to_owned() });
        }
    }

    #[test]
    fn anything_else_is_full_success() {
        for body in [&b""[..], b"<html>", b"\xff\xff\xff"] {
            let got = Accepted::decode(Signal::Metrics, Bytes::copy_from_slice(body));
            assert_eq!(got, Accepted::default());
        }
    }
}
