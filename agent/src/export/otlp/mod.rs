//! The model as OTLP messages. Pure.

mod attribute;
pub(super) mod durations;
pub(super) mod edges;
pub(super) mod fit;
pub(super) mod logs;
pub(super) mod lookups;
mod network_events;
pub(super) mod point;
pub(super) mod resource;
pub(super) mod service_graph;
pub(super) mod span_attributes;
pub(super) mod span_events;
pub(super) mod spans;
mod statements;
mod wire;
