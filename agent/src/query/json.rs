//! How times and ids look in JSON.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serializer;

use crate::clock::Wall;

/// Stands for a time in schemas.
pub(crate) struct Time;

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
pub(crate) fn time<S: Serializer>(unix_ns: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Wall(*unix_ns))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
pub(crate) fn hex<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:016x}"))
}

#[expect(clippy::ref_option, reason = "serde calls it")]
pub(crate) fn time_or_null<S: Serializer>(unix_ns: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match unix_ns {
        Some(unix_ns) => time(unix_ns, serializer),
        None => serializer.serialize_none(),
    }
}
