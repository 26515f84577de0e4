//! From a snapshot and a filter to the messages of an answer. Pure.

pub(crate) mod edge;
pub(crate) mod findings;
mod group;
mod merge;
pub(crate) mod select;
pub(crate) mod shapes;
pub(crate) mod sort;
pub(crate) mod status;
pub(crate) mod targets;
pub(crate) mod topology;
pub(crate) mod traces;
mod workload;

use thiserror::Error;

/// Why a question has no answer.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("`{given}` is no column to sort by; these are: {known}")]
    UnknownColumn { given: String, known: String },
    #[error("`{given}` is no glob")]
    BadGlob { given: String, source: Box<globset::Error> },
    #[error("`{given}` is no edge: it is an ID of `taskscope topology -o wide`")]
    BadEdge { given: String },
    #[error("edges are not merged by number {given}: the agent is older than this command")]
    UnknownBy { given: i32 },
    #[error("`{given}` is no trace id: it has up to 32 hexadecimal digits")]
    BadTraceId { given: String },
}
