//! OTLP: spans, metrics and log events of the watched services, and the agent's own telemetry.
//!
//! The only room that knows OTLP and the names of the semantic conventions. Must not know how spans,
//! edges and findings are made.
//!
//! `run_spans`: spans -> [`http_durations`] and [`queue`] -> one request at a time -> sender.
//! `run_logs`: network events -> [`digest`] and [`queue`] -> one request at a time -> sender.
//! `run_durations`: the first of these alone, where spans go nowhere.
//! `run_metrics`: newest edges and durations -> requests -> sender.

#![forbid(unsafe_code)]

mod backoff;
mod deliver;
mod digest;
pub mod error;
mod http_durations;
mod node;
mod otlp;
pub mod own;
mod queue;
pub mod semconv;
mod sender;
pub mod task;
#[cfg(test)]
mod testing;
pub(crate) mod throttle;

pub use self::{
    error::ExportError,
    http_durations::HttpDurations,
    node::Node,
    otlp::{
        span_attributes::{AttributeSink, attributes},
        span_events::{CAUSES, Figure, SpanEvent, main_cause, span_events},
    },
    own::Own,
    sender::Sender,
    task::{
        Pace,
        durations::{DurationExport, run_durations},
        logs::{LOG_QUEUE, LogExport, run_logs},
        metrics::{MetricExport, run_metrics},
        spans::{SpanExport, run_spans},
    },
};
