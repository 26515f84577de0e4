//! One idea a file, one screen a function.

use super::{Complaint, tree::Tree};

const MAX_FILE: usize = 600;
const MAX_FUNCTION: usize = 60;
const MAX_MEDIAN: usize = 150;

const CODE: &[&str] = &["rs", "go", "c", "py"];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in &tree.files {
        let n_lines = file.text.lines().count();
        let is_code = file.path.extension().is_some_and(|end| CODE.iter().any(|it| end == *it));
        if is_code && MAX_FILE < n_lines {
            let text = format!("{n_lines} lines, {MAX_FILE} are allowed: this is two rooms");
            complaints.push(Complaint { path: file.path.clone(), line: 0, text });
        }
    }
    for (file, source) in tree.rust().filter(|(file, _)| !file.is_test()) {
        for (line, name, n_lines) in functions(&source.production) {
            if MAX_FUNCTION < n_lines {
                let text = format!("`{name}` has {n_lines} lines, {MAX_FUNCTION} are allowed");
                complaints.push(Complaint { path: file.path.clone(), line, text });
            }
        }
    }
    let median = median(tree);
    if MAX_MEDIAN <= median {
        let text = format!("the median of the Rust files is {median} lines, it must stay below {MAX_MEDIAN}");
        complaints.push(Complaint { path: ".".into(), line: 0, text });
    }
    complaints
}

pub(super) fn median(tree: &Tree) -> usize {
    let mut sizes: Vec<_> = tree.rust().map(|(file, _)| file.text.lines().count()).collect();
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied().unwrap_or(0)
}

/// Line, name and number of lines of every function with a body.
fn functions(code: &str) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_') {
            continue;
        }
        let rest = &code[at + 3..];
        let name = rest.split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap_or_default();
        // A type (`fn (u8)`) has no name, a declaration no body.
        let Some(body) = (!name.is_empty()).then(|| body(rest)).flatten() else {
            continue;
        };
        found.push((code[..at].matches('\n').count() + 1, name, body.matches('\n').count() + 1));
    }
    found
}

/// From the signature to the brace that closes the body.
fn body(code: &str) -> Option<&str> {
    let mut nested = 0_usize;
    let mut in_body = false;
    for (n, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b';' if nested == 0 && !in_body => return None,
            b'{' => {
                in_body |= nested == 0;
                nested += 1;
            }
            b'}' => {
                nested = nested.saturating_sub(1);
                if nested == 0 && in_body {
                    return Some(&code[..=n]);
                }
            }
            _ => (),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn long_files_are_refused() {
        check(super::check, "docs/x.md", &"x\n".repeat(700), &[]);
        check(super::check, "tests/x.py", &"x\n".repeat(600), &[]);
        check(
            super::check,
            "tests/x.go",
            &"x\n".repeat(601),
            &["0: 601 lines, 600 are allowed: this is two rooms"],
        );
    }

    #[test]
    fn the_middle_file_is_short() {
        check(super::check, "xtask/src/x.rs", &"x\n".repeat(149), &[]);
        let want = ["0: the median of the Rust files is 150 lines, it must stay below 150"];
        check(super::check, "xtask/src/x.rs", &"x\n".repeat(150), &want);
    }

    #[test]
    fn long_functions_are_refused() {
        let function =
            |n: usize| format!("const X: fn (u8) = y;\n\nfn long(a: [u8; 3])\n{{\n{}}}\n", "x;\n".repeat(n));
        check(super::check, "agent/src/x.rs", &function(57), &[]);
        let want = ["3: `long` has 61 lines, 60 are allowed"];
        check(super::check, "agent/src/x.rs", &function(58), &want);
        check(super::check, "agent/src/x/tests.rs", &function(58), &[]);
        check(
            super::check,
            "agent/src/x.rs",
            &format!("#[cfg(test)]\nmod tests {{\n{}\n}}\n", function(58)),
            &[],
        );
        check(
            super::check,
            "agent/src/x.rs",
            &format!("trait T {{ fn short();\n{}\n}}\n", "// x\n".repeat(80)),
            &[],
        );
    }
}
