//! What tests on a real kernel need: the permission to run, processes to look at, networks with known
//! traffic, a collector to send to, and patience.

#![forbid(unsafe_code)]

mod assembled;
mod cgroup;
pub mod cluster;
pub mod collector;
mod daemon;
pub mod dns;
pub mod flood;
mod http;
pub mod lossy;
mod mortal;
pub mod netns;
pub mod observer;
pub mod own_maps;
pub mod paths;
mod patience;
pub mod pods;
pub mod privileges;
mod require;
pub mod residue;
pub mod shop;
pub mod snmp;
mod target;
mod tempo;

pub use assembled::Assembled;
pub use cgroup::CGroup;
pub use cluster::Cluster;
pub use collector::Collector;
pub use daemon::{Agent, Ended, Status, taskscope};
pub use netns::NetNs;
pub use observer::Observer;
pub use patience::{PATIENCE, eventually, within};
pub use pods::Pods;
pub use require::{has_admin, has_bpf, skip};
pub use snmp::Snmp;
pub use target::Target;
pub use tempo::Tempo;
