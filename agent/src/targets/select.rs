//! Which processes are looked at.

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::process::Process;
use crate::config::settings::Selection;

/// Compiled from [`Selection`].
#[derive(Debug)]
pub struct Selector {
    watch_exe: GlobSet,
    exclude_exe: GlobSet,
    watch_pid: Vec<u32>,
    watch_container: Vec<String>,
    own_tgid: u32,
}

impl Selector {
    /// # Errors
    ///
    /// When a glob is none; settings have checked that before.
    pub fn new(selection: &Selection, own_tgid: u32) -> Result<Self, globset::Error> {
        Ok(Self {
            watch_exe: globs(&selection.watch_exe)?,
            exclude_exe: globs(&selection.exclude_exe)?,
            watch_pid: selection.watch_pid.clone(),
            watch_container: selection.watch_container.clone(),
            own_tgid,
        })
    }

    /// Every process, except ourselves, unless something was chosen. What is excluded stays so.
    #[must_use]
    pub fn wants(&self, process: &Process) -> bool {
        if process.tgid.0 == self.own_tgid || self.exclude_exe.is_match(&process.exe) {
            return false;
        }
        let in_container =
            |id: &str| self.watch_container.iter().any(|prefix| id.starts_with(prefix.as_str()));
        self.chooses_nothing()
            || self.watch_exe.is_match(&process.exe)
            || self.watch_pid.contains(&process.tgid.0)
            || process.container_id.as_deref().is_some_and(in_container)
    }

    fn chooses_nothing(&self) -> bool {
        self.watch_exe.is_empty() && self.watch_pid.is_empty() && self.watch_container.is_empty()
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern)?);
    }
    set.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, Ktime},
        targets::{proc::remembered, process::Tgid},
    };

    #[test]
    fn everybody_but_ourselves_by_default() {
        check(Selection::default(), "/usr/bin/shop 1", "/usr/bin/taskscope 99");
    }

    #[test]
    fn what_is_chosen_and_not_excluded() {
        let selection = Selection {
            watch_exe: vec!["/srv/*".to_owned()],
            watch_pid: vec![7],
            exclude_exe: vec!["/srv/secret".to_owned()],
            ..Selection::default()
        };
        check(selection, "/srv/shop 1; /bin/x 7", "/bin/x 8; /srv/secret 9; /srv/secret 7");
    }

    #[track_caller]
    fn check(selection: Selection, wanted: &str, unwanted: &str) {
        let selector = Selector::new(&selection, 99).unwrap();
        for (texts, want) in [(wanted, true), (unwanted, false)] {
            for text in texts.split("; ") {
                let (exe, tgid) = text.split_once(' ').unwrap();
                let process = remembered(Tgid(tgid.parse().unwrap()), exe, Ktime(0), &Clock::new());
                assert_eq!(selector.wants(&process), want, "{text}");
            }
        }
    }
}
