//! No folder of one person's machine, nothing left to do in the code, no test that does not run.

use super::{Complaint, source, tree::Tree};

/// In pieces, so that this file does not complain of itself.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];
const LEFT_TO_DO: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];
const NOT_RUN: &[&str] = &[concat!("#[ign", "ore"), concat!("to", "do!("), concat!("unimpl", "emented!(")];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in &tree.files {
        let mut complain = |line, text| complaints.push(Complaint { path: file.path.clone(), line, text });
        for (n, line) in file.text.lines().enumerate() {
            for path in MACHINE.iter().filter(|it| begins_a_path(line, it)) {
                complain(n + 1, format!("`{path}` is a folder of one machine"));
            }
        }
        for word in LEFT_TO_DO {
            for (line, _) in source::words(&file.text, word) {
                complain(line, format!("`{word}`: do it, or say in an issue that it is to be done"));
            }
        }
        let code = file.source.as_ref().map_or("", |it| &it.code);
        for word in NOT_RUN {
            for (at, _) in code.match_indices(word) {
                complain(
                    code[..at].matches('\n').count() + 1,
                    format!("`{word}`: code runs, or it is not there"),
                );
            }
        }
    }
    complaints
}

/// Whether `folder` stands in `line` from the root on: `/proc/1/…` may well go on like it.
fn begins_a_path(line: &str, folder: &str) -> bool {
    let is_inside = |it: char| it.is_alphanumeric() || "_-.~*>})]$".contains(it);
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(is_inside))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::check,
        {LEFT_TO_DO, MACHINE, NOT_RUN},
    };

    #[test]
    fn no_folder_of_one_machine() {
        for folder in MACHINE {
            let want = format!("2: `{folder}` is a folder of one machine");
            check(super::check, "docs/x.md", &format!("\nsee `{folder}x`"), &[&want]);
            check(super::check, "docs/x.md", &format!("/proc/1{folder}x {{pid}}{folder}x my{folder}"), &[]);
        }
    }

    #[test]
    fn nothing_is_left_to_do() {
        for word in LEFT_TO_DO {
            let want = format!("1: `{word}`: do it, or say in an issue that it is to be done");
            check(super::check, "agent/src/x.rs", &format!("// {word}: x"), &[&want]);
            check(super::check, "agent/src/x.rs", &format!("// {word}S"), &[]);
        }
    }

    #[test]
    fn everything_runs() {
        for word in NOT_RUN {
            let want = format!("2: `{word}`: code runs, or it is not there");
            check(super::check, "tests/kernel/x.rs", &format!("\n{word}"), &[&want]);
            check(super::check, "tests/kernel/x.rs", &format!("// {word}"), &[]);
            check(super::check, "docs/x.md", word, &[]);
        }
    }
}
