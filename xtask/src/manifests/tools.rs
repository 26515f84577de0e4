//! Programs that Go installs into the cache, one folder a version. Checked against Go's checksum database.

use std::{fs, path::PathBuf};

use anyhow::Context as _;

use crate::{cache, fixtures::go::go, sh};

pub(super) const KUSTOMIZE: GoTool = GoTool {
    name: "kustomize",
    package: "sigs.k8s.io/kustomize/kustomize/v5",
    version: "v5.7.1",
    cost: "half a minute",
};

pub(super) const KUBECONFORM: GoTool = GoTool {
    name: "kubeconform",
    package: "github.com/yannh/kubeconform/cmd/kubeconform",
    version: "v0.8.0",
    cost: "some seconds",
};

pub(super) struct GoTool {
    name: &'static str,
    package: &'static str,
    version: &'static str,
    cost: &'static str,
}

impl GoTool {
    pub(super) fn program(&self) -> anyhow::Result<PathBuf> {
        let Self { name, package, version, cost } = self;
        let folder = cache::dir()?.join(format!("{name}-{version}"));
        let program = folder.join(name);
        if sh::is_program(&program) {
            return Ok(program);
        }
        sh::note(&format!("building {name} {version}, once: {cost}"));
        // Under another name until it is whole: an interrupted build must not be taken for a good one.
        let partial = cache::dir()?.join(format!("{name}-{version}.partial"));
        sh::run(
            go(sh::root())
                .args(["install", "-trimpath", "-ldflags", "-s -w"])
                .env("GOBIN", &partial)
                .arg(format!("{package}@{version}")),
        )?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::rename(partial.join(name), &program)
            .with_context(|| format!("cannot name {}", program.display()))?;
        fs::remove_dir(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        Ok(program)
    }
}
