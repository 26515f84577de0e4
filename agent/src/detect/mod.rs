//! Pure state machines: events in, findings out. No clocks, no I/O.

pub mod finding;
