//! What tests on a real kernel need: the permission to run, processes to look at, networks with known
//! traffic, a collector to send to, and patience.

#![forbid(unsafe_code)]

pub mod collector;
mod daemon;
pub mod netns;
pub mod observer;
pub mod own_maps;
pub mod paths;
mod patience;
mod require;
pub mod residue;
pub mod shop;
pub mod snmp;
mod target;

pub use collector::Collector;
pub use daemon::{Agent, Ended, Status, taskscope};
pub use netns::NetNs;
pub use observer::{Assembled, Observer};
pub use patience::{PATIENCE, eventually};
pub use require::{has_admin, has_bpf, skip};
pub use snmp::Snmp;
pub use target::Target;
