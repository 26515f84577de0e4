//! Joins events to state: sockets, edges, spans. One owner, bounded, evicts and counts.
//!
//! Must not know where bytes come from or who reads the state.

mod address;
mod addresses;
mod connection;
mod dialogs;
mod dials;
mod directory;
pub mod doubling;
pub mod edge;
pub mod failure;
mod failures;
pub mod faults;
pub mod histogram;
mod http;
pub mod incident;
mod key;
mod live;
pub mod lookup;
mod lookups;
mod names;
pub mod network_event;
mod places;
pub mod recent;
mod requests;
pub mod resolutions;
mod role;
mod routes;
mod seen;
pub mod services;
mod sockets;
pub mod span;
pub mod sql;
mod stalls;
pub mod standstill;
mod standstills;
pub mod state;
mod strays;
mod table;
mod texts;
mod topology;
pub mod traces;
mod udp;

#[cfg(test)]
mod tests;
