//! Schemas for kubeconform, which would fetch others' from the web: made of the description that
//! Kubernetes' own module has of its API.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use crate::{cache, fixtures::go::go, sh};

const MODULE: &str = "k8s.io/kubernetes";
const VERSION: &str = "v1.36.3";
/// Raised when the same description makes other schemas.
const FORM: &str = "1";

const REFERENCE: &str = "#/definitions/";
/// Kinds that a manifest of ours may have. Of another there is no schema, and kubeconform says so.
const KINDS: &[&str] = &[
    "io.k8s.api.apps.v1.DaemonSet",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.rbac.v1.ClusterRole",
    "io.k8s.api.rbac.v1.ClusterRoleBinding",
    "io.k8s.api.scheduling.v1.PriorityClass",
];

/// Numbers that are written as text as well.
const NUMBER_OR_TEXT: &[(&str, &str)] = &[
    ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", "integer"),
    ("io.k8s.apimachinery.pkg.api.resource.Quantity", "number"),
];

/// Where they are, one file a kind.
pub(super) fn folder() -> anyhow::Result<PathBuf> {
    let folder = cache::dir()?.join(format!("kubernetes-schemas-{VERSION}-{FORM}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let partial = cache::dir()?.join(format!("kubernetes-schemas-{VERSION}.partial"));
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let api: Value = serde_json::from_str(&description(&partial.join("modules"))?)?;
    for (name, schema) in schemas(&api)? {
        let path = partial.join(name);
        fs::write(&path, schema.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    fs::rename(&partial, &folder).with_context(|| format!("cannot name {}", folder.display()))?;
    Ok(folder)
}

/// The module is 250 MB, of which one file is wanted: it does not stay.
fn description(modules: &Path) -> anyhow::Result<String> {
    sh::note(&format!("fetching the schemas of Kubernetes {VERSION}, once: 40 MB"));
    let said = sh::output(
        go(sh::root())
            .args(["mod", "download", "-json", &format!("{MODULE}@{VERSION}")])
            .env("GOMODCACHE", modules)
            .env("GOFLAGS", "-modcacherw"),
    )?;
    let said: Value = serde_json::from_str(&said).context("`go mod download` printed no JSON")?;
    let dir = said["Dir"].as_str().context("`go mod download` named no folder")?;
    let path = Path::new(dir).join("api/openapi-spec/swagger.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::remove_dir_all(modules).with_context(|| format!("cannot remove {}", modules.display()))?;
    Ok(text)
}

/// File names and what is in them.
fn schemas(api: &Value) -> anyhow::Result<Vec<(String, Value)>> {
    let definitions = api["definitions"].as_object().context("the description has no definitions")?;
    let schema = |kind: &&str| {
        let name = file_name(definitions, kind)?;
        let mut used = Map::new();
        for name in closure(definitions, kind)? {
            used.insert(name.to_owned(), strict(name, &definitions[name]));
        }
        Ok((name, json!({"$ref": format!("{REFERENCE}{kind}"), "definitions": used})))
    };
    KINDS.iter().map(schema).collect()
}

/// As kubeconform asks for it: `daemonset-apps-v1.json`.
fn file_name(definitions: &Map<String, Value>, definition: &str) -> anyhow::Result<String> {
    let kinds = &definitions.get(definition).with_context(|| format!("there is no {definition}"))?;
    let kind = &kinds["x-kubernetes-group-version-kind"][0];
    let text = |key: &str| kind[key].as_str().with_context(|| format!("{definition} does not say its {key}"));
    let group = text("group")?.split('.').next().unwrap_or_default().to_owned();
    let parts = [text("kind")?.to_lowercase(), group, text("version")?.to_owned()];
    Ok(format!("{}.json", parts.iter().filter(|it| !it.is_empty()).cloned().collect::<Vec<_>>().join("-")))
}

/// A definition and all that it is made of.
fn closure<'a>(definitions: &'a Map<String, Value>, first: &'a str) -> anyhow::Result<BTreeSet<&'a str>> {
    let mut all = BTreeSet::new();
    let mut waiting = vec![first];
    while let Some(name) = waiting.pop() {
        ensure!(definitions.contains_key(name), "there is no definition {name}");
        if all.insert(name) {
            references(&definitions[name], &mut waiting);
        }
    }
    Ok(all)
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix(REFERENCE));
            found.extend(name);
            map.values().for_each(|it| references(it, found));
        }
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

/// Fields that are not described are mistakes.
fn strict(name: &str, definition: &Value) -> Value {
    if let Some((_, number)) = NUMBER_OR_TEXT.iter().find(|(it, _)| *it == name) {
        return json!({"oneOf": [{"type": "string"}, {"type": number}]});
    }
    let mut definition = definition.clone();
    if let Some(map) = definition.as_object_mut()
        && map.contains_key("properties")
    {
        map.entry("additionalProperties").or_insert(Value::Bool(false));
    }
    definition
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definitions() -> Map<String, Value> {
        let text = json!({
            "a.Pod": {
                "properties": {"spec": {"$ref": "#/definitions/a.Spec"}, "pod": {"$ref": "#/definitions/a.Pod"}},
                "x-kubernetes-group-version-kind": [{"group": "apps.k8s.io", "kind": "Pod", "version": "v1"}],
            },
            "a.Spec": {"properties": {"items": {"items": {"$ref": "#/definitions/a.Item"}}}},
            "a.Item": {"type": "string"},
            "a.Other": {"x-kubernetes-group-version-kind": [{"group": "", "kind": "Other", "version": "v1"}]},
        });
        text.as_object().unwrap().clone()
    }

    #[test]
    fn files_are_named_as_kubeconform_asks_for_them() {
        assert_eq!(file_name(&definitions(), "a.Pod").unwrap(), "pod-apps-v1.json");
        assert_eq!(file_name(&definitions(), "a.Other").unwrap(), "other-v1.json");
        assert!(file_name(&definitions(), "a.Item").is_err());
        assert!(file_name(&definitions(), "a.None").is_err());
    }

    #[test]
    fn a_schema_has_all_that_it_refers_to_and_no_more() {
        let definitions = definitions();
        let all: Vec<_> = closure(&definitions, "a.Pod").unwrap().into_iter().collect();
        assert_eq!(all, ["a.Item", "a.Pod", "a.Spec"]);
    }

    #[test]
    fn unknown_fields_are_mistakes_where_fields_are_known() {
        assert_eq!(strict("a", &definitions()["a.Spec"])["additionalProperties"], false);
        assert_eq!(strict("a", &definitions()["a.Item"]), definitions()["a.Item"]);
        let quantity = strict("io.k8s.apimachinery.pkg.api.resource.Quantity", &json!({"type": "string"}));
        assert_eq!(quantity["oneOf"][1]["type"], "number");
    }
}
