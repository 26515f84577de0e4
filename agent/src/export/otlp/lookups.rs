//! Lookups of DNS as a metric of the agent: a histogram for each client, resolver and result.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{HistogramDataPoint, ResourceMetrics, ScopeMetrics},
};

use super::{
    attribute::{scope, text, yes},
    point::{Moment, Name, Times, histogram},
    resource,
};
use crate::{
    assemble::resolutions::{Asker, BOUNDS, Resolution},
    decode::dns::ResponseCode,
    export::{node::Node, semconv},
};

const DURATION: Name = Name {
    name: semconv::LOOKUP_DURATION,
    unit: "s",
    description: "Time from a question to a resolver to its answer.",
};

pub(in crate::export) fn request(
    series: &[Arc<Resolution>],
    node: &Node,
    moment: &Moment,
) -> ExportMetricsServiceRequest {
    let points = series.iter().map(|it| point(it, moment)).collect();
    let resource_metrics = vec![ResourceMetrics {
        resource: Some(resource::agent(node)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope(node)),
            metrics: vec![histogram(DURATION, points)],
            schema_url: semconv::SCHEMA_URL.to_owned(),
        }],
        schema_url: semconv::SCHEMA_URL.to_owned(),
    }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn point(series: &Resolution, moment: &Moment) -> HistogramDataPoint {
    let Times { start, now } = moment.times(series.first);
    HistogramDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: start.0,
        time_unix_nano: now.0,
        count: series.buckets.iter().sum(),
        sum: Some(series.sum.as_secs_f64()),
        bucket_counts: series.buckets.to_vec(),
        explicit_bounds: BOUNDS.iter().map(Duration::as_secs_f64).collect(),
        ..HistogramDataPoint::default()
    }
}

fn attributes(series: &Resolution) -> Vec<KeyValue> {
    let Some(key) = &series.key else {
        return vec![yes(semconv::METRIC_OVERFLOW)];
    };
    let client = match &key.client {
        Asker::Service(service) => text(semconv::CLIENT_SERVICE, service),
        Asker::Address(ip) => text(semconv::CLIENT_ADDRESS, ip.to_string()),
    };
    let mut attributes = vec![client, text(semconv::SERVER_ADDRESS, key.resolver.to_string())];
    match key.code {
        Some(ResponseCode::NO_ERROR) => attributes.push(code(ResponseCode::NO_ERROR)),
        Some(error) => attributes.extend([code(error), text(semconv::ERROR_TYPE, error.name())]),
        None => attributes.push(text(semconv::ERROR_TYPE, "timeout")),
    }
    attributes
}

fn code(code: ResponseCode) -> KeyValue {
    text(semconv::RESPONSE_CODE, code.name())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;

    use super::*;
    use crate::{
        assemble::resolutions::ResolutionKey,
        clock::{Clock, Ktime},
        export::testing,
    };

    #[test]
    fn each_result_is_a_point() {
        let web = "taskscope.client.service.name=web server.address=10.0.0.53";
        check(Some(("web", Some(0))), &format!("{web} taskscope.dns.response_code=NOERROR n=2 sum=0.006"));
        check(
            Some(("web", Some(2))),
            &format!("{web} taskscope.dns.response_code=SERVFAIL error.type=SERVFAIL n=2 sum=0.006"),
        );
        check(Some(("web", None)), &format!("{web} error.type=timeout n=2 sum=0.006"));
        check(None, "otel.metric.overflow=true n=2 sum=0.006");
    }

    #[track_caller]
    fn check(key: Option<(&str, Option<u8>)>, want: &str) {
        let key = key.map(|(service, code)| ResolutionKey {
            client: Asker::Service(service.to_owned()),
            resolver: "10.0.0.53".parse().unwrap(),
            code: code.map(ResponseCode),
        });
        let mut series = Resolution::new(key, Ktime(7));
        (series.buckets[5], series.sum) = (2, Duration::from_millis(6));
        let clock = Clock::new();
        let moment = Moment::new(clock, clock.wall(Ktime(9_000_000_000)));
        let request = request(&[Arc::new(series)], &testing::node(), &moment);
        let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
        assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("taskscope.dns.lookup.duration", "s"));
        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
        let [point] = &histogram.data_points[..] else { panic!("{histogram:?}") };
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.start_time_unix_nano, clock.wall(Ktime(7)).0);
        let (attributes, sum) = (testing::attributes(&point.attributes), point.sum.unwrap());
        assert_eq!(format!("{attributes} n={} sum={sum}", point.count), want);
    }
}
