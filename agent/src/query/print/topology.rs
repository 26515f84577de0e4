//! Who talks to whom, as a table or a graph.

use std::io::{self, Write};

use super::{
    Format, Show, Style, faults, graph, server_name,
    table::{self, Column, Tone, number, text, wide},
    units,
};
use crate::query::{
    proto::{BothWays, Connections, Network, Peer, Requests, peer},
    topology::{Edge, Topology},
};

impl Show for Topology {
    fn n_items(&self) -> usize {
        self.n_edges()
    }

    fn text(&self, style: &Style, out: &mut dyn Write) -> io::Result<()> {
        write(self, style, out)
    }

    fn json(&self) -> serde_json::Result<String> {
        super::json(&self.whole())
    }
}

/// A function, because an edge borrows from its answer.
fn columns<'a>() -> [Column<Edge<'a>>; 20] {
    [
        number("SENT", |edge, _| {
            units::or_unknown(edge.numbers.bytes, |it: BothWays| units::bytes(it.to_server))
        }),
        number("RECEIVED", |edge, _| {
            units::or_unknown(edge.numbers.bytes, |it: BothWays| units::bytes(it.to_client))
        }),
        number("CONNS", |edge, _| connections(edge, |it| it.opened)),
        number("OPEN", |edge, _| connections(edge, |it| it.active)),
        number("FAILED", |edge, _| connections(edge, |it| it.failed)),
        number("REQUESTS", |edge, _| requests(edge, |it| Some(it.count.to_string()))),
        number("ERRORS", |edge, _| requests(edge, |it| Some(it.errors.to_string()))),
        wide(number("P50", |edge, _| requests(edge, |it| it.p50_seconds.map(units::duration)))),
        wide(number("P95", |edge, _| requests(edge, |it| it.p95_seconds.map(units::duration)))),
        number("P99", |edge, _| requests(edge, |it| it.p99_seconds.map(units::duration))),
        number("RTT", |edge, _| network(edge, |it| it.rtt_seconds.map(units::duration))),
        number("SEEN", |edge, now_ns| units::age(now_ns, edge.numbers.last_seen)),
        wide(text("ROLE", |edge, _| edge.role_confidence.to_owned())),
        wide(text("VIP", vip)),
        wide(text("ID", |edge, _| format!("{:016x}", edge.numbers.id))),
        wide(text("PIDS", pids)),
        wide(text("ADDRESSES", addresses)),
        wide(text("FAULTS", |edge, _| faults::in_words(edge.numbers))),
        text("NET", |edge, _| edge.transport.to_owned()),
        text("EDGE", |edge, _| format!("{} → {}", edge.client_name, server_name(edge))),
    ]
}

fn write(answer: &Topology, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let edges = answer.edges();
    match style.format {
        Format::Dot => graph::dot(&edges, out),
        Format::Mermaid => graph::mermaid(&edges, out),
        Format::Table | Format::Wide | Format::Json | Format::Tree => {
            table::write(&edges, &columns(), answer.head.time, tone, style, out)
        }
    }
}

pub(super) fn connections(edge: &Edge<'_>, number: fn(&Connections) -> u64) -> String {
    units::or_unknown(edge.numbers.connections.as_ref(), |it| number(it).to_string())
}

pub(super) fn requests(edge: &Edge<'_>, cell: fn(&Requests) -> Option<String>) -> String {
    units::or_unknown(edge.numbers.requests.as_deref().and_then(cell), |it| it)
}

pub(super) fn network(edge: &Edge<'_>, cell: fn(&Network) -> Option<String>) -> String {
    units::or_unknown(edge.numbers.network.as_deref().and_then(cell), |it| it)
}

/// Where the client connected to, and the port of the server behind it.
fn vip(edge: &Edge<'_>, _: u64) -> String {
    units::or_unknown(edge.numbers.vip.as_deref(), |it| {
        format!("{} → {}", units::socket(&it.address, it.port), it.backend_port)
    })
}

fn pids(edge: &Edge<'_>, _: u64) -> String {
    let pid = |peer: &Peer| match &peer.of {
        Some(peer::Of::Target(target)) => target.pid.to_string(),
        Some(peer::Of::Outside(_)) | None => units::UNKNOWN.to_owned(),
    };
    format!("{} → {}", pid(edge.client), pid(edge.server.peer))
}

fn addresses(edge: &Edge<'_>, _: u64) -> String {
    let address = |it: Option<&str>| units::or_unknown(it, str::to_owned);
    format!("{} → {}", address(edge.client_address), address(edge.server_address))
}

pub(super) fn tone(edge: &Edge<'_>) -> Tone {
    let failed = edge.numbers.connections.as_ref().is_some_and(|it| it.failed != 0);
    let errors = edge.numbers.requests.as_ref().is_some_and(|it| it.errors != 0);
    if failed {
        Tone::Alarm
    } else if errors {
        Tone::Warning
    } else {
        Tone::Calm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{print::samples::check, proto::Filter, samples, view::topology::answer};

    #[test]
    fn tables() {
        check(&shop(), Format::Table, "topology.txt");
        check(&shop(), Format::Wide, "topology.wide.txt");
        check(&shop(), Format::Json, "topology.json");
    }

    #[test]
    fn graphs() {
        check(&shop(), Format::Dot, "topology.dot");
        check(&shop(), Format::Mermaid, "topology.mmd");
    }

    fn shop() -> Topology {
        answer(&samples::snapshot(), &Filter::default()).unwrap().try_into().unwrap()
    }
}
