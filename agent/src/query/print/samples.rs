//! Compares printed samples with the files in `golden/`; `UPDATE_EXPECT=1` rewrites them.

use std::path::Path;

use super::{Format, Headers, Paint, Show, Style};
use crate::query::schema;

#[track_caller]
pub(super) fn check(answer: &(impl Show + 'static), format: Format, file: &str) {
    let style = Style { format, headers: Headers::Shown, paint: Paint::Plain };
    let got = if format == Format::Json {
        let line = answer.json().unwrap();
        assert!(!line.contains('\n'), "one object a line");
        format!("{:#}\n", serde_json::from_str::<serde_json::Value>(&line).unwrap())
    } else {
        let mut out = Vec::new();
        answer.text(&style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    compare(&got, file);
}

#[track_caller]
pub(super) fn compare(got: &str, file: &str) {
    schema::tests::compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/query/golden").join(file), got);
}
