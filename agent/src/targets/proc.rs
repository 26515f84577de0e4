//! Reads a process from procfs. It may exit at any moment.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::Read as _,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::PathBuf,
    time::Duration,
};

use procfs::{ProcError, process};

use super::{
    cgroup, golang,
    process::{Process, Runtime, Tgid, file_name},
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

/// An open file as a path: it leads to this very file as long as that is open, whatever its name does.
#[must_use]
pub fn open_link(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
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
    let exe = without_mark(&exe.to_string_lossy()).to_owned();
    let called = called(tgid, &stat.comm);
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
        start_ticks: Some(stat.starttime),
        started: clock.wall_since_boot(since_boot(stat.starttime)),
        service,
        exe,
        runtime: Runtime::Native,
        container_id: place.container_id,
        pod_uid: place.pod_uid,
        systemd_unit: place.systemd_unit,
        attributes,
    })
}

/// When the process that has the tgid now was started. `None`: there is none.
#[must_use]
pub fn start_ticks(tgid: Tgid) -> Option<u64> {
    let process = process::Process::new(i32::try_from(tgid.0).ok()?).ok()?;
    process.stat().ok().map(|stat| stat.starttime)
}

/// The path without what the kernel appends when the file was replaced on disk, as by an upgrade.
fn without_mark(exe: &str) -> &str {
    exe.strip_suffix(" (deleted)").unwrap_or(exe)
}

/// The name by which a program of many names was started, so that `redis-server` is not called
/// `redis-check-rdb`: where the first argument and `comm` agree, neither was made up.
///
/// The links beside the executable would tell, too, but they are in the process's own mounts, and
/// reading from one that is dead hangs.
fn called(tgid: Tgid, comm: &str) -> Option<String> {
    const MAX_BYTES: u64 = 4096;
    const MAX_COMM_BYTES: usize = 15;
    let mut arguments = Vec::new();
    let file = File::open(format!("/proc/{}/cmdline", tgid.0)).ok()?;
    file.take(MAX_BYTES).read_to_end(&mut arguments).ok()?;
    let first = arguments.split(|byte| *byte == 0).next()?;
    // A program may write its state behind its name: `/usr/bin/redis-server *:6379`.
    let path = std::str::from_utf8(first).ok()?.split(' ').next()?;
    let name = file_name(path);
    let is_agreed = !comm.is_empty() && name.get(..MAX_COMM_BYTES).unwrap_or(name) == comm;
    is_agreed.then(|| name.to_owned())
}

/// A process that was gone before it could be read: all that is left is what it executed.
#[must_use]
pub fn remembered(tgid: Tgid, exe: &str, started: Ktime, clock: &Clock) -> Process {
    Process {
        tgid,
        start_ticks: None,
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

/// `starttime` is in clock ticks since boot, suspend included.
fn since_boot(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second().max(1)))
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
    #[must_use]
    pub fn of(data: &Metadata, binary: &golang::GoBinary) -> Self {
        Self {
            inode: data.ino(),
            bytes: data.len(),
            modified_secs: data.mtime(),
            build_id: binary.build_id.clone(),
        }
    }

    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self { inode: 1, bytes: 1, modified_secs: 1, build_id: Some(name.to_owned()) }
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
    fn a_process_is_the_same_at_each_look_and_started_lately() {
        let tgid = Tgid(std::process::id());
        let looks = [(); 2].map(|()| read(tgid, &Clock::new()).unwrap());
        assert_eq!(looks[0].identity(), looks[1].identity());
        assert_eq!(looks[0].start_ticks, start_ticks(tgid));
        let now = Clock::new().wall(crate::clock::now());
        let age = Duration::from_nanos(now.0 - looks[0].started.0);
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }

    /// Started as `name`, from a copy that is there no more or from a link.
    #[test]
    fn an_executable_keeps_its_name_when_replaced_and_has_that_of_its_link() {
        let dir = tempfile::tempdir().unwrap();
        let [copy, link] = ["taskscope-nap", "many-names"].map(|it| dir.path().join(it));
        fs::copy("/bin/sleep", &copy).unwrap();
        std::os::unix::fs::symlink(&copy, &link).unwrap();
        let mut naps = [&copy, &link].map(|it| std::process::Command::new(it).arg("60").spawn().unwrap());
        fs::remove_file(&copy).unwrap();
        let read = naps.each_ref().map(|nap| read(Tgid(nap.id()), &Clock::new()).unwrap());
        naps.iter_mut().for_each(|nap| {
            nap.kill().unwrap();
            nap.wait().unwrap();
        });
        for (process, want) in read.iter().zip(["taskscope-nap", "many-names"]) {
            assert_eq!(process.exe, copy.to_str().unwrap());
            assert!(process.service.name.starts_with(want) || process.systemd_unit.is_some(), "{process:?}");
        }
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
