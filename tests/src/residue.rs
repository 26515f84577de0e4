//! What of ours is in the kernel: nothing, before a suite and after it.

use std::{collections::BTreeSet, fmt, fs, thread, time::Duration};

use crate::has_bpf;

/// The kernel cuts names of programs and maps here.
const MAX_NAME_BYTES: usize = 15;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    pub kind: &'static str,
    pub id: u32,
    pub name: String,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} `{}`", self.kind, self.id, self.name)
    }
}

/// The programs, their links and the maps with one of these names.
#[track_caller]
pub fn find(names: &[&str]) -> Vec<Object> {
    assert!(has_bpf(), "only who has CAP_BPF can list what is in the kernel");
    // Errors are objects that went away while they were listed.
    let mut found = Vec::new();
    for program in aya::programs::loaded_programs().flatten() {
        let name = program.name_as_str().unwrap_or_default();
        if is_ours(name, names) {
            found.push(Object { kind: "program", id: program.id(), name: name.into() });
        }
    }
    let programs = found.clone();
    // A link has no name of its own.
    for link in aya::programs::loaded_links().flatten() {
        if let Some(program) = programs.iter().find(|it| it.id == link.program_id()) {
            found.push(Object { kind: "link", id: link.id(), name: program.name.clone() });
        }
    }
    for map in aya::maps::loaded_maps().flatten() {
        let name = map.name_as_str().unwrap_or_default();
        if is_ours(name, names) {
            found.push(Object { kind: "map", id: map.id(), name: name.into() });
        }
    }
    found
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
    let programs = aya::programs::loaded_programs().flatten().map(|it| ("program", it.id()));
    let links = aya::programs::loaded_links().flatten().map(|it| ("link", it.id()));
    let maps = aya::maps::loaded_maps().flatten().map(|it| ("map", it.id()));
    let there: BTreeSet<_> = programs.chain(links).chain(maps).collect();
    objects.iter().filter(|it| there.contains(&(it.kind, it.id))).cloned().collect()
}

/// A link tells its program's id as well, so links are tried first.
fn object(fdinfo: &str) -> Option<Object> {
    let kinds = [("link", "link_id:"), ("program", "prog_id:"), ("map", "map_id:")];
    kinds.into_iter().find_map(|(kind, key)| {
        let id = fdinfo.lines().find_map(|it| it.strip_prefix(key))?.trim().parse().ok()?;
        Some(Object { kind, id, name: String::new() })
    })
}

/// Call it first and last in a suite. The kernel frees objects some time after their last user has gone.
#[track_caller]
pub fn assert_none(names: &[&str]) {
    let mut left = Vec::new();
    for _ in 0..200 {
        left = find(names);
        if left.is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let list: Vec<String> = left.iter().map(ToString::to_string).collect();
    panic!("still in the kernel: {}", list.join(", "));
}

fn is_ours(name: &str, names: &[&str]) -> bool {
    !name.is_empty() && names.iter().any(|it| cut(it) == name)
}

pub(crate) fn cut(name: &str) -> &str {
    let end = (0..=MAX_NAME_BYTES.min(name.len())).rev().find(|it| name.is_char_boundary(*it));
    &name[..end.unwrap_or(0)]
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

    #[test]
    fn names_are_cut_as_the_kernel_cuts_them() {
        let names = ["sock_state", "a_very_long_program_name"];
        assert!(is_ours("sock_state", &names));
        assert!(is_ours("a_very_long_pro", &names));
        assert!(!is_ours("a_very_long_program_name", &names));
        assert!(!is_ours("sock", &names));
        assert!(!is_ours("", &[""]));
    }
}
