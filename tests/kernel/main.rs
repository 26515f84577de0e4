//! On a real kernel with real processes: one file for each thing that is looked at.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "clippy does not take helpers for tests")]

mod attach;
mod bytes;
mod capabilities;
mod connect;
mod dns;
mod dropper;
mod dump;
mod exec;
mod fault;
mod flows;
mod foreign;
mod golang;
mod grpc;
mod http;
mod nat;
mod netns;
mod order;
mod packet;
mod parser;
mod price;
mod reset;
mod residue;
mod ring;
mod sock;
mod sql;
mod standstill;
mod truth;
mod udp;
mod verifier;
