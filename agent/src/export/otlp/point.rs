//! Metrics and their points. All sums are cumulative.

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
        metric::Data, number_data_point::Value,
    },
};

use crate::clock::{Clock, Ktime, Wall};

/// What a metric is called and measured in (UCUM).
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) description: &'static str,
}

/// When a request is made.
///
/// A collector takes another start for a counter that began anew. So starts are told by a clock that is
/// never set again; only `now` follows the wall clock.
#[derive(Clone, Copy)]
pub(in crate::export) struct Moment {
    starts: Clock,
    now: Wall,
}

impl Moment {
    /// `starts` must be the same one for as long as the agent runs.
    pub(in crate::export) fn new(starts: Clock, now: Wall) -> Self {
        Self { starts, now }
    }

    /// An end before its begin would be refused: the wall clock may have been set back.
    pub(super) fn times(&self, start: Ktime) -> Times {
        let start = self.starts.wall(start);
        Times { start, now: self.now.max(start) }
    }
}

/// `start` is the time from which a sum counts.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) start: Wall,
    pub(super) now: Wall,
}

pub(super) fn counter(name: Name, data_points: Vec<NumberDataPoint>) -> Metric {
    sum(name, data_points, true)
}

pub(super) fn up_down_counter(name: Name, data_points: Vec<NumberDataPoint>) -> Metric {
    sum(name, data_points, false)
}

pub(super) fn gauge(name: Name, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, Data::Gauge(Gauge { data_points }))
}

pub(super) fn histogram(name: Name, data_points: Vec<HistogramDataPoint>) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    metric(name, Data::Histogram(Histogram { data_points, aggregation_temporality }))
}

/// OTLP's integers are signed.
pub(super) fn int(attributes: Vec<KeyValue>, times: Times, value: u64) -> NumberDataPoint {
    number(attributes, times, Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX)))
}

pub(super) fn double(attributes: Vec<KeyValue>, times: Times, value: f64) -> NumberDataPoint {
    number(attributes, times, Value::AsDouble(value))
}

fn number(attributes: Vec<KeyValue>, times: Times, value: Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: times.start.0,
        time_unix_nano: times.now.0,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn sum(name: Name, data_points: Vec<NumberDataPoint>, is_monotonic: bool) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    metric(name, Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic }))
}

fn metric(Name { name, unit, description }: Name, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: description.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_stay_where_they_are_when_the_wall_clock_is_set() {
        let starts = Clock::at_offset(1000);
        for (offset_ns, want_now) in [(1000, 1009), (1003, 1012), (2000, 2009), (0, 1005)] {
            let times = Moment::new(starts, Clock::at_offset(offset_ns).wall(Ktime(9))).times(Ktime(5));
            assert_eq!((times.start, times.now), (Wall(1005), Wall(want_now)), "{offset_ns}");
        }
    }
}
