//! Network namespaces with known traffic. Nothing here touches an interface of the machine: both ends
//! of each veth pair are born inside a namespace.

use std::{
    ffi::OsStr,
    fs::{self, File},
    net::Ipv4Addr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::mortal::wrapped;

/// The addresses of [`two_namespaces`].
pub const ADDRESS_A: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const ADDRESS_B: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Of `b` in [`three_namespaces`].
pub const ADDRESS_FAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

const TABLE: &str = "inet taskscope_test";

/// A namespace with its loopback up; it is removed when dropped.
#[derive(Debug)]
pub struct NetNs {
    name: String,
}

/// What a namespace does with TCP segments that come in for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A black hole: the sender hears nothing.
    Drop,
    /// As from a port where nobody listens.
    Reset,
    /// ICMP says that there is no such host.
    Unreachable,
}

/// `a` and `b` on one veth pair: `a0` with [`ADDRESS_A`] and `b0` with [`ADDRESS_B`].
#[track_caller]
pub fn two_namespaces() -> (NetNs, NetNs) {
    let (a, b) = (NetNs::new(), NetNs::new());
    a.veth("a0", ADDRESS_A, &b, "b0", ADDRESS_B);
    (a, b)
}

/// `a` and `b` with a host between them, which forwards: `a0` with [`ADDRESS_A`] and `b0` with
/// [`ADDRESS_FAR`]. What the host's ends, `ha` and `hb`, lose is lost on the way, as seen from both.
#[track_caller]
pub fn three_namespaces() -> (NetNs, NetNs, NetNs) {
    let (a, host, b) = (NetNs::new(), NetNs::new(), NetNs::new());
    a.veth("a0", ADDRESS_A, &host, "ha", ADDRESS_B);
    b.veth("b0", ADDRESS_FAR, &host, "hb", Ipv4Addr::new(10, 78, 0, 2));
    host.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
    a.exec("ip", ["route", "add", "default", "via", "10.77.0.2"]);
    b.exec("ip", ["route", "add", "default", "via", "10.78.0.2"]);
    (a, host, b)
}

impl NetNs {
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it makes something outside of the process")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let name = format!("taskscope-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let namespace = Self { name };
        namespace.exec("ip", ["link", "set", "lo", "up"]);
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that will run inside. It becomes the program: its pid is that of the program.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.wrap(&Command::new(program))
    }

    /// A command with all that was said of it, as [`command`](Self::command).
    pub fn wrap(&self, command: &Command) -> Command {
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", &self.name]);
        wrapped(ip, command)
    }

    /// Runs a program inside to its end, which must be a success, and returns what it printed.
    #[track_caller]
    pub fn exec<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> String {
        let mut command = self.command(program);
        command.args(args);
        run(command)
    }

    /// Runs `work` on a thread of its own that is inside: interfaces that it names are those of here.
    #[track_caller]
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).expect("the namespace is there until it is dropped");
        let inside = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("who made it may enter it");
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Joins two namespaces, on a /24.
    #[track_caller]
    pub fn veth(&self, link: &str, address: Ipv4Addr, peer: &Self, peer_link: &str, peer_address: Ipv4Addr) {
        let ends = ["link", "add", link, "netns", &self.name, "type", "veth", "peer", "name", peer_link];
        ip(&[ends.as_slice(), &["netns", &peer.name]].concat());
        for (namespace, link, address) in [(self, link, address), (peer, peer_link, peer_address)] {
            namespace.exec("ip", ["address", "add", &format!("{address}/24"), "dev", link]);
            namespace.exec("ip", ["link", "set", link, "up"]);
        }
    }

    /// From now on TCP segments for `port` are refused; an answer that is on its way still arrives.
    #[track_caller]
    pub fn refuse(&self, port: u16, refusal: Refusal) {
        let verdict = match refusal {
            Refusal::Drop => "drop",
            Refusal::Reset => "reject with tcp reset",
            Refusal::Unreachable => "reject with icmpx type host-unreachable",
        };
        self.nft(&format!("add table {TABLE}"));
        self.nft(&format!("add chain {TABLE} in {{ type filter hook input priority 0; }}"));
        self.nft(&format!("add rule {TABLE} in tcp dport {port} {verdict}"));
    }

    /// Takes back all of [`refuse`](Self::refuse).
    #[track_caller]
    pub fn accept_all(&self) {
        self.nft(&format!("add table {TABLE}"));
        self.nft(&format!("delete table {TABLE}"));
    }

    #[track_caller]
    fn nft(&self, rule: &str) {
        self.exec("nft", [rule]);
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "delete", &self.name]).status();
        if !thread::panicking() {
            assert!(removed.is_ok_and(|it| it.success()), "cannot remove {}", self.name);
        }
    }
}

/// Takes away what tests left that were killed.
fn sweep() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_left = name.to_str().and_then(maker).is_some_and(|pid| !is_alive(pid));
        if is_left {
            // Another test may have been quicker.
            let _removed = Command::new("ip").args(["netns", "delete"]).arg(&name).output();
        }
    }
}

/// The process that a namespace of ours is named after.
fn maker(name: &str) -> Option<u32> {
    let (pid, n) = name.strip_prefix("taskscope-")?.split_once('-')?;
    n.parse::<u32>().ok()?;
    pid.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[track_caller]
fn ip(args: &[&str]) {
    let mut command = Command::new("ip");
    command.args(args);
    run(command);
}

#[track_caller]
fn run(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_ours_have_a_maker() {
        assert_eq!(maker("taskscope-4711-0"), Some(4711));
        for other in ["taskscope-bench-to-4711", "taskscope-4711", "taskscope-a-0", "x-1-0", ""] {
            assert_eq!(maker(other), None, "{other}");
        }
        assert!(is_alive(process::id()));
        assert!(!is_alive(u32::MAX));
    }
}
