//! The rooms of `agent` stand in the order in which data flows. A room may use only those before it.

use super::{Complaint, tree::Tree};

const FLOW: &[&str] = &[
    "causes", "clock", "vitals", "config", "links", "doctor", "targets", "kernel", "snapshot", "decode",
    "assemble", "detect", "export", "query", "run",
];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, source) in tree.rust() {
        let Ok(inside) = file.path.strip_prefix("agent/src") else {
            continue;
        };
        let Some(room) = inside.iter().next().and_then(|it| it.to_str()) else {
            continue;
        };
        let Some(own) = rank(room.trim_end_matches(".rs")) else {
            continue;
        };
        // `mod.rs` and `room.rs` are the room itself; every folder or file below is one step further from the root.
        let depth = inside.with_extension("").iter().filter(|it| *it != "mod").count();
        for (offset, used) in uses(&source.code, depth) {
            if rank(used).is_some_and(|it| own < it) {
                let line = source.code[..offset].matches('\n').count() + 1;
                let text = format!("`{}` must not know `{used}`, which comes after it", FLOW[own]);
                complaints.push(Complaint { path: file.path.clone(), line, text });
            }
        }
    }
    complaints
}

fn rank(room: &str) -> Option<usize> {
    FLOW.iter().position(|it| *it == room)
}

/// Rooms named after `crate::`, or after as many `super::` as lead from a module at `depth`, or from
/// one inside it, to the root.
fn uses(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let up = "super::".repeat(depth);
    let mut found = Vec::new();
    for prefix in ["crate::", &up] {
        for (at, _) in code.match_indices(prefix) {
            let after = at + prefix.len();
            let in_word = code[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_' || it == '$');
            if !in_word {
                found.extend(names(code, after));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The first segment at `at`, or the first segments of all paths in the group there.
fn names(code: &str, at: usize) -> Vec<(usize, &str)> {
    let rest = code[at..].trim_start();
    let at = code.len() - rest.len();
    if !rest.starts_with('{') {
        return vec![(at, segment(rest))];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for (n, byte) in rest.bytes().enumerate() {
        let opens = byte == b'{';
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => (),
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (opens || byte == b',') {
            let item = rest[n + 1..].trim_start();
            names.push((code.len() - item.len(), segment(item)));
        }
    }
    names
}

fn segment(text: &str) -> &str {
    let end = text.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn a_room_may_use_those_before_it() {
        let rule = super::check;
        check(
            rule,
            "agent/src/detect/stall.rs",
            "use crate::decode::Event;\nuse crate::detect::Finding;",
            &[],
        );
        check(
            rule,
            "agent/src/detect.rs",
            "\nlet it = crate::export::Otlp;",
            &["2: `detect` must not know `export`, which comes after it"],
        );
        check(rule, "agent/src/main.rs", "use crate::query;", &[]);
        check(rule, "agent/src/lib.rs", "pub use crate::query;", &[]);
        check(rule, "tests/kernel/x.rs", "use crate::query;", &[]);
    }

    #[test]
    fn groups_are_looked_into() {
        check(
            super::check,
            "agent/src/kernel/mod.rs",
            "use crate::{\n    clock, config::{self, query},\n    decode::{A, B}, targets::x,\n    run,\n};",
            &[
                "3: `kernel` must not know `decode`, which comes after it",
                "4: `kernel` must not know `run`, which comes after it",
            ],
        );
    }

    #[test]
    fn the_way_round_through_super_is_closed() {
        let want = &["1: `kernel` must not know `query`, which comes after it"];
        check(super::check, "agent/src/kernel/a/b.rs", "use super::super::super::query::X;", want);
        check(super::check, "agent/src/kernel/a.rs", "use super::super::{vitals, query};", want);
        check(super::check, "agent/src/kernel/mod.rs", "use super::query;", want);
        check(super::check, "agent/src/kernel.rs", "use super::query;", want);
        // A sibling that is called like a room is none.
        check(super::check, "agent/src/kernel/a.rs", "use super::query;", &[]);
    }

    #[test]
    fn text_about_rooms_is_no_use() {
        check(
            super::check,
            "agent/src/clock.rs",
            "// crate::query\nlet x = \"crate::query\"; $crate::query;",
            &[],
        );
    }
}
