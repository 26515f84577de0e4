//! `http.server.request.duration`, `http.client.request.duration` and `db.client.operation.duration`, a resource
//! for each process.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics},
};

use super::{
    attribute::{int, scope, text, yes},
    point::{Moment, Name, Times, histogram},
    resource,
};
use crate::export::{
    http_durations::{Key, Kind, Series},
    node::Node,
    semconv,
};

const SERVER: Name = Name {
    name: semconv::HTTP_SERVER_REQUEST_DURATION,
    unit: "s",
    description: "Duration of HTTP server requests.",
};
const CLIENT: Name = Name {
    name: semconv::HTTP_CLIENT_REQUEST_DURATION,
    unit: "s",
    description: "Duration of HTTP client requests.",
};

const DATABASE: Name = Name {
    name: semconv::DB_CLIENT_OPERATION_DURATION,
    unit: "s",
    description: "Duration of database client operations.",
};

/// `rows` of one process must be next to each other.
pub(in crate::export) fn request(
    rows: &[(&Key, &Series)],
    node: &Node,
    moment: &Moment,
) -> ExportMetricsServiceRequest {
    let resource_metrics = rows
        .chunk_by(|(a, _), (b, _)| a.process == b.process)
        .map(|rows| ResourceMetrics {
            resource: Some(match &rows[0].0.process {
                Some(process) => resource::process(&process.0, node),
                None => resource::agent(node),
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope(node)),
                metrics: metrics(rows, moment),
                schema_url: semconv::SCHEMA_URL.to_owned(),
            }],
            schema_url: semconv::SCHEMA_URL.to_owned(),
        })
        .collect();
    ExportMetricsServiceRequest { resource_metrics }
}

fn metrics(rows: &[(&Key, &Series)], moment: &Moment) -> Vec<Metric> {
    let mut metrics: Vec<(Name, Vec<HistogramDataPoint>)> =
        [SERVER, CLIENT, DATABASE].map(|name| (name, Vec::new())).into();
    for (key, series) in rows {
        let place = match key.kind {
            Kind::Server => 0,
            Kind::Client => 1,
            Kind::Database(_) => 2,
        };
        metrics[place].1.push(point(key, series, moment));
    }
    let metrics = metrics.into_iter().filter(|(_, points)| !points.is_empty());
    metrics.map(|(name, points)| histogram(name, points)).collect()
}

fn point(key: &Key, series: &Series, moment: &Moment) -> HistogramDataPoint {
    let Times { start, now } = moment.times(series.first);
    HistogramDataPoint {
        attributes: attributes(key),
        start_time_unix_nano: start.0,
        time_unix_nano: now.0,
        count: series.buckets.iter().sum(),
        sum: Some(series.sum.as_secs_f64()),
        bucket_counts: series.buckets[..=key.kind.bounds().len()].to_vec(),
        explicit_bounds: key.kind.bounds().to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn attributes(key: &Key) -> Vec<KeyValue> {
    if key.process.is_none() {
        return vec![yes(semconv::METRIC_OVERFLOW)];
    }
    let mut attributes = match key.kind {
        Kind::Server | Kind::Client => vec![text(semconv::HTTP_REQUEST_METHOD, key.method)],
        Kind::Database(system) if key.method.is_empty() => vec![text(semconv::DB_SYSTEM_NAME, system)],
        Kind::Database(system) => {
            vec![text(semconv::DB_SYSTEM_NAME, system), text(semconv::DB_OPERATION_NAME, key.method)]
        }
    };
    attributes.extend(key.route.as_deref().map(|it| text(semconv::HTTP_ROUTE, it)));
    attributes.extend(key.status.map(|it| int(semconv::HTTP_RESPONSE_STATUS_CODE, it)));
    attributes.extend(key.error_type.as_deref().map(|it| text(semconv::ERROR_TYPE, it)));
    if let Some((address, port)) = &key.server {
        attributes.push(text(semconv::SERVER_ADDRESS, address));
        attributes.extend(port.map(|it| int(semconv::SERVER_PORT, it)));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::metrics::v1::metric::Data;

    use super::*;
    use crate::{
        assemble::span::{Outcome, Side},
        clock::{Clock, Ktime},
        export::{http_durations::HttpDurations, testing},
    };

    #[test]
    fn each_process_has_its_own() {
        let mut spans: Vec<_> = (1..=4).map(testing::span).collect();
        spans[3] = testing::statement(4);
        spans[1].outcome = Outcome::Status(503);
        let client = &mut spans[2];
        client.side = Side::Client;
        client.process = Arc::new(testing::process("web", 41));
        let mut durations = HttpDurations::default();
        for span in &spans {
            durations.record(span);
        }
        let want = "\
web http.client.request.duration http.request.method=GET http.response.status_code=200 server.address=shop server.port=8080 n=1 sum=0.001
cart http.server.request.duration http.request.method=GET http.response.status_code=200 n=1 sum=0.001
cart http.server.request.duration http.request.method=GET http.response.status_code=503 error.type=503 n=1 sum=0.001
cart db.client.operation.duration db.system.name=postgresql db.operation.name=SELECT error.type=*pq.Error n=1 sum=0.001
";
        assert_eq!(lines(&durations), want);
    }

    fn lines(durations: &HttpDurations) -> String {
        let clock = Clock::new();
        let now = clock.wall(Ktime(5_000_000_000));
        let request = request(&durations.rows(), &testing::node(), &Moment::new(clock, now));
        let mut lines = String::new();
        for resource in &request.resource_metrics {
            let service = testing::attributes(&resource.resource.as_ref().unwrap().attributes);
            let service = service.split(' ').next().unwrap().trim_start_matches("service.name=").to_owned();
            for metric in &resource.scope_metrics[0].metrics {
                let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
                let mut points: Vec<_> = histogram
                    .data_points
                    .iter()
                    .map(|it| {
                        assert_eq!(it.start_time_unix_nano, clock.wall(Ktime(1_001_000_000)).0);
                        assert_eq!(it.time_unix_nano, now.0);
                        assert_eq!(it.bucket_counts.len(), it.explicit_bounds.len() + 1);
                        let attributes = testing::attributes(&it.attributes);
                        let sum = it.sum.unwrap();
                        format!("{service} {} {attributes} n={} sum={sum}\n", metric.name, it.count)
                    })
                    .collect();
                points.sort();
                lines += &points.concat();
            }
        }
        lines
    }
}
