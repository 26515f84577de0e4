//! What of ours is in the kernel: nothing, before a suite and after it.

use std::{fmt, thread, time::Duration};

use crate::has_bpf;

/// The kernel cuts names of programs and maps here.
const MAX_NAME_BYTES: usize = 15;

#[derive(Clone, Debug, PartialEq, Eq)]
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
    fn names_are_cut_as_the_kernel_cuts_them() {
        let names = ["sock_state", "a_very_long_program_name"];
        assert!(is_ours("sock_state", &names));
        assert!(is_ours("a_very_long_pro", &names));
        assert!(!is_ours("a_very_long_program_name", &names));
        assert!(!is_ours("sock", &names));
        assert!(!is_ours("", &[""]));
    }
}
