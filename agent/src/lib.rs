//! The user half of taskscope: one module for each room of ARCHITECTURE.md.
//!
//! A room uses only rooms before it in the flow; `cargo xtask tidy` has their order, and checks that.

pub mod assemble;
pub mod causes;
pub mod clock;
pub mod config;
pub mod decode;
pub mod detect;
pub mod doctor;
pub mod export;
pub mod kernel;
pub mod links;
pub mod query;
pub mod targets;
pub mod vitals;

pub mod run;
