//! The gRPC half of the collector.

use std::{future::pending, time::Duration};

use opentelemetry_proto::tonic::collector::{
    logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::LogsService,
    },
    metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::MetricsService,
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::TraceService,
    },
};
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::collector::{Answer, Desk, Envelope, Received};

#[derive(Clone)]
pub(super) struct Services {
    pub(super) desk: Desk,
}

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let envelope = envelope(request.metadata());
        let rejected = reply(self.desk.take(Received::Traces(request.into_inner(), envelope))).await?;
        let partial_success = (rejected != 0).then(|| ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: "no room".to_owned(),
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let envelope = envelope(request.metadata());
        let rejected = reply(self.desk.take(Received::Metrics(request.into_inner(), envelope))).await?;
        let partial_success = (rejected != 0).then(|| ExportMetricsPartialSuccess {
            rejected_data_points: rejected,
            error_message: "no room".to_owned(),
        });
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let envelope = envelope(request.metadata());
        let rejected = reply(self.desk.take(Received::Logs(request.into_inner(), envelope))).await?;
        let partial_success = (rejected != 0).then(|| ExportLogsPartialSuccess {
            rejected_log_records: rejected,
            error_message: "no room".to_owned(),
        });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

fn envelope(metadata: &MetadataMap) -> Envelope {
    let get = |name| metadata.get(name).map(|it| it.to_str().unwrap().to_owned());
    Envelope {
        encoding: get("grpc-encoding").filter(|it| it != "identity"),
        takes_zstd: get("grpc-accept-encoding").is_some_and(|it| it.contains("zstd")),
        tenant: get("x-scope-orgid"),
    }
}

async fn reply(answer: Answer) -> Result<i64, Status> {
    match answer {
        Answer::Ok => Ok(0),
        Answer::Partial(rejected) => Ok(rejected),
        Answer::Unavailable => Err(Status::unavailable("later")),
        Answer::Invalid => Err(Status::invalid_argument("never")),
        Answer::Throttled => {
            let details = ErrorDetails::with_retry_info(Some(Duration::ZERO));
            Err(Status::with_error_details(Code::ResourceExhausted, "slower", details))
        }
        Answer::TooLarge => Err(Status::resource_exhausted("too large")),
        Answer::Silent => pending().await,
    }
}
