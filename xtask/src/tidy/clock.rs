//! Only `agent/src/clock.rs` reads a clock. Clippy says so too, but not of what a macro makes.

use std::path::Path;

use super::{Complaint, source::words, tree::Tree};

const EXEMPT: &[&str] = &["agent/src/clock.rs", "tests", "xtask"];
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now"];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let is_exempt = |path: &Path| EXEMPT.iter().any(|it| path.starts_with(it));
    let mut complaints = Vec::new();
    for (file, source) in tree.rust().filter(|(file, _)| !is_exempt(&file.path)) {
        for clock in CLOCKS {
            for (line, _) in words(&source.production, clock) {
                let text = format!("`{clock}`: only `clock` reads time, others are told it");
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
    fn one_room_reads_time() {
        let text =
            "\nlet x = std::time::Instant::now();\n#[cfg(test)]\nmod tests { fn f() { Instant::now() } }\n";
        let want = ["2: `Instant::now`: only `clock` reads time, others are told it"];
        check(super::check, "agent/src/assemble/x.rs", text, &want);
        check(super::check, "agent/src/clock.rs", text, &[]);
        check(super::check, "xtask/src/x.rs", text, &[]);
        check(super::check, "agent/src/run.rs", "MyInstant::now(); Instant::nowhere()", &[]);
    }
}
