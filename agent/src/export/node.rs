//! Who exports: the node and the agent on it.

use std::process;

/// The agent as a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `host.name`, and `k8s.node.name` in a cluster.
    pub name: String,
    /// Version of taskscope.
    pub version: &'static str,
    pub pid: u32,
    /// Of the agent itself, from `OTEL_RESOURCE_ATTRIBUTES`.
    pub attributes: Vec<(String, String)>,
}

impl Node {
    /// This process on the node called `name`.
    #[must_use]
    pub fn this(name: String, attributes: Vec<(String, String)>) -> Self {
        Self { name, version: env!("CARGO_PKG_VERSION"), pid: process::id(), attributes }
    }
}
