//! The command for the tests, as the README gives it.

/// The first line `cargo xtask test` in a block of code under a heading that speaks of tests.
pub(super) fn test_command(readme: &str) -> Option<&str> {
    let mut is_about_tests = false;
    let mut is_code = false;
    for line in readme.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code && line.starts_with('#') {
            is_about_tests = line.to_lowercase().contains("test");
        } else if is_code && is_about_tests {
            let command = line.split('#').next().unwrap_or_default().trim_start_matches("$ ").trim();
            let words: Vec<_> = command.split_whitespace().take(3).collect();
            if words == ["cargo", "xtask", "test"] {
                return Some(command);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_under_the_heading() {
        let readme = "# x\n```sh\ncargo xtask test no\n```\n## Testing it\ncargo xtask test no\n```sh\n# cargo xtask test no\n\
                      cargo xtask tests\n$ cargo xtask test kernel  # all of them\n```\n";
        assert_eq!(test_command(readme), Some("cargo xtask test kernel"));
    }

    #[test]
    fn a_readme_without_it_has_none() {
        assert_eq!(test_command("## Test\ncargo xtask test\n"), None);
        assert_eq!(test_command("## Build\n```\ncargo xtask test\n```\n"), None);
    }
}
