//! What the agent tells of itself, as docs/metrics.md has it: written here, so that it is never told twice.

use std::{env, fs, path::Path};

use agent_common::counter;

use super::{Kind, Vital};

/// Between this and [`END`] everything is ours.
const BEGIN: &str = "<!-- written by the test vitals::document; UPDATE_EXPECT=1 renews it -->\n";
const END: &str = "<!-- end -->";

/// `UPDATE_EXPECT=1` writes what was got.
#[test]
fn the_document_of_metrics_says_what_the_code_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let got = format!("{before}{BEGIN}\n{}\n{END}{after}", tables());
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, &got).unwrap();
    } else {
        assert_eq!(got, text, "docs/metrics.md differs; UPDATE_EXPECT=1 rewrites it");
    }
}

fn tables() -> String {
    let mut numbers = vec!["| name | kind | meaning |".to_owned(), "|---|---|---|".to_owned()];
    let mut reasons = vec!["| reason | what |".to_owned(), "|---|---|".to_owned()];
    let losses = counter::TABLE.iter().filter(|it| it.kind == counter::Kind::Lost);
    reasons.extend(losses.map(|it| format!("| `{}` | {} |", it.name, phrase(it.doc))));
    for vital in Vital::ALL {
        let doc = phrase(vital.doc());
        match vital.kind() {
            Kind::Total(name) => numbers.push(format!("| `taskscope.{name}` | counter | {doc} |")),
            Kind::Level(name) => numbers.push(format!("| `taskscope.{name}` | gauge | {doc} |")),
            Kind::Lost(reason) => reasons.push(format!("| `{reason}` | {doc} |")),
        }
    }
    format!(
        "{}\n\n### Reasons of `taskscope.lost`\n\
         In the order of the flow: first those of the kernel half. `taskscope status` shows the same numbers.\n\n{}\n",
        numbers.join("\n"),
        reasons.join("\n")
    )
}

/// A doc comment as a cell.
fn phrase(doc: &str) -> &str {
    doc.trim().trim_end_matches('.')
}
