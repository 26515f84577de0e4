//! Read-only views over the agent's published state: the API on a socket, its client, the printing.
//!
//! The only room that knows the query protocol. It never sees live state: the agent publishes a
//! [`snapshot::Snapshot`], the server answers from the last one.

#![forbid(unsafe_code)]

mod answer;
pub mod client;
pub mod command;
mod flags;
pub mod in_full;
mod json;
mod live;
pub mod print;
pub mod proto;
mod run;
#[cfg(test)]
mod samples;
pub mod schema;
mod screen;
pub mod server;
pub mod snapshot;
mod socket;
pub mod topology;
mod view;

pub use run::{Outcome, run};
pub use screen::{Screen, ScreenKind, Size};

/// What a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Status,
    Targets,
    Topology,
    Edge,
    Traces,
    Trace,
    Findings,
}

/// The largest answer that is taken: ten thousand edges between as many ends are some 3 MB.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// A filter is some hundred bytes.
const MAX_QUESTION_BYTES: usize = 64 << 10;
/// So much of an answer may be on the way before the other side must have read it.
const WINDOW_BYTES: u32 = 16 << 20;
