//! The capabilities that `deploy/kubernetes` asks for, and programs that have these and no others.

use std::{fs, path::Path, process::Command};

use crate::mortal::wrapped;

const MANIFEST: &str = "deploy/kubernetes/base/daemonset.yaml";

/// As `setpriv` names them: `bpf`.
#[track_caller]
pub fn of_the_manifest() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let added = added(&text).unwrap_or_else(|| panic!("{MANIFEST} adds no capabilities"));
    assert!(!added.is_empty(), "{MANIFEST} adds no capabilities");
    added
}

fn added(manifest: &str) -> Option<Vec<String>> {
    let line =
        manifest.lines().find(|it| it.trim_start().starts_with("capabilities: {drop: [ALL], add: ["))?;
    let (_, list) = line.split_once("add: [")?;
    let (list, _) = list.split_once(']')?;
    Some(list.split(',').map(|it| it.trim().to_ascii_lowercase()).collect())
}

/// `command` as root with these capabilities, as a container runtime starts it: none can be got back.
pub fn with(capabilities: &[String], command: &Command) -> Command {
    let added: Vec<_> = capabilities.iter().map(|it| format!(",+{it}")).collect();
    let list = format!("-all{}", added.concat());
    let mut limited = Command::new("setpriv");
    limited.args(["--bounding-set", &list, "--inh-caps", &list, "--no-new-privs", "--"]);
    wrapped(limited, command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_line_of_the_manifest() {
        let text = "a:\n  capabilities: {drop: [ALL], add: [BPF, SYS_PTRACE]}\n";
        assert_eq!(added(text).unwrap(), ["bpf", "sys_ptrace"]);
        assert_eq!(added("capabilities: {add: [BPF]}"), None);
        assert!(of_the_manifest().contains(&"bpf".to_owned()));
    }
}
