//! `unsafe` has its rooms. Tests may do what the system asks of them (namespaces, signals).

use std::path::Path;

use super::{Complaint, source::words, tree::Tree};

const ALLOWED: &[&str] = &[
    "agent-common/src/wire.rs",
    "agent-ebpf/src/emit.rs",
    "agent-ebpf/src/main.rs",
    "agent-ebpf/src/maps.rs",
    "agent-ebpf/src/probes",
    "agent-ebpf/src/read.rs",
    "agent/src/kernel",
    "agent/src/targets/memory.rs",
    "tests",
];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let is_allowed = |path: &Path| ALLOWED.iter().any(|it| path.starts_with(it));
    let mut complaints = Vec::new();
    for (file, source) in tree.rust().filter(|(file, _)| !is_allowed(&file.path)) {
        for (line, _) in words(&source.code, "unsafe") {
            let text = "`unsafe` is not for this file; see ALLOWED in xtask/src/tidy/unsafety.rs".to_owned();
            complaints.push(Complaint { path: file.path.clone(), line, text });
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn unsafe_has_its_rooms() {
        let text = "#![forbid(unsafe_code)]\n// unsafe\nfn f() { unsafe { g() } }\n";
        let want = ["3: `unsafe` is not for this file; see ALLOWED in xtask/src/tidy/unsafety.rs"];
        check(super::check, "agent/src/detect/x.rs", text, &want);
        check(super::check, "agent/src/kernel_x.rs", text, &want);
        check(super::check, "agent/src/kernel/x.rs", text, &[]);
        check(super::check, "agent-ebpf/src/read.rs", text, &[]);
    }
}
