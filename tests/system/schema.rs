//! What commands print, held against the schema that their documentation is made from.

use agent::query::schema::schema;
use serde_json::Value;

#[track_caller]
pub(crate) fn assert_valid(command: &str, answer: &Value) {
    let schema = schema(command).unwrap_or_else(|| panic!("`{command}` has no schema"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(answer).map(|it| format!("{} at {}", it, it.instance_path())).collect();
    assert!(errors.is_empty(), "{command}: {}", errors.join("; "));
}

/// A check that accepts everything would prove nothing.
#[test]
fn an_answer_without_a_key_is_refused() {
    let schema = schema("findings").unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(!validator.is_valid(&serde_json::json!({"command": "findings", "items": []})));
}
