//! Network namespaces of our own: nothing of the machine's network is touched.
//!
//! None has a name. The kernel removes one, with its interfaces and rules, when the last process in it ends, which
//! is soon after us however we end.

use std::{
    ffi::OsStr, fs, net::Ipv4Addr, os::unix::process::CommandExt as _, process::Command, time::Duration,
};

use anyhow::Context as _;

use super::{Process, root::once_more};
use crate::sh;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct NetNs {
    pid: u32,
    /// In it and doing nothing, unless it is ours.
    _holder: Option<Process>,
}

impl NetNs {
    /// With its loopback up.
    pub(crate) fn new(word: &str) -> anyhow::Result<Self> {
        let name = format!("the network namespace `{word}`");
        let mut holder = Process::start(&name, Command::new("unshare").args(["--net", "sleep", "infinity"]))?;
        let pid = holder.pid();
        let ours = namespace_of("self")?;
        holder
            .eventually(PATIENCE, || Ok((namespace_of(&pid.to_string())? != ours).then_some(())))
            .context("this needs network namespaces")?;
        let namespace = Self { pid, _holder: Some(holder) };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The one that we are in ourselves, after [`again_apart`].
    pub(crate) fn ours() -> anyhow::Result<Self> {
        let namespace = Self { pid: std::process::id(), _holder: None };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Joins two by a veth pair, each end with its address on a /24.
    pub(crate) fn join(ends: [(&Self, Ipv4Addr); 2]) -> anyhow::Result<()> {
        let [(a, _), (b, _)] = ends;
        let link = format!("link add veth0 netns {} type veth peer name veth0 netns {}", a.pid, b.pid);
        sh::output(Command::new("ip").args(link.split(' ')))?;
        for (namespace, address) in ends {
            namespace.ip(&format!("address add {address}/24 dev veth0"))?;
            namespace.ip("link set veth0 up")?;
        }
        Ok(())
    }

    /// A command that runs inside; it becomes the program, so its pid is the program's.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.wrap(&Command::new(program))
    }

    pub(crate) fn wrap(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/proc/{}/ns/net", self.pid)).arg("--");
        sh::behind(inside, command)
    }

    pub(super) fn ip(&self, words: &str) -> anyhow::Result<()> {
        sh::output(self.command("ip").args(words.split(' '))).map(drop)
    }
}

fn namespace_of(process: &str) -> anyhow::Result<std::path::PathBuf> {
    let path = format!("/proc/{process}/ns/net");
    fs::read_link(&path).with_context(|| format!("cannot read {path}"))
}

/// Becomes the same command once more, in a network namespace of its own, with `--apart` to say so.
pub(crate) fn again_apart() -> anyhow::Result<()> {
    let apart = |program: &OsStr| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--"]).arg(program);
        command
    };
    sh::output(&mut apart("true".as_ref())).context("this needs network namespaces")?;
    let (program, arguments) = once_more("--apart")?;
    let error = apart(program.as_ref()).args(arguments).exec();
    Err(error).context("cannot start `unshare`")
}
