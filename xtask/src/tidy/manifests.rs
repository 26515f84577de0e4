//! Every version and every lint is written once, in the root; the border between the halves depends on nothing.

use std::path::Path;

use super::{Complaint, tree::Tree};

/// Not a member: libFuzzer wants flags that the workspace's builds must not have.
const OTHER_WORKSPACES: &[&str] = &["tests/fuzz/Cargo.toml"];

const BORDER: &str = "agent-common/Cargo.toml";

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in &tree.files {
        let is_member = file.path.ends_with("Cargo.toml") && file.path.components().count() > 1;
        if !is_member || OTHER_WORKSPACES.iter().any(|it| file.path == Path::new(it)) {
            continue;
        }
        let mut found = member(&file.text);
        if file.path == Path::new(BORDER) {
            found.extend(border(&file.text));
        }
        complaints.extend(found.into_iter().map(|(line, text)| Complaint {
            path: file.path.clone(),
            line,
            text,
        }));
    }
    complaints
}

/// Compiled for both halves, so that nothing of either gets into the other.
fn border(text: &str) -> Vec<(usize, String)> {
    let is_section = |line: &str| line.starts_with('[') && line.contains("dependencies");
    let lines = text.lines().enumerate().filter(|(_, line)| is_section(line.trim()));
    lines.map(|(n, _)| (n + 1, "agent-common depends on nothing".to_owned())).collect()
}

fn member(text: &str) -> Vec<(usize, String)> {
    let mut complaints = Vec::new();
    let mut section = "";
    let mut has_lints = false;
    for (n, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            continue;
        }
        let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()))
        else {
            continue;
        };
        has_lints |= section == "lints" && name == "workspace" && value == "true";
        let is_named_twice = match section {
            "package" => name == "version",
            _ if section.ends_with("dependencies") => value.starts_with('"') || value.contains("version"),
            _ => section.contains("dependencies.") && name == "version",
        };
        if is_named_twice {
            complaints
                .push((n + 1, format!("`{name}` names a version: that belongs to the root's Cargo.toml")));
        }
    }
    if !has_lints {
        complaints.push((0, "a member says `[lints] workspace = true`".to_owned()));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    const LINTS: &str = "\n[lints]\nworkspace = true\n";

    #[test]
    fn members_take_lints_from_the_root() {
        check(super::check, "agent/Cargo.toml", LINTS, &[]);
        check(
            super::check,
            "agent/Cargo.toml",
            "[lints]\n",
            &["0: a member says `[lints] workspace = true`"],
        );
        check(super::check, "Cargo.toml", "[workspace]\n", &[]);
        check(super::check, "tests/fuzz/Cargo.toml", "[package]\nversion = \"0.0.0\"", &[]);
    }

    #[test]
    fn the_border_depends_on_nothing() {
        let text = format!("[package]\n[target.x.dev-dependencies]\n[dependencies]\n{LINTS}");
        let want = ["2: agent-common depends on nothing", "3: agent-common depends on nothing"];
        check(super::check, "agent-common/Cargo.toml", &text, &want);
        check(super::check, "agent/Cargo.toml", &text, &[]);
    }

    #[test]
    fn members_take_versions_from_the_root() {
        let good = "[package]\nversion.workspace = true\n[dependencies]\na = { workspace = true }\nb.workspace = true\n";
        check(super::check, "agent/Cargo.toml", &format!("{good}{LINTS}"), &[]);
        let bad = "[package]\nversion = \"1\"\n[dev-dependencies]\na = \"1\"\nb = { version = \"1\" }\n\
                   [target.'cfg(unix)'.dependencies.c]\nversion = \"1\"\n";
        let want = ["2: `version`", "4: `a`", "5: `b`", "7: `version`"]
            .map(|it| format!("{it} names a version: that belongs to the root's Cargo.toml"));
        let want: Vec<_> = want.iter().map(String::as_str).collect();
        check(super::check, "agent/Cargo.toml", &format!("{bad}{LINTS}"), &want);
    }
}
