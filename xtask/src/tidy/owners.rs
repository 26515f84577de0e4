//! A library has rooms that know it; the others are told in our own words.

use std::path::Path;

use super::{Complaint, source, tree::Tree};

/// Beginnings of crates' names, and below which folders of `agent/src` they may stand.
const OWNERS: &[(&str, &[&str])] = &[
    ("aya", &["agent/src/kernel"]),
    ("opentelemetry", &["agent/src/export"]),
    ("tonic", &["agent/src/export", "agent/src/query"]),
];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, source) in tree.rust().filter(|(file, _)| file.path.starts_with("agent/src")) {
        for (name, owners) in OWNERS {
            if owners.iter().any(|it| file.path.starts_with(Path::new(it))) {
                continue;
            }
            for line in source::crates(&source.code, name) {
                let text = format!("`{name}` is known only below {}", owners.join(" and "));
                complaints.push(Complaint { path: file.path.clone(), line, text });
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn a_library_stays_in_its_rooms() {
        let text = "// aya::x\nuse aya::maps::Map;\nlet x = opentelemetry_proto::Y;\nimpl tonic::Z {}\nmayaya::f();\n";
        let aya = "2: `aya` is known only below agent/src/kernel";
        let telemetry = "3: `opentelemetry` is known only below agent/src/export";
        let tonic = "4: `tonic` is known only below agent/src/export and agent/src/query";
        check(super::check, "agent/src/detect/x.rs", text, &[aya, telemetry, tonic]);
        check(super::check, "agent/src/kernel/x.rs", text, &[telemetry, tonic]);
        check(super::check, "agent/src/kernel_x.rs", text, &[aya, telemetry, tonic]);
        check(super::check, "agent/src/export/mod.rs", text, &[aya]);
        check(super::check, "tests/src/x.rs", text, &[]);
    }
}
