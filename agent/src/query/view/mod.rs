//! From a snapshot and a filter to the messages of an answer. Pure.

pub(crate) mod findings;
pub(crate) mod select;
pub(crate) mod shapes;
pub(crate) mod sort;
pub(crate) mod status;
pub(crate) mod targets;
pub(crate) mod topology;
pub(crate) mod traces;

use thiserror::Error;

/// Why a question has no answer.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("`{given}` is no column to sort by; these are: {known}")]
    UnknownColumn { given: String, known: String },
    #[error("`{given}` is no glob")]
    BadGlob { given: String, source: Box<globset::Error> },
    #[error("`{given}` is no edge: it is the `id` in `taskscope topology -o json`")]
    BadEdge { given: String },
    #[error("`{given}` is no trace id: it has up to 32 hexadecimal digits")]
    BadTraceId { given: String },
}
