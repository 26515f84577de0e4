//! Control groups of version 2, which sockets remember.

use std::{fs, io::ErrorKind, os::unix::fs::MetadataExt as _, path::PathBuf, process, thread};

use crate::eventually;

/// Removed when dropped, after its processes.
#[derive(Debug)]
pub struct CGroup(PathBuf);

impl CGroup {
    /// `None` where there is no hierarchy that may be written to.
    pub fn new(name: &str) -> Option<Self> {
        let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .find(|it| fs::exists(format!("{it}/cgroup.controllers")).is_ok_and(|it| it))?;
        let path = PathBuf::from(root).join(format!("taskscope-{}-{name}", process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    /// Moves a process into it.
    #[track_caller]
    pub fn add(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("it is our own group");
    }

    /// The inode number is the id.
    #[track_caller]
    pub fn id(&self) -> u64 {
        fs::metadata(&self.0).expect("it is there until it is dropped").ino()
    }
}

impl Drop for CGroup {
    fn drop(&mut self) {
        let removed = eventually("an empty cgroup", || match fs::remove_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => None,
            done => Some(done),
        });
        assert!(removed.is_ok() || thread::panicking(), "{removed:?}");
    }
}
