//! On a real kernel with real processes: one file for each thing that is looked at.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "clippy does not take helpers for tests")]

mod bytes;
mod capabilities;
mod connect;
mod dropper;
mod exec;
mod fault;
mod golang;
mod http;
mod netns;
mod packet;
mod price;
mod residue;
mod ring;
mod sock;
mod truth;
mod verifier;
