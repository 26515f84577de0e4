//! The user half of taskscope, in the order in which data flows.
//!
//! A module uses only modules before it in this list; `cargo xtask tidy` checks that.

pub mod assemble;
pub mod causes;
pub mod clock;
pub mod config;
pub mod decode;
pub mod detect;
pub mod doctor;
pub mod export;
pub mod kernel;
pub mod query;
pub mod targets;
pub mod vitals;

pub mod run;
