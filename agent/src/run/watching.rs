//! Which processes are watched, and the probes on their files: one set for all processes of a file.

use std::collections::{HashMap, HashSet};

use crate::targets::{proc::FileId, process::Tgid};

/// `P` is what is attached to a file; an entry lives as long as a process that is watched by it.
#[derive(Debug)]
pub(super) struct Watching<P> {
    files: HashMap<FileId, Watched<P>>,
    processes: HashMap<Tgid, FileId>,
}

#[derive(Debug)]
struct Watched<P> {
    probes: P,
    processes: HashSet<Tgid>,
}

impl<P> Default for Watching<P> {
    fn default() -> Self {
        Self { files: HashMap::new(), processes: HashMap::new() }
    }
}

impl<P: Default> Watching<P> {
    /// Watches a process by the probes of a file, which `attach` makes or completes.
    ///
    /// `attach` says whether there is anything to be watched by, and so does this; if not, nothing is kept.
    pub(super) fn enter(&mut self, tgid: Tgid, file: &FileId, attach: impl FnOnce(&mut P) -> bool) -> bool {
        if self.processes.get(&tgid).is_some_and(|old| old != file) {
            self.leave(tgid);
        }
        let entry = self
            .files
            .entry(file.clone())
            .or_insert_with(|| Watched { probes: P::default(), processes: HashSet::new() });
        let is_watched = attach(&mut entry.probes);
        if is_watched {
            entry.processes.insert(tgid);
            self.processes.insert(tgid, file.clone());
        } else {
            entry.processes.remove(&tgid);
            self.processes.remove(&tgid);
        }
        if entry.processes.is_empty() {
            self.files.remove(file);
        }
        is_watched
    }

    /// Lets go of a process, and of its file if it was the last one.
    pub(super) fn leave(&mut self, tgid: Tgid) {
        let Some(id) = self.processes.remove(&tgid) else {
            return;
        };
        if let Some(file) = self.files.get_mut(&id) {
            file.processes.remove(&tgid);
            if file.processes.is_empty() {
                self.files.remove(&id);
            }
        }
    }

    pub(super) fn processes(&self) -> impl ExactSizeIterator<Item = Tgid> + '_ {
        self.processes.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_attached_once_and_goes_with_its_last_process() {
        check("1 enters a; 2 enters a; 1 leaves", "a: 2, attached 1");
        check("1 enters a; 2 enters a; 1 leaves; 2 leaves; 2 leaves", "");
    }

    /// Its record of exec may have been lost, or come later than its new plan.
    #[test]
    fn a_process_that_runs_another_file_leaves_the_old_one() {
        check("1 enters a; 1 enters b", "b: 1, attached 1");
        check("1 enters a; 2 enters a; 1 enters b", "a: 2, attached 1 / b: 1, attached 1");
    }

    #[test]
    fn what_could_not_be_attached_is_not_kept() {
        check("1 fails a", "");
        check("1 fails a; 2 enters a", "a: 2, attached 1");
        check("1 enters a; 1 fails a", "");
        check("1 enters a; 2 fails a", "a: 1, attached 1");
    }

    /// Steps of processes 1 and 2; then each file with its processes and how often it was attached.
    #[track_caller]
    fn check(steps: &str, want: &str) {
        let file = |name: &str| FileId::named(name);
        let mut watching = Watching::<u32>::default();
        for step in steps.split("; ") {
            let words: Vec<&str> = step.split(' ').collect();
            let tgid = Tgid(words[0].parse().unwrap());
            match words[1] {
                "enters" => watching.enter(tgid, &file(words[2]), |attached| {
                    *attached = (*attached).max(1);
                    true
                }),
                "fails" => watching.enter(tgid, &file(words[2]), |_| false),
                _ => {
                    watching.leave(tgid);
                    true
                }
            };
        }
        let files = ["a", "b"].into_iter().filter_map(|name| {
            let entry = watching.files.get(&file(name))?;
            let processes: Vec<_> = entry.processes.iter().map(|it| it.0.to_string()).collect();
            Some(format!("{name}: {}, attached {}", processes.join(" "), entry.probes))
        });
        assert_eq!(files.collect::<Vec<_>>().join(" / "), want, "\nsteps: {steps}");
        let watched: usize = watching.files.values().map(|it| it.processes.len()).sum();
        assert_eq!(watched, watching.processes().len(), "\nsteps: {steps}");
    }
}
