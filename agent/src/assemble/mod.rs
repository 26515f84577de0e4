//! Joins events to state: sockets, edges, spans. One owner, bounded, evicts and counts.
//!
//! Must not know where bytes come from or who reads the state.

pub mod edge;
pub mod histogram;
pub mod span;
