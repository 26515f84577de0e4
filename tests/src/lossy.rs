//! Two programs with a link between them that loses what it is told to.

use std::process::Command;

use crate::{NetNs, Target, netns::three_namespaces, paths};

/// `client` is in `a`, `server` in `b`, and the link loses packets in `host`, at the end of `a`.
pub struct Lossy {
    // Dropped in this order: nobody is in a namespace that is removed.
    pub client: Target,
    pub server: Target,
    dropper: Target,
    pub a: NetNs,
    pub host: NetNs,
    pub b: NetNs,
}

impl Lossy {
    /// Each packet is one segment.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it makes something outside of the process")]
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// Only packets from or to this port are lost.
    #[track_caller]
    pub fn of_port(port: u16) -> Self {
        Self::with(|dropper| _ = dropper.arg(port.to_string()))
    }

    /// A packet may be many segments, and is lost as a whole.
    #[track_caller]
    pub fn offloaded() -> Self {
        Self::between(three_namespaces(), |_| {})
    }

    #[track_caller]
    fn with(finish: impl FnOnce(&mut Command)) -> Self {
        let (a, host, b) = three_namespaces();
        a.exec("ip", ["link", "set", "a0", "gso_max_segs", "1"]);
        b.exec("ip", ["link", "set", "b0", "gso_max_segs", "1"]);
        Self::between((a, host, b), finish)
    }

    #[track_caller]
    fn between((a, host, b): (NetNs, NetNs, NetNs), finish: impl FnOnce(&mut Command)) -> Self {
        let mut dropper = host.command(paths::built("target-dropper"));
        dropper.arg("ha");
        finish(&mut dropper);
        let conn = paths::built("target-conn");
        Self {
            client: Target::start(a.command(&conn)),
            server: Target::start(b.command(&conn)),
            dropper: Target::start(dropper),
            a,
            host,
            b,
        }
    }

    /// Tells it what to lose from now on; returns how many packets it saw and lost since it was told last.
    #[track_caller]
    pub fn lose(&mut self, what: &str) -> (u64, u64) {
        let answer = self.dropper.ask(what);
        let number = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("{what}: {answer}"));
        (number("seen"), number("dropped"))
    }
}
