//! The topology for Graphviz and for Mermaid. Edges between the same two names are drawn apart.
//!
//! Names come from the watched processes: neither language may take them for its own words.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{self, Write},
};

use super::{
    faults,
    table::{Tone, printable},
    topology, units,
};
use crate::query::{
    proto::{Peer, peer},
    topology::Edge,
};

/// A box for what runs on this node; what is outside looks otherwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Here,
    Outside,
}

struct Node<'a> {
    name: &'a str,
    place: Place,
}

struct Arrow<'a> {
    client: usize,
    server: usize,
    edge: &'a Edge<'a>,
}

struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    arrows: Vec<Arrow<'a>>,
}

impl<'a> Graph<'a> {
    fn new(edges: &'a [Edge<'a>]) -> Self {
        let (mut nodes, mut known) = (Vec::new(), BTreeMap::new());
        let mut node = |name: &'a str, peer: &Peer| {
            let place = match peer.of {
                Some(peer::Of::Outside(_)) => Place::Outside,
                Some(peer::Of::Target(_)) | None => Place::Here,
            };
            match known.entry((name, place)) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    nodes.push(Node { name, place });
                    *entry.insert(nodes.len() - 1)
                }
            }
        };
        let mut arrows = Vec::new();
        for edge in edges {
            let client = node(edge.client_name, edge.client);
            let server = node(edge.server_name, edge.server.peer);
            arrows.push(Arrow { client, server, edge });
        }
        Self { nodes, arrows }
    }
}

pub(super) fn dot(edges: &[Edge<'_>], out: &mut dyn Write) -> io::Result<()> {
    let graph = Graph::new(edges);
    writeln!(out, "digraph taskscope {{")?;
    writeln!(out, "  rankdir=LR;\n  node [shape=box];")?;
    for (n, node) in graph.nodes.iter().enumerate() {
        let shape = match node.place {
            Place::Here => "",
            Place::Outside => ", shape=ellipse, style=dashed",
        };
        writeln!(out, "  n{n} [label=\"{}\"{shape}];", for_dot(node.name))?;
    }
    for Arrow { client, server, edge } in &graph.arrows {
        let color = match topology::tone(edge) {
            Tone::Calm => "",
            Tone::Warning => ", color=orange",
            Tone::Alarm => ", color=red, fontcolor=red, penwidth=2",
        };
        writeln!(out, "  n{client} -> n{server} [label=\"{}\"{color}];", label(edge).join("\\n"))?;
    }
    writeln!(out, "}}")
}

/// In a quoted label of Graphviz a backslash begins an escape, and an ampersand an entity of HTML.
fn for_dot(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}

pub(super) fn mermaid(edges: &[Edge<'_>], out: &mut dyn Write) -> io::Result<()> {
    let graph = Graph::new(edges);
    writeln!(out, "flowchart LR")?;
    for (n, node) in graph.nodes.iter().enumerate() {
        let (open, close) = match node.place {
            Place::Here => ("[", "]"),
            Place::Outside => ("([", "])"),
        };
        writeln!(out, "  n{n}{open}\"{}\"{close}", for_mermaid(node.name))?;
    }
    for Arrow { client, server, edge } in &graph.arrows {
        writeln!(out, "  n{client} -->|\"{}\"| n{server}", label(edge).join("<br>"))?;
    }
    for (tone, color) in [(Tone::Warning, "orange"), (Tone::Alarm, "red")] {
        let arrows = graph.arrows.iter().enumerate();
        let colored = arrows.filter(|(_, it)| topology::tone(it.edge) == tone);
        let numbers: Vec<_> = colored.map(|(n, _)| n.to_string()).collect();
        if !numbers.is_empty() {
            writeln!(out, "  linkStyle {} stroke:{color}", numbers.join(","))?;
        }
    }
    Ok(())
}

/// Mermaid reads labels as Markdown and as HTML, `fa:fa-NAME` as an icon and `#NUMBER;` as a character. A
/// label without anything is an error.
fn for_mermaid(text: &str) -> String {
    if text.is_empty() {
        return units::UNKNOWN.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for it in printable(text).chars() {
        match it {
            '"' | '#' | '&' | '<' | '>' | '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '$' | ':' => {
                escaped.push_str(&format!("#{};", u32::from(it)));
            }
            _ => escaped.push(it),
        }
    }
    escaped
}

/// Lines of nothing but our own words: the port with what went over it, requests, what went wrong.
fn label(edge: &Edge<'_>) -> Vec<String> {
    let numbers = edge.numbers;
    let sum = numbers.bytes.map(|it| it.to_server.saturating_add(it.to_client));
    let mut lines = vec![match sum {
        Some(bytes @ 1..) => format!(":{}, {}", edge.server.port, units::bytes(bytes)),
        Some(0) | None => format!(":{}", edge.server.port),
    }];
    if let Some(requests) = &numbers.requests {
        let p99 = requests.p99_seconds.map(|it| format!(", p99 {}", units::duration(it)));
        lines.push(format!("{} requests{}", requests.count, p99.unwrap_or_default()));
        if requests.errors != 0 {
            lines.push(format!("{} errors", requests.errors));
        }
    }
    lines.extend(faults::of(numbers).map(|(fault, count)| format!("{count} {}", fault.name)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{
        proto::{Address, By, Edge as Numbers, End, Head, Target, TopologyAnswer},
        topology::Topology,
    };

    /// What broke one of the two, or could: read by `dot` and by `mermaid` themselves once, by hand.
    const HOSTILE: [&str; 8] = [
        "a\"]; evil [label=\"",
        "back\\slash\\",
        "two\nlines\\n",
        "<b>&lt;#60;&amp;",
        "`*_~$[md](x)",
        "1. end %% --> subgraph",
        "名前 \u{202e}é fa:fa-car",
        "",
    ];

    #[test]
    fn names_stay_names() {
        let hostile = hostile();
        let text = |draw: fn(&[Edge<'_>], &mut dyn Write) -> io::Result<()>| {
            let mut out = Vec::new();
            draw(&hostile.edges(), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let dot = text(dot);
        assert_eq!(dot.lines().count(), 2 + 1 + 8 + 8 + 1, "{dot}");
        for want in [
            r#"n0 [label="a\"]; evil [label=\""];"#,
            r#"n1 [label="back\\slash\\", shape=ellipse, style=dashed];"#,
            r#"[label="two�lines\\n"];"#,
            r##"[label="<b>&amp;lt;#60;&amp;amp;""##,
        ] {
            assert!(dot.contains(want), "{want} is not in:\n{dot}");
        }
        let mermaid = text(mermaid);
        assert_eq!(mermaid.lines().count(), 1 + 8 + 8, "{mermaid}");
        for want in [
            "n0[\"a#34;#93;; evil #91;label=#34;\"]",
            "n3([\"#60;b#62;#38;lt;#35;60;#38;amp;\"])",
            "fa#58;fa-car",
            "[\"-\"]",
        ] {
            assert!(mermaid.contains(want), "{want} is not in:\n{mermaid}");
        }
    }

    /// A ring of them, each second one outside.
    fn hostile() -> Topology {
        let end = |(n, name): (usize, &&str)| {
            let name = (*name).to_owned();
            let of = if n % 2 == 0 {
                peer::Of::Target(Target { service: name.clone(), ..Target::default() })
            } else {
                peer::Of::Outside(Address { address: name.clone(), name: None })
            };
            End { peer: Some(Peer { of: Some(of) }), name, address: None }
        };
        let ring = |n: u32| Numbers { client: n, server: (n + 1) % 8, server_port: 80, ..Numbers::default() };
        let answer = TopologyAnswer {
            head: Some(Head::default()),
            items: (0..8).map(ring).collect(),
            ends: HOSTILE.iter().enumerate().map(end).collect(),
            by: By::Service.into(),
            ..TopologyAnswer::default()
        };
        answer.try_into().unwrap()
    }
}
