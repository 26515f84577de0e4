//! The JSON of every command, as JSON Schema and as a document, from the messages of the API.

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{
    in_full::Whole as EdgeInFull,
    proto::{DoctorAnswer, FindingsAnswer, StatusAnswer, TargetsAnswer, TraceAnswer, TracesAnswer},
    topology::Whole,
};

type Make = fn() -> Value;

/// A command line and the schema of what it prints with `-o json`.
const COMMANDS: [(&str, Make); 8] = [
    ("doctor", make::<DoctorAnswer>),
    ("status", make::<StatusAnswer>),
    ("targets", make::<TargetsAnswer>),
    ("topology", make::<Whole<'_>>),
    ("topology --edge ID", make::<EdgeInFull<'_>>),
    ("traces", make::<TracesAnswer>),
    ("traces TRACE_ID", make::<TraceAnswer>),
    ("findings", make::<FindingsAnswer>),
];

const PREFACE: &str = "# The JSON of every command

Generated from `agent/proto/taskscope/v1/query.proto`; a test compares. To write it anew:
`UPDATE_EXPECT=1 cargo xtask test pure json_reference`.

Every command prints one object with `-o json`; with `--watch -o json`, one a line. Times are RFC 3339 in
UTC with nanoseconds. The end of a number's name is its unit. What is unknown is `null`: never 0, and never
a missing key. New keys may come; those that are here stay what they are.

| key | type | meaning |
|---|---|---|
| `command` | string | the command that was asked |
| `agent` | Agent | who answered |
| `time` | time | when the items were true |
| `window_seconds` | number or null | how far back the items look; null when they are of this moment (`status`, `targets`, `doctor`), or count from their own `first_seen` (`topology`) |
| `items` | list | see below |
| `lost` | map of integer | what the agent lost since it started, by reason |
";

/// JSON Schema of the output of `command`: `topology`, or `traces TRACE_ID` for the spans of one trace.
/// `None` when there is no such command.
#[must_use]
pub fn schema(command: &str) -> Option<Value> {
    COMMANDS.iter().find(|(name, _)| *name == command).map(|(_, make)| make())
}

/// The text of `docs/json.md`.
#[must_use]
pub fn json_reference() -> String {
    let mut text = format!("{PREFACE}\n## Items\n\n| command | one item |\n|---|---|\n");
    let mut shapes = BTreeMap::new();
    for (command, make) in COMMANDS {
        let schema = make();
        let items = kind(&schema["properties"]["items"]["items"]);
        line(&mut text, &format!("| `taskscope {command}` | {items} |"));
        if let Some(defined) = schema["$defs"].as_object() {
            shapes.extend(defined.iter().map(|(name, shape)| (name.clone(), shape.clone())));
        }
    }
    text.push_str("\n## Shapes\n");
    for (name, shape) in &shapes {
        describe(&mut text, name, shape);
    }
    text
}

fn make<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

fn describe(text: &mut String, name: &str, shape: &Value) {
    line(text, &format!("\n### {name}"));
    if let Some(meaning) = shape["description"].as_str() {
        line(text, meaning);
    }
    let Some(fields) = shape["properties"].as_object() else {
        line(text, &format!("\n{}.", kind(shape)));
        return;
    };
    if shape["anyOf"].is_array() {
        line(text, &format!("\nThe fields of {}, and:", alternatives(&shape["anyOf"])));
    }
    text.push_str("\n| key | type | meaning |\n|---|---|---|\n");
    for (field, schema) in fields {
        let meaning = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        line(text, &format!("| `{field}` | {} | {meaning} |", kind(schema)));
    }
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or(reference).to_owned();
    }
    if schema["anyOf"].is_array() {
        return alternatives(&schema["anyOf"]);
    }
    if schema["format"] == "date-time" {
        return match &schema["type"] {
            Value::Array(_) => "time or null".to_owned(),
            _ => "time".to_owned(),
        };
    }
    match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        Value::String(name) => match name.as_str() {
            "array" => format!("list of {}", kind(&schema["items"])),
            "object" => format!("map of {}", kind(&schema["additionalProperties"])),
            name => name.to_owned(),
        },
        _ => "anything".to_owned(),
    }
}

fn alternatives(schemas: &Value) -> String {
    let schemas = schemas.as_array().map(Vec::as_slice).unwrap_or_default();
    schemas.iter().map(kind).collect::<Vec<_>>().join(" or ")
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
pub(super) mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    #[test]
    fn json_reference_is_what_is_in_the_file() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
        compare(&file, &json_reference());
    }

    #[test]
    fn every_key_is_always_there() {
        for (command, make) in COMMANDS {
            let root = make();
            let shapes = root["$defs"].as_object().unwrap().values().chain([&root]);
            for shape in shapes.filter(|it| it["properties"].is_object()) {
                let n_fields = shape["properties"].as_object().unwrap().len();
                let n_required = shape["required"].as_array().map_or(0, Vec::len);
                assert_eq!(n_required, n_fields, "{command}: {shape:#}");
            }
        }
    }

    #[test]
    fn an_unknown_command_has_no_schema() {
        assert_eq!(schema("weather"), None);
        assert!(schema("topology").is_some());
    }

    /// `UPDATE_EXPECT=1` writes what was got.
    #[track_caller]
    pub(in crate::query) fn compare(file: &Path, got: &str) {
        if env::var_os("UPDATE_EXPECT").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, got).unwrap();
        }
        let want = fs::read_to_string(file).unwrap_or_default();
        assert_eq!(got, want, "{} differs; UPDATE_EXPECT=1 rewrites it", file.display());
    }
}
