//! What deploy/ asks the kernel for and tells the agent is what the code knows: its files, and the documents
//! that speak of them, are read and compared.

use std::{fs, path::Path};

use clap::{Args as _, Command, FromArgMatches as _};
use serde_json::Value;

use super::{capabilities::Capability, facts::PRIVILEGES};
use crate::config::{self, AgentArgs, TABLE};

const UNIT: &str = "deploy/taskscope.service";
const DAEMONSET: &str = "deploy/kubernetes/base/daemonset.yaml";
const SERVICE_NAMES: &str = "deploy/kubernetes/components/service-names/kustomization.yaml";
const DOCUMENTS: [&str; 2] = ["README.md", "deploy/README.md"];
/// Asked for by nobody, but spoken of: what old kernels need.
const OF_OLD_KERNELS: [&str; 2] = ["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"];

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn container() -> Value {
    let manifest: Value = serde_saphyr::from_str(&text(DAEMONSET)).unwrap();
    manifest["spec"]["template"]["spec"]["containers"][0].clone()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Words of capitals that begin so.
fn words<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_part = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
    text.split(|it| !is_part(it)).filter(|it| it.starts_with(prefix) && *it != prefix).collect()
}

fn wanted() -> Vec<&'static str> {
    Capability::WANTED.map(Capability::name).to_vec()
}

#[test]
fn the_unit_and_the_manifest_ask_for_what_doctor_asks_for() {
    let unit = text(UNIT);
    for setting in ["CapabilityBoundingSet=", "AmbientCapabilities="] {
        let line = unit.lines().find_map(|it| it.strip_prefix(setting)).unwrap();
        assert_eq!(line.split(' ').collect::<Vec<_>>(), wanted(), "{setting}");
    }
    let security = &container()["securityContext"];
    assert_eq!(texts(&security["capabilities"]["drop"]), ["ALL"]);
    let component = text(SERVICE_NAMES);
    assert!(component.contains("/securityContext/capabilities/add/-"), "{component}");
    let added = component.lines().find_map(|it| it.trim().strip_prefix("value: ")).unwrap();
    let asked = texts(&security["capabilities"]["add"]).into_iter().chain([added.to_owned()]);
    assert_eq!(asked.map(|it| format!("CAP_{it}")).collect::<Vec<_>>(), wanted());
}

#[test]
fn documents_name_these_and_no_others() {
    let file = format!("{}=ep", wanted().join(",").to_lowercase());
    assert!(PRIVILEGES.contains(&file), "{PRIVILEGES}");
    assert!(text("deploy/README.md").contains(&file), "the line of setcap is not `{file}`");
    for document in DOCUMENTS {
        let text = text(document);
        let named = words(&text, "CAP_");
        for capability in wanted() {
            assert!(named.contains(&capability), "{document} does not name {capability}");
        }
        for name in named {
            assert!(wanted().contains(&name) || OF_OLD_KERNELS.contains(&name), "{document} names {name}");
        }
    }
}

#[test]
fn what_the_agent_is_started_with_it_takes() {
    let unit = text(UNIT);
    let started = unit.lines().find_map(|it| it.strip_prefix("ExecStart=")).unwrap();
    let of_unit: Vec<_> = started.split(' ').skip(1).map(str::to_owned).collect();
    for line in [of_unit, texts(&container()["args"])] {
        let command = AgentArgs::augment_args(Command::new("agent"));
        let matches = command.try_get_matches_from(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert_eq!(line[0], "agent");
        config::load(&AgentArgs::from_arg_matches(&matches).unwrap(), &|_| None).unwrap();
    }
}

#[test]
fn variables_in_deploy_are_settings_with_good_values() {
    let mut files = Vec::new();
    list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy"), &mut files);
    assert!(5 < files.len(), "{files:?}");
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for variable in words(&text, "TASKSCOPE_") {
            let is_known = TABLE.iter().any(|it| it.variable() == variable);
            // Made by Kubernetes itself.
            assert!(is_known || variable == "TASKSCOPE_PORT", "{}: {variable}", file.display());
        }
        let literals = text.lines().filter_map(|it| it.trim().strip_prefix("- TASKSCOPE_")?.split_once('='));
        for (name, value) in literals {
            let env =
                |asked: &str| (asked.strip_prefix("TASKSCOPE_") == Some(name)).then(|| value.to_owned());
            let loaded = config::load(&AgentArgs::default(), &env);
            loaded.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
}

fn list(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}
