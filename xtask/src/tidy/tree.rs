//! The text files of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::source::Source;

/// Folders with nothing that we wrote.
const SKIPPED: &[&str] = &["target", ".git", "corpus", "artifacts", "node_modules"];

const TEXT: &[&str] = &["rs", "go", "c", "h", "py", "sh", "toml", "md", "yaml", "yml", "json", "proto"];

pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

pub(super) struct File {
    /// From the root of the repository.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Rust only.
    pub(super) source: Option<Source>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        visit(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|it| Some((it, it.source.as_ref()?)))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| File::new(PathBuf::from(path), (*text).to_owned()))
                .collect(),
        }
    }
}

impl File {
    fn new(path: PathBuf, text: String) -> Self {
        let source = path.extension().is_some_and(|it| it == "rs").then(|| Source::new(&text));
        Self { path, text, source }
    }

    /// Whether all of it is compiled for tests only.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests")
            || self.path.ends_with("tests.rs")
            || self.path.iter().any(|it| it == "tests")
    }
}

fn visit(root: &Path, dir: &Path, files: &mut Vec<File>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        let is_skipped = SKIPPED.iter().any(|it| entry.file_name() == *it);
        if entry.file_type()?.is_dir() {
            if !is_skipped {
                visit(root, &path, files)?;
            }
        } else if is_text(&path) {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push(File::new(path.strip_prefix(root)?.to_owned(), text));
        }
    }
    Ok(())
}

/// By the end of the name; a program without one (`.ci/run`) is text if it begins like a script.
fn is_text(path: &Path) -> bool {
    match path.extension() {
        Some(end) => TEXT.iter().any(|it| end == *it),
        None => fs::read(path).is_ok_and(|it| it.starts_with(b"#!")),
    }
}
