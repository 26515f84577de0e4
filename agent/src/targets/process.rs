//! A watched process, as the rest of the agent knows it. Plain data.

use crate::clock::Wall;

/// The kernel's tgid, in the initial pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tgid(pub u32);

/// Where a service's name comes from; the first that exists wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameSource {
    /// `OTEL_SERVICE_NAME` or `service.name` in `OTEL_RESOURCE_ATTRIBUTES` of the process.
    Environment,
    Container,
    SystemdUnit,
    Executable,
}

/// What a process is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub source: NameSource,
}

/// What runs the process's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// With the version as the binary says it: `go1.26.8`.
    Go(String),
    Native,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub tgid: Tgid,
    /// Clock ticks from boot to its start, as the kernel says it: with the tgid, who it is, whatever the
    /// clocks do. `None`: it was gone before it could be read.
    pub start_ticks: Option<u64>,
    /// For people.
    pub started: Wall,
    pub service: Service,
    /// Path of the executable as the process sees it, also after that was replaced on disk.
    pub exe: String,
    pub runtime: Runtime,
    /// 64 hexadecimal digits.
    pub container_id: Option<String>,
    pub pod_uid: Option<String>,
    pub systemd_unit: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES` of the process, `service.name` excepted.
    pub attributes: Vec<(String, String)>,
}

impl Process {
    /// The file name of the executable.
    #[must_use]
    pub fn exe_name(&self) -> &str {
        file_name(&self.exe)
    }

    /// What tells it from another process that has its tgid later.
    #[must_use]
    pub fn identity(&self) -> (Tgid, Option<u64>) {
        (self.tgid, self.start_ticks)
    }
}

/// The last part of a path.
#[must_use]
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
