//! Each way to lose something has a name that a user meets in metrics: it is explained where it is
//! made, and in the document of metrics once there is one.

use std::path::Path;

use super::{Complaint, tree::Tree};

const TABLE: &str = "agent-common/src/counter.rs";
const DOCUMENT: &str = "docs/metrics.md";

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let text =
        |path: &str| tree.files.iter().find(|it| it.path == Path::new(path)).map(|it| it.text.as_str());
    let Some(table) = text(TABLE) else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    let mut above = "";
    for (n, line) in table.lines().enumerate() {
        if let Some(name) = name(line) {
            let mut complain = |text| complaints.push(Complaint { path: TABLE.into(), line: n + 1, text });
            if !above.trim_start().starts_with("///") {
                complain(format!("`{name}` does not say what it counts"));
            }
            if text(DOCUMENT).is_some_and(|it| !it.contains(name)) {
                complain(format!("`{name}` is not in {DOCUMENT}"));
            }
        }
        above = line;
    }
    complaints
}

/// Of `SLOT = 3, "name";`.
fn name(line: &str) -> Option<&str> {
    let (slot, rest) = line.trim().strip_suffix("\";")?.split_once(" = ")?;
    let (index, name) = rest.split_once(", \"")?;
    let is_slot = slot.chars().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_');
    (is_slot && index.parse::<u32>().is_ok()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{super::tests, Tree, check, name};

    #[test]
    fn knows_a_row_of_the_table() {
        assert_eq!(name("    RING_FULL = 1, \"ring_full\";"), Some("ring_full"));
        assert_eq!(name("pub const SLOTS: u32 = 16;"), None);
        assert_eq!(name("$slot:ident = $index:literal, $name:literal;"), None);
    }

    #[test]
    fn counters_are_explained() {
        let text = "/// Records.\nA = 0, \"a\";\nB2 = 1, \"b\";\n";
        tests::check(check, "agent-common/src/counter.rs", text, &["3: `b` does not say what it counts"]);
        tests::check(check, "agent/src/counter.rs", text, &[]);
    }

    #[test]
    fn counters_are_in_the_document() {
        let table = ("agent-common/src/counter.rs", "/// x\nA = 0, \"made\";\n/// x\nB = 1, \"lost\";\n");
        let got = check(&Tree::of(&[table, ("docs/metrics.md", "| made |")]));
        assert_eq!(
            got.iter().map(|it| it.text.as_str()).collect::<Vec<_>>(),
            ["`lost` is not in docs/metrics.md"]
        );
    }
}
