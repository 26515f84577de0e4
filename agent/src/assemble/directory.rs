//! The processes that events may speak of, the ended ones for a while longer.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;

use crate::{
    clock::Ktime,
    targets::process::{Process, Tgid},
};

/// Records of a process may come after its end.
const KEPT_AFTER_END: Duration = Duration::from_secs(60);

/// What stands for one end of an edge: a container, a program, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WorkloadId(u64);

impl WorkloadId {
    /// Processes of one program in one container, or of one name, are one workload.
    #[must_use]
    pub(super) fn of_process(process: &Process) -> Self {
        Self::hash(|hasher| {
            process.container_id.hash(hasher);
            process.service.name.hash(hasher);
            process.exe_name().hash(hasher);
        })
    }

    #[must_use]
    pub(super) fn of_address(ip: IpAddr) -> Self {
        Self::hash(|hasher| ip.hash(hasher))
    }

    fn hash(write: impl FnOnce(&mut DefaultHasher)) -> Self {
        let mut hasher = DefaultHasher::new();
        write(&mut hasher);
        Self(hasher.finish())
    }
}

/// A process with what is asked of it for each record.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub process: Arc<Process>,
    pub workload: WorkloadId,
    ended: Option<Ktime>,
}

/// Bounded by the number of processes there are, plus a minute's worth of those that ended.
#[derive(Debug, Default)]
pub(super) struct Directory {
    known: AHashMap<Tgid, Known>,
}

impl Directory {
    pub(super) fn insert(&mut self, process: Arc<Process>) {
        let workload = WorkloadId::of_process(&process);
        self.known.insert(process.tgid, Known { process, workload, ended: None });
    }

    #[must_use]
    pub(super) fn get(&self, tgid: Tgid) -> Option<&Known> {
        self.known.get(&tgid)
    }

    pub(super) fn end(&mut self, tgid: Tgid, now: Ktime) {
        if let Some(known) = self.known.get_mut(&tgid) {
            known.ended = Some(now);
        }
    }

    /// Forgets what ended long ago.
    pub(super) fn sweep(&mut self, now: Ktime) {
        self.known.retain(|_, known| known.ended.is_none_or(|ended| now.since(ended) < KEPT_AFTER_END));
    }

    /// Those that have not ended.
    pub(super) fn alive(&self) -> impl Iterator<Item = Tgid> + '_ {
        self.known.iter().filter(|(_, known)| known.ended.is_none()).map(|(tgid, _)| *tgid)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{clock::Clock, targets::proc::remembered};

    pub(crate) fn process(tgid: u32, exe: &str) -> Arc<Process> {
        Arc::new(remembered(Tgid(tgid), exe, Ktime(0), &Clock::new()))
    }

    #[test]
    fn an_ended_process_is_known_for_a_minute() {
        let mut directory = Directory::default();
        directory.insert(process(1, "/bin/a"));
        directory.end(Tgid(1), Ktime(0));
        directory.sweep(Ktime(59_000_000_000));
        assert!(directory.get(Tgid(1)).is_some());
        assert_eq!(directory.alive().count(), 0);
        directory.sweep(Ktime(61_000_000_000));
        assert!(directory.get(Tgid(1)).is_none());
    }

    #[test]
    fn workers_of_a_program_are_one_workload() {
        let id = |tgid, exe| WorkloadId::of_process(&process(tgid, exe));
        assert_eq!(id(1, "/bin/a"), id(2, "/bin/a"));
        assert_ne!(id(1, "/bin/a"), id(1, "/bin/b"));
    }
}
