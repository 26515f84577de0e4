//! One edge in full, as a page.

use std::io::{self, Write};

use super::{
    Headers, Show, Style, bars,
    faults::{self, Fault},
    server_name,
    table::{self, Column, Tone, number, printable, text},
    units,
};
use crate::query::{
    in_full::{EdgeInFull, InFull},
    proto::{BothWays, Bucket, Peer, RecentConnection, Target, Vip, peer},
};

/// Of so many processes at one end each has a line.
const MAX_PROCESSES: usize = 8;
/// Of a container.
const SHORT_ID: usize = 12;

impl Show for InFull {
    fn n_items(&self) -> usize {
        self.n_items()
    }

    fn text(&self, style: &Style, out: &mut dyn Write) -> io::Result<()> {
        for edge in self.items() {
            page(&edge, self.head().time, style, out)?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Result<String> {
        super::json(&self.whole())
    }
}

fn page(it: &EdgeInFull<'_>, now_ns: u64, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let edge = &it.edge;
    let title = format!("{} → {}", edge.client_name, server_name(edge));
    writeln!(out, "{}, edge {:016x} by {}\n", printable(&title), edge.numbers.id, edge.by)?;
    let bare = Style { headers: Headers::Hidden, ..*style };
    table::write(&facts(it, now_ns), FACTS, now_ns, table::calm, &bare, out)?;

    let faults: Vec<_> = faults::of(edge.numbers).collect();
    if !faults.is_empty() {
        writeln!(out)?;
        table::write(&faults, FAULTS, now_ns, |(fault, _)| fault.tone, style, out)?;
    }
    if !it.details.request_latency.is_empty() {
        writeln!(out)?;
        bars::write(&it.details.request_latency, edge.numbers.requests.as_deref(), style, out)?;
    }
    if !it.details.recent_connections.is_empty() {
        writeln!(out)?;
        table::write(&it.details.recent_connections, CONNECTIONS, now_ns, tone, style, out)?;
    }
    writeln!(out)?;
    table::write(&next(it), NEXT, now_ns, table::calm, style, out)
}

type Fact = (&'static str, String);

const FACTS: &[Column<Fact>] =
    &[text("WHAT", |(name, _), _| (*name).to_owned()), text("VALUE", |(_, value), _| value.clone())];

const FAULTS: &[Column<(&Fault, u64)>] = &[
    number("COUNT", |(_, count), _| count.to_string()),
    text("FAULT", |(fault, _), _| fault.name.to_owned()),
    text("WHICH MEANS", |(fault, _), _| fault.meaning.to_owned()),
];

const CONNECTIONS: &[Column<RecentConnection>] = &[
    number("ENDED", |it, now_ns| units::age(now_ns, it.ended)),
    number("LASTED", |it, _| units::or_unknown(it.lasted_seconds, units::duration)),
    text("HOW", |it, _| how(it)),
    number("SENT", |it, _| units::or_unknown(it.bytes, |it: BothWays| units::bytes(it.to_server))),
    number("RECEIVED", |it, _| units::or_unknown(it.bytes, |it: BothWays| units::bytes(it.to_client))),
    number("RETRANS", |it, _| it.retransmits.to_string()),
    number("RTT", |it, _| units::or_unknown(it.rtt_seconds, units::duration)),
    text("PIDS", |it, _| {
        let [client, server] =
            [it.client_pid, it.server_pid].map(|it| units::or_unknown(it, |it| it.to_string()));
        format!("{client} → {server}")
    }),
    text("CONNECTION", |it, _| {
        let client = it
            .client_port
            .map_or_else(|| it.client_address.clone(), |port| units::socket(&it.client_address, port));
        format!("{client} → {}", units::socket(&it.server_address, it.server_port))
    }),
];

fn how(connection: &RecentConnection) -> String {
    let outcome = match &connection.reset_reason {
        Some(reason) => format!("{}: {reason}", connection.outcome),
        None => connection.outcome.clone(),
    };
    outcome.replace('_', " ")
}

fn tone(connection: &RecentConnection) -> Tone {
    match connection.outcome.as_str() {
        "closed" => Tone::Calm,
        "reset" | "vanished" => Tone::Warning,
        _ => Tone::Alarm,
    }
}

fn facts(EdgeInFull { edge, details }: &EdgeInFull<'_>, now_ns: u64) -> Vec<Fact> {
    let numbers = edge.numbers;
    let both = |it: &BothWays, unit: fn(u64) -> String| {
        format!("{} to the server, {} to the client", unit(it.to_server), unit(it.to_client))
    };
    let mut facts = ends("client", edge.client, edge.client_address, &details.clients);
    facts.extend(ends("server", edge.server.peer, edge.server_address, &details.servers));
    let vip = |it: &Vip| {
        let used = units::socket(&it.address, it.port);
        format!("{used} is what the client used, translated to port {} of the server", it.backend_port)
    };
    facts.extend(numbers.vip.iter().map(|it| ("vip", vip(it))));
    let protocol = numbers.protocol.as_deref().map_or_else(String::new, |it| format!(", {it}"));
    facts.extend([
        ("transport", format!("{}{protocol}", edge.transport)),
        ("direction", direction(edge.role_confidence)),
        (
            "seen",
            format!(
                "first {}, last {}",
                units::age(now_ns, numbers.first_seen),
                units::age(now_ns, numbers.last_seen)
            ),
        ),
    ]);
    if details.merged != 1 {
        facts.push(("merged", format!("from {} edges, see `taskscope topology`", details.merged)));
    }
    if let Some(it) = &numbers.connections {
        let text =
            format!("{} opened, {} open now, {} failed, {} reset", it.opened, it.active, it.failed, it.reset);
        facts.push(("connections", text));
    }
    facts.extend(numbers.bytes.iter().map(|it| ("bytes", both(it, units::bytes))));
    facts.extend(numbers.packets.iter().map(|it| ("packets", both(it, |it| it.to_string()))));
    let rtt = numbers.network.as_ref().and_then(|it| it.rtt_seconds);
    facts.extend(rtt.map(|it| ("round trip", format!("{}, of the socket seen last", units::duration(it)))));
    let stalled = numbers.network.as_ref().and_then(|it| it.rto_seconds).filter(|it| *it != 0.0);
    facts.extend(
        stalled.map(|it| ("stalled", format!("{} in retransmission time-outs", units::duration(it)))),
    );
    facts.extend(times(&details.round_trips).map(|it| ("round trips", it)));
    facts.extend(times(&details.connect_times).map(|it| ("to connect", it)));
    if let Some(it) = &numbers.requests {
        let quantile = |it| units::or_unknown(it, units::duration);
        let [p50, p95, p99] = [it.p50_seconds, it.p95_seconds, it.p99_seconds].map(quantile);
        facts.push((
            "requests",
            format!("{}, {} failed, p50 {p50}, p95 {p95}, p99 {p99}", it.count, it.errors),
        ));
    }
    facts
}

/// Where half of them and where nearly all are; `None` when there are none.
fn times(buckets: &[Bucket]) -> Option<String> {
    let n_times: u64 = buckets.iter().map(|it| it.count).sum();
    let within = |share: u64| {
        let wanted = (n_times * share).div_ceil(100);
        let mut below = 0;
        let bucket = buckets.iter().find(|it| {
            below += it.count;
            wanted <= below
        });
        let upper = bucket.and_then(|it| it.up_to_seconds);
        upper.map_or_else(
            || "longer than can be told".to_owned(),
            |it| format!("within {}", units::duration(it)),
        )
    };
    (n_times != 0).then(|| format!("half {}, 99 % {}, of {n_times}", within(50), within(99)))
}

/// The processes of one end, or who is there instead.
fn ends(which: &'static str, peer: &Peer, address: Option<&str>, processes: &[Target]) -> Vec<Fact> {
    let at = address.map_or_else(String::new, |it| format!(", at {it}"));
    if let Some(peer::Of::Outside(outside)) = &peer.of {
        let name = outside.name.as_ref().map_or_else(String::new, |it| format!("{it}, "));
        return vec![(which, format!("{name}{}, no process of this node is known there", outside.address))];
    }
    let mut facts: Vec<_> = processes
        .iter()
        .take(MAX_PROCESSES)
        .enumerate()
        .map(|(n, it)| (if n == 0 { which } else { "" }, process(it, if n == 0 { &at } else { "" })))
        .collect();
    if let more @ 1.. = processes.len().saturating_sub(MAX_PROCESSES) {
        facts.push(("", format!("and {more} more, see `-o json`")));
    }
    facts
}

fn process(target: &Target, at: &str) -> String {
    let Target { pid, service, exe, runtime, container_id, pod, namespace, .. } = target;
    let runtime = runtime.as_ref().map_or_else(String::new, |it| {
        it.version.as_ref().map_or_else(String::new, |version| format!(", {version}"))
    });
    let container = container_id
        .as_deref()
        .map_or_else(String::new, |it| format!(", container {}", it.get(..SHORT_ID).unwrap_or(it)));
    let pod = pod.as_ref().map_or_else(String::new, |it| {
        format!(", pod {}{it}", namespace.as_ref().map_or_else(String::new, |it| format!("{it}/")))
    });
    format!("{service}, pid {pid}, {exe}{runtime}{container}{pod}{at}")
}

fn direction(confidence: &str) -> String {
    let how = match confidence {
        "exact" => "a socket was seen to connect, or to be accepted",
        "packet" => "a SYN was seen",
        "listener" => "somebody listens on the one port, and not on the other",
        "service" => "the other end is known as a server",
        "port" => "by the numbers of the ports alone",
        _ => "not known which end is the client",
    };
    format!("{confidence}: {how}")
}

type Step = (String, &'static str);

const NEXT: &[Column<Step>] =
    &[text("NEXT", |(command, _), _| command.clone()), text("WHICH SHOWS", |(_, why), _| (*why).to_owned())];

/// By pid: a name may hold what a shell obeys.
fn next(EdgeInFull { edge, details }: &EdgeInFull<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let process = details.clients.first().or(details.servers.first());
    let failed = edge.numbers.connections.as_ref().is_some_and(|it| it.failed != 0);
    if let Some(Target { pid, .. }) = process {
        if let Some(requests) = &edge.numbers.requests {
            if requests.errors != 0 {
                steps.push((format!("taskscope traces --errors --pid {pid}"), "requests that failed"));
            }
            steps.push((format!("taskscope traces --slow --pid {pid}"), "where the time went"));
        }
        if failed || steps.is_empty() {
            steps.push((format!("taskscope findings --pid {pid}"), "what is wrong with it, and what to do"));
        }
        steps.push((format!("taskscope topology --pid {pid}"), "whom else it talks to"));
    }
    steps.push((format!("taskscope topology --edge {:016x} --watch", edge.numbers.id), "this page, live"));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{
        print::{Format, samples::check},
        proto::{By, Filter},
        samples, view,
    };

    #[test]
    fn pages() {
        check(&edge("abc", None), Format::Table, "edge.txt");
        check(&edge("abc", None), Format::Json, "edge.json");
        check(&edge("def", None), Format::Table, "edge.failing.txt");
    }

    #[test]
    fn many_processes_are_counted_not_listed() {
        let snapshot = samples::snapshot();
        let mut answer = view::edge::answer(&snapshot, &filter("abc", None)).unwrap();
        let cart = answer.items[0].servers[0].clone();
        answer.items[0].servers = (0..20).map(|pid| Target { pid, ..cart.clone() }).collect();
        let in_full = InFull::try_from(answer).unwrap();
        let facts = facts(&in_full.items()[0], 0);
        let servers: Vec<_> =
            facts.iter().skip_while(|it| it.0 != "server").skip(1).take_while(|it| it.0.is_empty()).collect();
        assert_eq!((servers.len(), servers[7].1.as_str()), (8, "and 12 more, see `-o json`"));
    }

    fn filter(id: &str, by: Option<By>) -> Filter {
        Filter { edge: Some(id.to_owned()), by: by.map(i32::from), ..Filter::default() }
    }

    fn edge(id: &str, by: Option<By>) -> InFull {
        view::edge::answer(&samples::snapshot(), &filter(id, by)).unwrap().try_into().unwrap()
    }
}
