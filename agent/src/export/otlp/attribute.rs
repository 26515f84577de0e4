//! Attributes and the scope.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};

use crate::export::{node::Node, semconv};

/// Of the flags of spans and of log records that name one: somebody keeps it.
pub(super) const SAMPLED: u32 = 0x01;

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub(super) fn int(key: &str, value: impl Into<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

pub(super) fn double(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}

pub(super) fn value_of(text: String) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text)) }
}

pub(super) fn yes(key: &str) -> KeyValue {
    attribute(key, Value::BoolValue(true))
}

pub(super) fn scope(node: &Node) -> InstrumentationScope {
    InstrumentationScope {
        name: semconv::SCOPE.to_owned(),
        version: node.version.to_owned(),
        ..InstrumentationScope::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
