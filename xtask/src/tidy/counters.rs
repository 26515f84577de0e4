//! Each number that the agent tells of itself says what it counts, and is counted somewhere.

use std::path::Path;

use super::{
    Complaint,
    source::words,
    tree::{File, Tree},
};

/// Where the numbers are made; what stands before each where it is counted; and where that must be. A
/// file that makes numbers may count them as well, if it has to say more than their names.
const TABLES: &[(&str, &str, &[&str])] = &[
    ("agent-common/src/counter.rs", "", &["agent-ebpf/src", "agent-common/src"]),
    ("agent/src/vitals.rs", "Vital::", &["agent/src"]),
];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (table, prefix, users) in TABLES {
        let Some(file) = tree.files.iter().find(|it| it.path == Path::new(table)) else {
            continue;
        };
        for (line, name) in undocumented(&file.text) {
            let text = format!("`{name}` does not say what it counts");
            complaints.push(Complaint { path: table.into(), line, text });
        }
        let is_maker = |it: &File| prefix.is_empty() && it.path == file.path;
        let is_user = |it: &File| !is_maker(it) && users.iter().any(|user| it.path.starts_with(user));
        for (line, name) in names(&file.text) {
            let counted = format!("{prefix}{name}");
            let is_counted = |production: &str| words(production, &counted).next().is_some();
            if !tree.rust().any(|(it, source)| is_user(it) && !it.is_test() && is_counted(&source.production))
            {
                let text = format!("`{name}` is never counted below {}", users.join(" or "));
                complaints.push(Complaint { path: table.into(), line, text });
            }
        }
    }
    complaints
}

fn names(table: &str) -> impl Iterator<Item = (usize, &str)> {
    table.lines().enumerate().filter_map(|(n, line)| Some((n + 1, name(line)?)))
}

fn undocumented(table: &str) -> impl Iterator<Item = (usize, &str)> {
    let above = std::iter::once("").chain(table.lines());
    let explained: Vec<_> = above.map(|it| it.trim_start().starts_with("///")).collect();
    names(table).filter(move |(line, _)| !explained[line - 1])
}

/// Of `SLOT = 3, kind, "name";` or `Vital => Kind("name");`.
fn name(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_word = |it: &str| !it.is_empty() && it.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    let slot = || {
        let (slot, rest) = line.strip_suffix("\";")?.split_once(" = ")?;
        let (index, _) = rest.split_once(", ")?;
        index.parse::<u32>().ok().map(|_| slot)
    };
    let vital = || Some(line.strip_suffix("\");")?.split_once(" => ")?.0);
    slot().or_else(vital).filter(|it| is_word(it))
}

#[cfg(test)]
mod tests {
    use super::{super::tests, Tree, check, name};

    #[test]
    fn knows_a_row_of_the_tables() {
        assert_eq!(name("    RING_FULL = 1, lost, \"ring_full\";"), Some("RING_FULL"));
        assert_eq!(name("    Queries => Total(\"queries\");"), Some("Queries"));
        assert_eq!(name("pub const SLOTS: u32 = 16;"), None);
        assert_eq!(name("$slot:ident = $index:literal, $name:literal;"), None);
        assert_eq!(name("Self::Query => \"query\","), None);
    }

    #[test]
    fn numbers_are_explained() {
        let text = "/// Records.\nA = 0, lost, \"a\";\nB2 = 1, seen, \"b\";\n";
        let table = ("agent-common/src/counter.rs", text);
        let user = ("agent-ebpf/src/emit.rs", "add(A); add(counter::B2);");
        assert_eq!(complaints(&[table, user]), ["3: `B2` does not say what it counts"]);
        tests::check(check, "agent/src/counter.rs", text, &[]);
    }

    #[test]
    fn numbers_are_counted() {
        let slots =
            ("agent-common/src/counter.rs", "/// x\nA = 0, lost, \"a\";\n/// x\nB = 1, lost, \"b\";\n");
        let vitals = ("agent/src/vitals.rs", "/// x\nC => Lost(\"c\");\n/// x\nD => Lost(\"d\");\n");
        let kernel = ("agent-ebpf/src/emit.rs", "add(A); // B\n#[cfg(test)] mod tests { fn f() { B } }");
        let user = ("agent/src/run/mod.rs", "add(Vital::C, B); let x = D;");
        let want = [
            "4: `B` is never counted below agent-ebpf/src or agent-common/src",
            "4: `D` is never counted below agent/src",
        ];
        assert_eq!(complaints(&[slots, vitals, kernel, user]), want);
    }

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).iter().map(|it| format!("{}: {}", it.line, it.text)).collect()
    }
}
