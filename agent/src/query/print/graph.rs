//! The topology for Graphviz and for Mermaid. Edges between the same two names are drawn apart.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{
    table::{Tone, printable},
    topology, units,
};
use crate::query::topology::Edge;

pub(super) fn dot(edges: &[Edge<'_>], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "digraph taskscope {{")?;
    writeln!(out, "  rankdir=LR;\n  node [shape=box];")?;
    for edge in edges {
        let [client, server] = ends(edge).map(|it| it.replace('\\', "\\\\").replace('"', "\\\""));
        let color = match topology::tone(edge) {
            Tone::Calm => "",
            Tone::Warning => ", color=orange",
            Tone::Alarm => ", color=red",
        };
        writeln!(out, "  \"{client}\" -> \"{server}\" [label=\"{}\"{color}];", label(edge))?;
    }
    writeln!(out, "}}")
}

pub(super) fn mermaid(edges: &[Edge<'_>], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "flowchart LR")?;
    let mut nodes = BTreeMap::new();
    for name in edges.iter().flat_map(ends) {
        let next = nodes.len();
        if let std::collections::btree_map::Entry::Vacant(entry) = nodes.entry(name) {
            // Mermaid has no escapes in labels but HTML's.
            let label = entry.key().replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
            writeln!(out, "  n{next}[\"{label}\"]")?;
            entry.insert(next);
        }
    }
    for edge in edges {
        let [client, server] = ends(edge).map(|it| nodes.get(&it).copied().unwrap_or_default());
        writeln!(out, "  n{client} -->|\"{}\"| n{server}", label(edge))?;
    }
    Ok(())
}

fn ends(edge: &Edge<'_>) -> [String; 2] {
    [edge.client_name, edge.server_name].map(printable)
}

fn label(edge: &Edge<'_>) -> String {
    let mut words = vec![format!(":{}", edge.server.port)];
    if let Some(requests) = &edge.numbers.requests {
        words.push(format!("{} requests", requests.count));
        if requests.errors != 0 {
            words.push(format!("{} errors", requests.errors));
        }
        words.extend(requests.p99_seconds.map(|it| format!("p99 {}", units::duration(it))));
    } else if let Some(bytes) = &edge.numbers.bytes {
        words.push(units::bytes(bytes.to_server.saturating_add(bytes.to_client)));
    }
    let failed = edge.numbers.connections.map_or(0, |it| it.failed);
    if failed != 0 {
        words.push(format!("{failed} failed"));
    }
    words.join(", ")
}
