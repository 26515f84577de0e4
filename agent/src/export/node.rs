//! Who exports: the node and the agent on it.

use std::{fs, process};

/// The agent as a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `host.name`, and `k8s.node.name` of processes in pods.
    pub name: String,
    /// Version of taskscope.
    pub version: &'static str,
    pub pid: u32,
    /// The kernel's, shortened; empty when it cannot be read.
    pub boot_id: String,
    /// Of the agent itself, from `OTEL_RESOURCE_ATTRIBUTES`.
    pub attributes: Vec<(String, String)>,
}

impl Node {
    /// This process on the node called `name`.
    #[must_use]
    pub fn this(name: String, attributes: Vec<(String, String)>) -> Self {
        Self { name, version: env!("CARGO_PKG_VERSION"), pid: process::id(), boot_id: boot_id(), attributes }
    }
}

/// Eight of its digits tell one boot of a node from the next.
fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().chars().take(8).collect()
}
