//! The user half of taskscope, in the order in which data flows.
//!
//! A module uses only modules before it in this list; `cargo xtask tidy` checks that.

pub mod clock;
pub mod vitals;
pub mod config;
pub mod targets;
pub mod kernel;
pub mod assemble;
pub mod detect;
