//! Names that users meet, findings and metrics, are explained in a document. (The agent's own numbers have
//! their explanations with them: `agent/src/vitals/document.rs` writes those down.)

use super::{Complaint, tree::Tree};

/// Where names are made, what stands before each, and where it is explained.
const NAMES: &[(&str, &str, &str)] = &[
    ("agent/src/detect/finding.rs", "=> \"", "docs/findings.md"),
    ("agent/src/export/semconv.rs", "&str = \"taskscope.", "docs/metrics.md"),
    ("agent/src/export/semconv.rs", "_DURATION: &str = \"", "docs/metrics.md"),
];

/// Attributes of spans, not of metrics.
const ELSEWHERE: &[&str] = &["joined_by", "http.hijacked"];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let text = |path: &str| tree.files.iter().find(|it| it.path.ends_with(path)).map(|it| it.text.as_str());
    let mut complaints = Vec::new();
    for (source, before, document) in NAMES {
        let Some(code) = text(source) else {
            continue;
        };
        let explained = text(document).unwrap_or_default();
        let production = code.split("#[cfg(test)]").next().unwrap_or_default();
        for (n, name) in names(production, before) {
            let is_explained = explained.contains(&format!("`{name}`"))
                || explained.contains(&format!("`taskscope.{name}`"))
                || ELSEWHERE.contains(&name);
            if !is_explained {
                let text = format!("`{name}` is not explained in {document}");
                complaints.push(Complaint { path: (*source).into(), line: n + 1, text });
            }
        }
    }
    complaints
}

/// Line, from zero, and what stands between `before` and the next quote. A prefix of other names,
/// which ends in a dot, is none.
fn names<'a>(code: &'a str, before: &str) -> impl Iterator<Item = (usize, &'a str)> {
    code.lines().enumerate().filter_map(move |(n, line)| {
        let (_, rest) = line.split_once(before)?;
        let (name, _) = rest.split_once('"')?;
        (!name.is_empty() && !name.ends_with('.')).then_some((n, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_an_explanation_is_refused() {
        let code = "    /// Text, \"quoted\".\n    A: &str = \"taskscope.made\";\n    B: &str = \"taskscope.gone\";\n\
                    #[cfg(test)]\n    C: &str = \"taskscope.tested\";\n";
        let tree = |text| Tree::of(&[("agent/src/export/semconv.rs", code), ("docs/metrics.md", text)]);
        assert!(check(&tree("`taskscope.made`, and for the reason `gone`")).is_empty());
        let got: Vec<_> = check(&tree("made, gone")).iter().map(ToString::to_string).collect();
        let want = [
            "agent/src/export/semconv.rs:2: `made` is not explained in docs/metrics.md",
            "agent/src/export/semconv.rs:3: `gone` is not explained in docs/metrics.md",
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn severities_and_kinds_are_both_names() {
        let code = "Self::Advice => \"advice\",\nSelf::X => \"connect_x\",\n";
        let tree =
            Tree::of(&[("agent/src/detect/finding.rs", code), ("docs/findings.md", "### `connect_x`")]);
        let got: Vec<_> = check(&tree).iter().map(|it| it.line).collect();
        assert_eq!(got, [1]);
    }
}
