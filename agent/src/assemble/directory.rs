//! The processes that events may speak of, the ended ones for a while longer.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;

use crate::{
    clock::Ktime,
    targets::process::{Process, Tgid},
    vitals::{Vital, Vitals},
};

const MAX_PROCESSES: usize = 32_768;
/// Records of a process may come after its end.
const KEPT_AFTER_END: Duration = Duration::from_secs(60);

/// What stands for one end of an edge: a container, a program, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Bounded: who ended first leaves first, and when all are alive a new one is not known.
#[derive(Debug, Default)]
pub(super) struct Directory {
    known: AHashMap<Tgid, Known>,
    /// In order. Of who came back since, the entry means nothing any more.
    ended: VecDeque<(Ktime, Tgid)>,
}

impl Directory {
    pub(super) fn insert(&mut self, process: Arc<Process>, vitals: &Vitals) {
        if MAX_PROCESSES <= self.known.len() && !self.known.contains_key(&process.tgid) && !self.make_room() {
            return vitals.add(Vital::ProcessesNotKnown, 1);
        }
        let workload = WorkloadId::of_process(&process);
        self.known.insert(process.tgid, Known { process, workload, ended: None });
    }

    fn make_room(&mut self) -> bool {
        while let Some(oldest) = self.ended.pop_front() {
            if self.forget(oldest) {
                return true;
            }
        }
        false
    }

    fn forget(&mut self, (at, tgid): (Ktime, Tgid)) -> bool {
        let is_it = self.known.get(&tgid).is_some_and(|known| known.ended == Some(at));
        is_it && self.known.remove(&tgid).is_some()
    }

    #[must_use]
    pub(super) fn get(&self, tgid: Tgid) -> Option<&Known> {
        self.known.get(&tgid)
    }

    pub(super) fn end(&mut self, tgid: Tgid, now: Ktime) {
        if let Some(known) = self.known.get_mut(&tgid).filter(|known| known.ended.is_none()) {
            known.ended = Some(now);
            self.ended.push_back((now, tgid));
        }
    }

    /// Forgets what ended long ago.
    pub(super) fn sweep(&mut self, now: Ktime) {
        while let Some(oldest) =
            self.ended.front().copied().filter(|(at, _)| KEPT_AFTER_END <= now.since(*at))
        {
            self.ended.pop_front();
            self.forget(oldest);
        }
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
        directory.insert(process(1, "/bin/a"), &Vitals::new());
        directory.end(Tgid(1), Ktime(0));
        directory.sweep(Ktime(59_000_000_000));
        assert!(directory.get(Tgid(1)).is_some());
        assert_eq!(directory.alive().count(), 0);
        directory.sweep(Ktime(61_000_000_000));
        assert!(directory.get(Tgid(1)).is_none());
    }

    #[test]
    fn who_ended_first_leaves_first_and_the_alive_stay() {
        let (mut directory, vitals) = (Directory::default(), Vitals::new());
        let insert = |directory: &mut Directory, tgid| directory.insert(process(tgid, "/bin/a"), &vitals);
        (0..MAX_PROCESSES as u32).for_each(|tgid| insert(&mut directory, tgid));
        insert(&mut directory, 100_000);
        assert!(directory.get(Tgid(100_000)).is_none(), "all are alive");
        directory.end(Tgid(7), Ktime(1));
        directory.end(Tgid(5), Ktime(2));
        // It came back: another process.
        insert(&mut directory, 7);
        insert(&mut directory, 100_001);
        let known = [5, 7, 100_001].map(|tgid| directory.get(Tgid(tgid)).is_some());
        assert_eq!(known, [false, true, true]);
        assert_eq!(directory.known.len(), MAX_PROCESSES);
        assert_eq!(vitals.get(Vital::ProcessesNotKnown), 1);
    }

    #[test]
    fn workers_of_a_program_are_one_workload() {
        let id = |tgid, exe| WorkloadId::of_process(&process(tgid, exe));
        assert_eq!(id(1, "/bin/a"), id(2, "/bin/a"));
        assert_ne!(id(1, "/bin/a"), id(1, "/bin/b"));
    }
}
