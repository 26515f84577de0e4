//! OTLP as JSON, one export request a line, as the Collector's file exporter writes it.

use std::collections::BTreeMap;

use serde_json::Error;
pub use serde_json::Value;

pub type Attributes = BTreeMap<String, Value>;

/// In the order of arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Received {
    pub spans: Vec<Span>,
    pub metrics: Vec<Metric>,
    pub logs: Vec<Log>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub resource: Attributes,
    pub name: String,
    pub kind: Kind,
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub start_ns: u64,
    pub end_ns: u64,
    pub is_error: bool,
    pub status_message: String,
    pub attributes: Attributes,
    pub events: Vec<(String, Attributes)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// One data point.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub resource: Attributes,
    pub name: String,
    pub unit: String,
    pub attributes: Attributes,
    /// Of a histogram, the sum.
    pub value: f64,
    /// Of a histogram, how many values it has; else 1.
    pub count: u64,
    pub time_ns: u64,
}

/// A log record.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub resource: Attributes,
    pub event_name: String,
    pub severity: u64,
    pub body: Value,
    pub attributes: Attributes,
    pub time_ns: u64,
    pub observed_ns: u64,
    /// Of the request that was open then.
    pub trace_id: String,
    pub span_id: String,
}

impl Received {
    /// Fails at a line that is not JSON; an unknown field is no failure.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut received = Self::default();
        for line in text.lines() {
            let request: Value = serde_json::from_str(line)?;
            for of_resource in list(&request, "resourceSpans") {
                let resource = attributes(&of_resource["resource"]);
                for scope in list(of_resource, "scopeSpans") {
                    received.spans.extend(list(scope, "spans").map(|it| span(&resource, it)));
                }
            }
            for of_resource in list(&request, "resourceMetrics") {
                let resource = attributes(&of_resource["resource"]);
                for scope in list(of_resource, "scopeMetrics") {
                    received.metrics.extend(list(scope, "metrics").flat_map(|it| points(&resource, it)));
                }
            }
            for of_resource in list(&request, "resourceLogs") {
                let resource = attributes(&of_resource["resource"]);
                for scope in list(of_resource, "scopeLogs") {
                    received.logs.extend(list(scope, "logRecords").map(|it| log(&resource, it)));
                }
            }
        }
        Ok(received)
    }
}

fn span(resource: &Attributes, json: &Value) -> Span {
    Span {
        resource: resource.clone(),
        name: string(json, "name"),
        kind: match integer(&json["kind"]) {
            1 => Kind::Internal,
            2 => Kind::Server,
            3 => Kind::Client,
            4 => Kind::Producer,
            5 => Kind::Consumer,
            _ => Kind::Unspecified,
        },
        trace_id: string(json, "traceId"),
        span_id: string(json, "spanId"),
        parent_span_id: Some(string(json, "parentSpanId")).filter(|it| !it.is_empty()),
        start_ns: integer(&json["startTimeUnixNano"]),
        end_ns: integer(&json["endTimeUnixNano"]),
        is_error: integer(&json["status"]["code"]) == 2,
        status_message: string(&json["status"], "message"),
        attributes: attributes(json),
        events: list(json, "events").map(|it| (string(it, "name"), attributes(it))).collect(),
    }
}

fn log(resource: &Attributes, json: &Value) -> Log {
    Log {
        resource: resource.clone(),
        event_name: string(json, "eventName"),
        severity: integer(&json["severityNumber"]),
        body: plain(&json["body"]),
        attributes: attributes(json),
        time_ns: integer(&json["timeUnixNano"]),
        observed_ns: integer(&json["observedTimeUnixNano"]),
        trace_id: string(json, "traceId"),
        span_id: string(json, "spanId"),
    }
}

fn points(resource: &Attributes, json: &Value) -> Vec<Metric> {
    let kinds = ["gauge", "sum", "histogram", "exponentialHistogram"];
    let all = kinds.into_iter().flat_map(|kind| list(&json[kind], "dataPoints"));
    all.map(|point| Metric {
        resource: resource.clone(),
        name: string(json, "name"),
        unit: string(json, "unit"),
        attributes: attributes(point),
        value: ["asDouble", "asInt", "sum"].into_iter().find_map(|it| number(&point[it])).unwrap_or(0.0),
        count: if point["count"].is_null() { 1 } else { integer(&point["count"]) },
        time_ns: integer(&point["timeUnixNano"]),
    })
    .collect()
}

fn attributes(json: &Value) -> Attributes {
    list(json, "attributes").map(|it| (string(it, "key"), plain(&it["value"]))).collect()
}

/// An AnyValue without its wrapping: `{"intValue": "7"}` is 7.
fn plain(json: &Value) -> Value {
    let Some((kind, value)) = json.as_object().and_then(|it| it.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "intValue" => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.parse::<i64>().map_or(Value::Null, Value::from)
        }
        "arrayValue" => list(value, "values").map(plain).collect(),
        "kvlistValue" => list(value, "values").map(|it| (string(it, "key"), plain(&it["value"]))).collect(),
        _ => value.clone(),
    }
}

fn list<'a>(json: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    json[key].as_array().into_iter().flatten()
}

fn string(json: &Value, key: &str) -> String {
    json[key].as_str().unwrap_or_default().to_owned()
}

/// OTLP writes 64-bit integers as strings.
fn integer(json: &Value) -> u64 {
    json.as_str().map_or_else(|| json.as_u64(), |it| it.parse().ok()).unwrap_or(0)
}

fn number(json: &Value) -> Option<f64> {
    json.as_str().map_or_else(|| json.as_f64(), |it| it.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_spans() {
        let text = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"scope":{},"spans":[{"traceId":"0af7","spanId":"b7ad","parentSpanId":"00f0","name":"GET /","kind":2,"startTimeUnixNano":"1700000000000000001","endTimeUnixNano":"1700000000000000009","attributes":[{"key":"http.response.status_code","value":{"intValue":"502"}},{"key":"causes","value":{"arrayValue":{"values":[{"stringValue":"gc"},{"boolValue":true}]}}}],"events":[{"name":"stall","attributes":[{"key":"x","value":{"doubleValue":1.5}}]}],"status":{"code":2,"message":"no"}},{"traceId":"1","spanId":"2","parentSpanId":"","name":"plain","kind":3,"status":{}}]}]}]}
"#;
        let Received { spans, metrics, logs } = Received::parse(text).unwrap();
        assert!(metrics.is_empty() && logs.is_empty());
        let [first, second] = spans.try_into().unwrap();
        assert_eq!(first.resource["service.name"], "web");
        assert_eq!((first.kind, second.kind), (Kind::Server, Kind::Client));
        assert_eq!((first.parent_span_id.as_deref(), second.parent_span_id), (Some("00f0"), None));
        assert_eq!((first.is_error, second.is_error), (true, false));
        assert_eq!(first.end_ns - first.start_ns, 8);
        assert_eq!(first.attributes["http.response.status_code"], 502);
        assert_eq!(first.attributes["causes"], json!(["gc", true]));
        assert_eq!(first.events, [("stall".to_owned(), [("x".to_owned(), json!(1.5))].into())]);
    }

    #[test]
    fn reads_points_of_every_kind_of_metric() {
        let text = r#"{"resourceMetrics":[{"resource":{},"scopeMetrics":[{"metrics":[{"name":"bytes","unit":"By","sum":{"dataPoints":[{"asInt":"7","timeUnixNano":"5","attributes":[{"key":"k","value":{"stringValue":"v"}}]},{"asInt":"8"}]}},{"name":"load","gauge":{"dataPoints":[{"asDouble":0.5}]}},{"name":"took","unit":"s","histogram":{"dataPoints":[{"count":"3","sum":1.5}]}}]}]}]}
"#;
        let got: Vec<_> = Received::parse(text)
            .unwrap()
            .metrics
            .into_iter()
            .map(|it| (it.name, it.value, it.count))
            .collect();
        let want = [("bytes", 7.0, 1), ("bytes", 8.0, 1), ("load", 0.5, 1), ("took", 1.5, 3)];
        assert_eq!(got, want.map(|(name, value, count)| (name.to_owned(), value, count)));
    }

    #[test]
    fn reads_log_records() {
        let text = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeLogs":[{"scope":{},"logRecords":[{"timeUnixNano":"5","observedTimeUnixNano":"6","severityNumber":13,"severityText":"WARN","eventName":"taskscope.x","body":{"stringValue":"no"},"attributes":[{"key":"n","value":{"intValue":"7"}}],"traceId":"0af7","spanId":"b7ad"}]}]}]}
"#;
        let [log] = Received::parse(text).unwrap().logs.try_into().unwrap();
        assert_eq!(
            (log.resource["service.name"].as_str(), log.event_name.as_str()),
            (Some("web"), "taskscope.x")
        );
        assert_eq!((log.severity, log.time_ns, log.observed_ns), (13, 5, 6));
        assert_eq!((log.body, &log.attributes["n"]), (json!("no"), &json!(7)));
        assert_eq!((log.trace_id.as_str(), log.span_id.as_str()), ("0af7", "b7ad"));
    }

    #[test]
    fn a_line_that_is_not_json_is_an_error() {
        assert!(Received::parse("{\"resourceSpans\":[").is_err());
        assert_eq!(Received::parse("{\"other\":[]}\n").unwrap(), Received::default());
    }
}
