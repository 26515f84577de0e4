//! `cargo xtask manifests`: what `deploy/kubernetes` says, by the tools that others use on it.

mod schemas;
mod tools;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::{setup, sh};
use tools::{KUBECONFORM, KUSTOMIZE};

/// Each is the base with one mistake, and must be refused: a checker that takes everything checks nothing.
const MUTANTS: &[(&str, &str)] = &[
    ("hostPID: true", "hostPid: true"),
    ("terminationGracePeriodSeconds: 10", "terminationGracePeriodSeconds: ten"),
    ("apiVersion: apps/v1", "apiVersion: apps/v2"),
    ("kind: ServiceAccount", "kind: ServiceAcount"),
    ("        securityContext:", "        securityContexts:"),
    ("          type: Unconfined", "          type: 7"),
];

/// Builds every kustomization below deploy/kubernetes with kustomize, and checks what comes out with
/// kubeconform: no unknown field, no wrong type, by the schemas of Kubernetes itself.
///
/// The first run builds both tools and fetches the schemas: under a minute, and then they are in the cache.
/// Nothing is asked of a cluster.
#[derive(Args)]
pub(crate) struct Options {
    /// Print what is checked, as `kubectl apply --filename -` takes it.
    #[arg(long)]
    print: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    setup::ensure(&[setup::Group::Lint])?;
    if options.print {
        for folder in kustomizations()? {
            print!("# {}\n{}", shown(&folder), render(&folder)?);
        }
    }
    check()
}

pub(crate) fn check() -> anyhow::Result<()> {
    let folders = kustomizations()?;
    for folder in &folders {
        let rendered = render(folder)?;
        let complaints = complaints(&rendered)?;
        ensure!(complaints.is_empty(), "{}: {complaints}", shown(folder));
        println!("{}: {} objects", shown(folder), rendered.matches("\nkind: ").count());
    }
    let base = folders.iter().find(|it| it.ends_with("base")).context("there is no base")?;
    refuses_mutants(&render(base)?)
}

/// Folders that make objects of their own. Components are in those that use them.
fn kustomizations() -> anyhow::Result<Vec<PathBuf>> {
    let root = sh::root().join("deploy/kubernetes");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "kustomization.yaml"
                && fs::read_to_string(entry.path())?.lines().any(|it| it == "kind: Kustomization")
            {
                found.push(folder.clone());
            }
        }
    }
    ensure!(!found.is_empty(), "there is no kustomization below {}", root.display());
    found.sort();
    Ok(found)
}

fn render(folder: &Path) -> anyhow::Result<String> {
    sh::output(Command::new(KUSTOMIZE.program()?).arg("build").arg(folder))
}

/// Nothing, or what is wrong.
fn complaints(objects: &str) -> anyhow::Result<String> {
    let pattern = schemas::folder()?.join("{{.ResourceKind}}{{.KindSuffix}}.json");
    let mut kubeconform = Command::new(KUBECONFORM.program()?)
        .args(["-strict", "-schema-location"])
        .arg(pattern)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start kubeconform")?;
    let mut input = kubeconform.stdin.take().context("kubeconform has no standard input")?;
    input.write_all(objects.as_bytes()).context("cannot write to kubeconform")?;
    drop(input);
    let output = kubeconform.wait_with_output().context("cannot wait for kubeconform")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match (output.status.success(), text.is_empty()) {
        (true, _) => Ok(String::new()),
        (false, false) => Ok(text),
        (false, true) => bail!("kubeconform failed without a word: {}", output.status),
    }
}

fn refuses_mutants(base: &str) -> anyhow::Result<()> {
    for (good, bad) in MUTANTS {
        ensure!(base.contains(good), "the base has no `{good}` any more: renew the mutants");
        let mutant = base.replace(good, bad);
        ensure!(!complaints(&mutant)?.is_empty(), "a manifest with `{}` is taken for a good one", bad.trim());
    }
    println!("{} manifests with a mistake refused", MUTANTS.len());
    Ok(())
}

fn shown(folder: &Path) -> String {
    folder.strip_prefix(sh::root()).unwrap_or(folder).display().to_string()
}
