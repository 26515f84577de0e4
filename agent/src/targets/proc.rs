//! Reads a process from procfs. It may exit at any moment.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use procfs::{ProcError, process};

use super::{
    cgroup, golang,
    process::{Process, Runtime, Tgid},
    service::{self, Facts},
};
use crate::clock::{Clock, Ktime};

/// Why a process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("process {} is gone", .0.0)]
    Gone(Tgid),
    #[error("cannot read process {}; it needs CAP_SYS_PTRACE and the host's pid namespace", tgid.0)]
    Denied { tgid: Tgid },
    #[error("process {} has no executable: it is a kernel thread", .0.0)]
    KernelThread(Tgid),
    #[error("cannot read process {}", tgid.0)]
    Other { tgid: Tgid, source: Box<ProcError> },
}

impl ProcessError {
    fn new(tgid: Tgid, source: ProcError) -> Self {
        match source {
            ProcError::NotFound(_) => Self::Gone(tgid),
            ProcError::PermissionDenied(_) => Self::Denied { tgid },
            source => Self::Other { tgid, source: Box::new(source) },
        }
    }
}

/// The inode number of the agent's network namespace.
#[must_use]
pub fn own_netns() -> Option<u32> {
    let inode = fs::metadata("/proc/self/ns/net").ok()?.ino();
    u32::try_from(inode).ok()
}

/// The executable of a process, through which the kernel and we reach it, replaced on disk or not.
#[must_use]
pub fn exe_link(tgid: Tgid) -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", tgid.0))
}

/// All processes there are, threads and kernel threads excepted.
#[must_use]
pub fn all() -> Vec<Tgid> {
    let Ok(processes) = process::all_processes() else {
        return Vec::new();
    };
    let tgids = processes.filter_map(|it| u32::try_from(it.ok()?.pid).ok().map(Tgid));
    tgids.filter(|tgid| fs::read_link(exe_link(*tgid)).is_ok()).collect()
}

/// Whether any thread of it still runs: the first thread may end before the others.
#[must_use]
pub fn is_alive(tgid: Tgid) -> bool {
    let Ok(process) =
        i32::try_from(tgid.0).map_err(|_| ()).and_then(|pid| process::Process::new(pid).map_err(drop))
    else {
        return false;
    };
    process.stat().is_ok_and(|stat| stat.state != 'Z' && stat.state != 'X')
        || process.tasks().is_ok_and(|tasks| 1 < tasks.count())
}

/// Who it is. The runtime is [`Runtime::Native`] until somebody has looked into the binary.
///
/// # Errors
///
/// When the process is gone or may not be read. A missing environment is no error.
pub fn read(tgid: Tgid, clock: &Clock) -> Result<Process, ProcessError> {
    let pid = i32::try_from(tgid.0).map_err(|_| ProcessError::Gone(tgid))?;
    let process = process::Process::new(pid).map_err(|source| ProcessError::new(tgid, source))?;
    let exe = process.exe().map_err(|source| match ProcessError::new(tgid, source) {
        ProcessError::Gone(tgid) if process.is_alive() => ProcessError::KernelThread(tgid),
        error => error,
    })?;
    let stat = process.stat().map_err(|source| ProcessError::new(tgid, source))?;
    let called = called(tgid, &exe, &stat.comm);
    let exe = exe.to_string_lossy().into_owned();
    let place = fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .map_or_else(|_| cgroup::Place::default(), |it| cgroup::parse(&it));
    // Of another user it takes CAP_DAC_READ_SEARCH, too; without it the name comes from elsewhere.
    let environment = process.environ().unwrap_or_default();
    let variable = |name: &str| environment.get(OsStr::new(name)).and_then(|it| it.to_str());
    let service = service::name(&Facts {
        otel_service_name: variable("OTEL_SERVICE_NAME"),
        otel_resource_attributes: variable("OTEL_RESOURCE_ATTRIBUTES"),
        container_id: place.container_id.as_deref(),
        systemd_unit: place.systemd_unit.as_deref(),
        exe: called.as_deref().unwrap_or(&exe),
    });
    let mut attributes = service::attributes(variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    attributes.retain(|(key, _)| key != "service.name");
    Ok(Process {
        tgid,
        started: clock.wall(started(stat.starttime)),
        service,
        exe,
        runtime: Runtime::Native,
        container_id: place.container_id,
        pod_uid: place.pod_uid,
        systemd_unit: place.systemd_unit,
        attributes,
    })
}

/// The name by which a program of many names was started: `comm`, if that is a link beside the
/// executable which leads to it. So `redis-server` is not called `redis-check-rdb`.
fn called(tgid: Tgid, exe: &Path, comm: &str) -> Option<String> {
    let root = PathBuf::from(format!("/proc/{}/root", tgid.0));
    let beside = exe.parent()?.join(comm);
    let link = root.join(beside.strip_prefix("/").ok()?);
    let target = fs::read_link(link).ok()?;
    (target.file_name()? == exe.file_name()?).then(|| comm.to_owned())
}

/// A process that was gone before it could be read: all that is left is what it executed.
#[must_use]
pub fn remembered(tgid: Tgid, exe: &str, started: Ktime, clock: &Clock) -> Process {
    Process {
        tgid,
        started: clock.wall(started),
        service: service::name(&Facts { exe, ..Facts::default() }),
        exe: exe.to_owned(),
        runtime: Runtime::Native,
        container_id: None,
        pod_uid: None,
        systemd_unit: None,
        attributes: Vec::new(),
    }
}

/// `starttime` is in clock ticks since boot.
fn started(ticks: u64) -> Ktime {
    Ktime(ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second().max(1)))
}

/// A file, whatever its path: two pods of one image have one inode on different devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    inode: u64,
    bytes: u64,
    modified_secs: i64,
    build_id: Option<String>,
}

impl FileId {
    /// # Errors
    ///
    /// When the process is gone.
    pub fn of(tgid: Tgid, binary: &golang::GoBinary) -> Result<Self, ProcessError> {
        let data = fs::metadata(exe_link(tgid)).map_err(|_| ProcessError::Gone(tgid))?;
        Ok(Self {
            inode: data.ino(),
            bytes: data.len(),
            modified_secs: data.mtime(),
            build_id: binary.build_id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let tgid = Tgid(std::process::id());
        let process = read(tgid, &Clock::new()).unwrap();
        assert!(process.exe_name().starts_with("agent-"), "{process:?}");
        assert!(is_alive(tgid));
        assert!(all().contains(&tgid));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let tgid = Tgid(u32::MAX);
        assert!(matches!(read(tgid, &Clock::new()), Err(ProcessError::Gone(_))));
        assert!(!is_alive(tgid));
    }

    #[test]
    fn a_kernel_thread_has_no_executable() {
        let kthreadd = Tgid(2);
        if fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n") {
            let got = read(kthreadd, &Clock::new());
            assert!(
                matches!(got, Err(ProcessError::KernelThread(_) | ProcessError::Denied { .. })),
                "{got:?}"
            );
        }
    }
}
