//! Parts of documents that a program writes: `<!-- generated: NAME -->` … `<!-- end -->`.

use std::{fs, process::Command};

use anyhow::{Context as _, ensure};

use super::{Complaint, tree::Tree};
use crate::sh;

/// Names of parts, and the commands that print them: a program in the debug folder and its arguments.
const GENERATORS: &[(&str, &[&str])] = &[("settings", &["taskscope", "agent", "--help-markdown"])];

const END: &str = "<!-- end -->";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Compare,
    Fix,
}

pub(super) fn check(tree: &Tree, mode: Mode) -> anyhow::Result<Vec<Complaint>> {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|it| it.path.extension().is_some_and(|it| it == "md")) {
        let renewed =
            renew(&file.text, &generate).with_context(|| format!("the document {}", file.path.display()))?;
        if renewed == file.text {
            continue;
        }
        let path = sh::root().join(&file.path);
        match mode {
            Mode::Fix => {
                fs::write(&path, renewed).with_context(|| format!("cannot write {}", path.display()))?
            }
            Mode::Compare => complaints.push(Complaint {
                path: file.path.clone(),
                line: first_difference(&file.text, &renewed),
                text: "is not what the program prints: run `cargo xtask tidy --fix`".to_owned(),
            }),
        }
    }
    Ok(complaints)
}

/// The text with every generated part written anew.
fn renew(text: &str, generate: &dyn Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        out.push_str(line);
        let name = line.trim().strip_prefix("<!-- generated: ").and_then(|it| it.strip_suffix(" -->"));
        let Some(name) = name else {
            continue;
        };
        let end = lines.by_ref().find(|it| it.trim() == END);
        let end = end.with_context(|| format!("the part `{name}` has no `{END}`"))?;
        // Blank lines, or a table would run into the comments.
        out.push_str(&format!("\n{}\n\n{end}", generate(name)?.trim()));
    }
    Ok(out)
}

fn generate(name: &str) -> anyhow::Result<String> {
    let known = || GENERATORS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = GENERATORS.iter().find(|(it, _)| *it == name);
    let (_, command) = found.with_context(|| format!("nothing makes the part `{name}`, only {}", known()))?;
    let program = sh::target_dir().join("debug").join(command[0]);
    ensure!(program.is_file(), "the part `{name}` is made by {}: run `cargo xtask build`", program.display());
    sh::output(Command::new(program).args(&command[1..]))
}

fn first_difference(old: &str, new: &str) -> usize {
    old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count() + 1
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        check(
            "a\n<!-- generated: x -->\nold\n<!-- end -->\nb",
            "a\n<!-- generated: x -->\n\nthis is x\n\n<!-- end -->\nb",
        );
        check(
            "<!-- generated: x -->\n<!-- end -->\n",
            "<!-- generated: x -->\n\nthis is x\n\n<!-- end -->\n",
        );
        check("a\nb", "a\nb");
    }

    #[test]
    fn what_is_new_stays_as_it_is() {
        let text = "a\n<!-- generated: x -->\n\nthis is x\n\n<!-- end -->\nb\n";
        check(text, text);
    }

    #[test]
    fn broken_parts_are_errors() {
        check("<!-- generated: x -->\nold\n", "error: the part `x` has no `<!-- end -->`");
        check("<!-- generated: y -->\n<!-- end -->", "error: no y");
    }

    #[test]
    fn a_name_that_nothing_makes_is_an_error() {
        assert_eq!(generate("z").unwrap_err().to_string(), "nothing makes the part `z`, only settings");
    }

    #[test]
    fn the_first_changed_line_is_named() {
        assert_eq!(first_difference("a\nb\nc", "a\nx\nc"), 2);
        assert_eq!(first_difference("a\n", "a\nb\n"), 2);
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let generate = |name: &str| match name {
            "x" => Ok("this is x\n".to_owned()),
            name => bail!("no {name}"),
        };
        let got = renew(text, &generate).unwrap_or_else(|error| format!("error: {error}"));
        assert_eq!(got, want);
    }
}
