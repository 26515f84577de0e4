//! What a process has in the kernel, and what is left of it later: nothing.

use std::{collections::BTreeSet, fs};

use agent::kernel::Listed;

use crate::has_bpf;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    pub kind: &'static str,
    pub id: u32,
}

/// What a process holds by its open files: told apart from what others have of the same names.
#[track_caller]
pub fn held_by(pid: u32) -> BTreeSet<Object> {
    let files =
        fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the process is alive, and ours to look at");
    // A file that was closed meanwhile holds nothing.
    let infos = files.flatten().filter_map(|it| fs::read_to_string(it.path()).ok());
    infos.filter_map(|it| object(&it)).collect()
}

/// Those that are still in the kernel.
#[track_caller]
pub fn remaining(objects: &BTreeSet<Object>) -> Vec<Object> {
    assert!(has_bpf(), "only who has CAP_BPF can list what is in the kernel");
    let lists = [("program", Listed::Programs), ("map", Listed::Maps), ("link", Listed::Links)];
    let ids = |list: Listed| list.ids().expect("who may open them may list them");
    let there: BTreeSet<_> =
        lists.into_iter().flat_map(|(kind, list)| ids(list).into_iter().map(move |id| (kind, id))).collect();
    objects.iter().filter(|it| there.contains(&(it.kind, it.id))).cloned().collect()
}

/// A link tells its program's id as well, so links are tried first.
fn object(fdinfo: &str) -> Option<Object> {
    let kinds = [("link", "link_id:"), ("program", "prog_id:"), ("map", "map_id:")];
    kinds.into_iter().find_map(|(kind, key)| {
        let id = fdinfo.lines().find_map(|it| it.strip_prefix(key))?.trim().parse().ok()?;
        Some(Object { kind, id })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_by_their_files() {
        let check = |text: &str, want: Option<(&'static str, u32)>| {
            assert_eq!(object(text).map(|it| (it.kind, it.id)), want, "{text:?}");
        };
        check("pos:\t0\nlink_type:\ttracing\nlink_id:\t7\nprog_tag:\tab\nprog_id:\t3\n", Some(("link", 7)));
        check("pos:\t0\nprog_type:\t26\nprog_id:\t3\n", Some(("program", 3)));
        check("pos:\t0\nmap_type:\t6\nmap_id:\t12\n", Some(("map", 12)));
        check("pos:\t0\nflags:\t02\n", None);
    }
}
