//! Whole programs, end to end.

#![expect(clippy::unwrap_used, reason = "tests panic, and so do their helpers")]

mod collector;
mod shop;
