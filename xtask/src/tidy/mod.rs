//! `cargo xtask tidy`: rules about the tree that no compiler checks. `cargo test -p xtask` runs it too.
//!
//! Each rule is a file: a function from text to complaints, with its tests below it.

mod clock;
mod counters;
mod documents;
mod explained;
mod flow;
mod manifests;
mod owners;
mod places;
mod sizes;
mod source;
mod tree;
mod unsafety;

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::sh;
use tree::Tree;

/// Checks what the compiler does not: the one-way flow between rooms, sizes of files and functions,
/// where `unsafe`, clock reads and libraries are, counters that nobody counts, the members' manifests, documents that repeat code.
///
/// Reads the tree, builds nothing: a second. A generated part of a document is compared with what
/// target/debug/taskscope prints, so build that first (`cargo xtask build`).
#[derive(Args, Default)]
#[command(
    after_help = "Parts of documents between `<!-- generated: NAME -->` and `<!-- end -->` are what a program\n\
                        prints; `cargo xtask tidy --fix` writes them anew."
)]
pub(crate) struct Options {
    /// Write generated parts of documents anew.
    #[arg(long)]
    fix: bool,
}

/// What is wrong where.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    path: PathBuf,
    /// Counted from one; 0 if it is the whole file.
    line: usize,
    text: String,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let tree = Tree::read(sh::root())?;
    let documents = if options.fix { documents::Mode::Fix } else { documents::Mode::Compare };
    let mut complaints = rules(&tree);
    complaints.extend(documents::check(&tree, documents)?);
    println!("median of {} Rust files: {} lines", tree.rust().count(), sizes::median(&tree));
    report(complaints)
}

/// Every rule that looks at the tree alone.
fn rules(tree: &Tree) -> Vec<Complaint> {
    [
        flow::check,
        sizes::check,
        unsafety::check,
        manifests::check,
        owners::check,
        clock::check,
        places::check,
        counters::check,
        explained::check,
    ]
    .iter()
    .flat_map(|rule| rule(tree))
    .collect()
}

fn report(mut complaints: Vec<Complaint>) -> anyhow::Result<()> {
    complaints.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    if complaints.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = complaints.iter().map(|it| format!("\n  {it}")).collect();
    bail!("{} complaints:{}", complaints.len(), lines.concat())
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let tree = Tree::read(sh::root()).unwrap();
        assert!(tree.rust().count() > 20, "the tree was not found");
        if let Err(complaints) = report(rules(&tree)) {
            panic!("\n{complaints}\n");
        }
    }

    /// For the rules' tests: one file, and what `rule` says of it, one line each.
    #[track_caller]
    pub(super) fn check(rule: fn(&Tree) -> Vec<Complaint>, path: &str, text: &str, want: &[&str]) {
        let tree = Tree::of(&[(path, text)]);
        let got: Vec<_> = rule(&tree).iter().map(|it| format!("{}: {}", it.line, it.text)).collect();
        assert_eq!(got, want, "\n{path}:\n{text}");
    }
}
