//! Network namespaces of our own: nothing of the machine's network is touched.

use std::process::{self, Command};

use crate::sh;

/// Removed, with what is in it, when dropped.
pub(super) struct NetNs {
    name: String,
}

impl NetNs {
    pub(super) fn new(word: &str) -> anyhow::Result<Self> {
        let name = format!("taskscope-bench-{word}-{}", process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Joins two by a veth pair, each end with its address on a /24.
    pub(super) fn join(ends: [(&Self, &str); 2]) -> anyhow::Result<()> {
        let [(a, _), (b, _)] = ends;
        let link = ["link", "add", "veth0", "netns", &a.name, "type", "veth", "peer", "name", "veth0"];
        ip(&[link.as_slice(), &["netns", &b.name]].concat())?;
        for (namespace, address) in ends {
            ip(&["-n", &namespace.name, "address", "add", &format!("{address}/24"), "dev", "veth0"])?;
            ip(&["-n", &namespace.name, "link", "set", "veth0", "up"])?;
        }
        Ok(())
    }

    /// A command that runs inside; it becomes the program, so its pid is the program's.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            sh::note(&format!("the network namespace {} is left behind: {error:#}", self.name));
        }
    }
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    sh::output(Command::new("ip").args(args)).map(drop)
}
