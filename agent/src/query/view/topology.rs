//! `taskscope topology`: who talks to whom.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ahash::AHashMap;

use super::{
    Refusal,
    group::{self, Groups, Row},
    select::Selection,
    shapes,
    sort::{self, Amount},
};
use crate::{
    assemble::{
        edge::{self, EdgeId},
        faults::{self, Faults},
    },
    query::{
        proto::{
            BothWays, By, Closed, Connections, Edge, End, Filter, Network, Requests, Retransmits,
            RoleConfidence, TopologyAnswer, Transport, Vip,
        },
        snapshot::Snapshot,
    },
    targets::process::Process,
};

pub(crate) const COLUMNS: &[Amount<edge::Edge>] = &[
    ("bytes", |it| it.bytes.to_server.saturating_add(it.bytes.to_client)),
    ("connections", |it| it.connections.opened),
    ("active", |it| it.connections.active),
    ("failed", |it| it.connections.failed),
    ("requests", |it| known(it.requests.as_ref().map(|it| it.count))),
    ("errors", |it| known(it.requests.as_ref().map(|it| it.errors))),
    ("p99", |it| known(it.requests.as_ref().and_then(|it| it.latency.quantile(0.99)).map(nanos))),
    ("rtt", |it| known(it.network.rtt.map(nanos))),
    ("retransmits", |it| it.network.retransmits),
    ("timeouts", |it| it.faults.rto_episodes),
    ("stalled", |it| nanos(it.faults.rto)),
    ("retried", |it| it.faults.retried),
    ("last_seen", |it| it.last_seen.0),
];

/// What is not known comes after 0.
fn known(amount: Option<u64>) -> u64 {
    amount.map_or(0, |it| it.saturating_add(1))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn answer(snapshot: &Snapshot, filter: &Filter) -> Result<TopologyAnswer, Refusal> {
    let by = by(snapshot, filter)?;
    let rows = asked(snapshot, filter, by)?;
    let mut ends = Ends::new(snapshot, by);
    Ok(TopologyAnswer {
        head: Some(shapes::head("topology", snapshot, None)),
        items: rows.iter().map(|it| edge(it, snapshot, &mut ends)).collect(),
        lost: shapes::lost(snapshot),
        ends: ends.ends,
        by: by.into(),
    })
}

/// What was asked for, else what the edge that was asked for is a row of.
pub(super) fn by(snapshot: &Snapshot, filter: &Filter) -> Result<By, Refusal> {
    if let Some(given) = filter.by {
        return By::try_from(given).map_err(|_| Refusal::UnknownBy { given });
    }
    let Some(id) = filter.edge.as_deref().map(edge_id).transpose()? else {
        return Ok(By::Process);
    };
    let has_row = |by: &By| {
        let mut groups = Groups::new(*by);
        snapshot.edges.iter().any(|edge| groups.id(edge) == id)
    };
    Ok([By::Process, By::Service, By::Workload].into_iter().find(has_row).unwrap_or(By::Process))
}

pub(super) fn asked<'a>(snapshot: &'a Snapshot, filter: &Filter, by: By) -> Result<Vec<Row<'a>>, Refusal> {
    let selection = Selection::new(filter, snapshot)?;
    let asked = filter.edge.as_deref().map(edge_id).transpose()?;
    let mut rows = group::rows(&snapshot.edges, by, |edge| {
        selection.time(edge.last_seen) && has_process(edge, &selection)
    });
    rows.retain(|row| asked.is_none_or(|id| row.id == id));
    sort::largest_and_cut(&mut rows, COLUMNS, Row::edge, |row| row.id.0, filter)?;
    Ok(rows)
}

fn has_process(edge: &edge::Edge, selection: &Selection) -> bool {
    !selection.asks_for_processes()
        || [&edge.client, &edge.server]
            .into_iter()
            .any(|peer| matches!(peer, edge::Peer::Process(process) if selection.process(process)))
}

fn edge_id(given: &str) -> Result<EdgeId, Refusal> {
    match u64::from_str_radix(given, 16) {
        Ok(id) => Ok(EdgeId(id)),
        Err(_) => Err(Refusal::BadEdge { given: given.to_owned() }),
    }
}

/// The ends of edges, each once.
pub(super) struct Ends<'a> {
    node: &'a str,
    by: By,
    places: AHashMap<EndKey<'a>, u32>,
    pub(super) ends: Vec<End>,
}

/// Looked up twice for each edge, so the addresses are numbers: 0 where there is none.
#[derive(PartialEq, Eq, Hash)]
enum EndKey<'a> {
    /// By its description, of which a process may have several: before and after it was looked at.
    Process(*const Process, u128),
    Address(u128, Option<&'a str>, u128),
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl<'a> Ends<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, by: By) -> Self {
        Self { node: &snapshot.node, by, places: AHashMap::new(), ends: Vec::new() }
    }

    /// `address`: in the connection seen last.
    fn place(&mut self, peer: &'a edge::Peer, address: Option<IpAddr>) -> u32 {
        // A failed connect may have got no address.
        let address = address.filter(|it| !it.is_unspecified());
        let at = address.map_or(0, bits);
        let key = match peer {
            edge::Peer::Process(process) => EndKey::Process(Arc::as_ptr(process), at),
            edge::Peer::Address { ip, name } => EndKey::Address(bits(*ip), name.as_deref(), at),
        };
        *self.places.entry(key).or_insert_with(|| {
            self.ends.push(End {
                peer: Some(shapes::peer(peer, self.node)),
                name: group::name(peer, self.by),
                address: address.map(|it| it.to_string()),
            });
            u32::try_from(self.ends.len() - 1).expect("there are not that many edges")
        })
    }
}

pub(super) fn edge<'a>(row: &'a Row<'_>, snapshot: &Snapshot, ends: &mut Ends<'a>) -> Edge {
    let edge = row.edge();
    let address = |place: usize| edge.addresses.map(|it| it[place]);
    Edge {
        id: row.id.0,
        client: ends.place(&edge.client, address(0)),
        server: ends.place(&edge.server, address(1)),
        server_port: u32::from(edge.server_port),
        transport: transport(edge.transport).into(),
        protocol: edge.protocol.map(str::to_owned),
        role_confidence: confidence(edge.confidence).into(),
        connections: Some(connections(&edge.connections, &edge.faults)),
        bytes: Some(both_ways(edge.bytes)),
        packets: Some(both_ways(edge.packets)),
        requests: edge.requests.as_ref().map(|it| Box::new(requests(it))),
        network: network(&edge.network, &edge.faults).map(Box::new),
        first_seen: snapshot.wall(edge.first_seen).0,
        last_seen: snapshot.wall(edge.last_seen).0,
        vip: edge.vip.map(|it| Box::new(vip(it, edge.server_port))),
    }
}

fn transport(transport: edge::Transport) -> Transport {
    match transport {
        edge::Transport::Tcp => Transport::Tcp,
        edge::Transport::Udp => Transport::Udp,
    }
}

fn vip(edge::Vip { ip, backend_port }: edge::Vip, port: u16) -> Vip {
    Vip { address: ip.to_string(), port: port.into(), backend_port: backend_port.into() }
}

fn confidence(confidence: edge::Confidence) -> RoleConfidence {
    match confidence {
        edge::Confidence::None => RoleConfidence::None,
        edge::Confidence::Port => RoleConfidence::Port,
        edge::Confidence::Service => RoleConfidence::Service,
        edge::Confidence::Listener => RoleConfidence::Listener,
        edge::Confidence::Packet => RoleConfidence::Packet,
        edge::Confidence::Exact => RoleConfidence::Exact,
    }
}

fn connections(connections: &edge::Connections, faults: &Faults) -> Connections {
    let edge::Connections {
        opened,
        failed,
        refused,
        timed_out,
        abandoned,
        unreachable,
        connect_reset,
        other,
        reset,
        active,
    } = *connections;
    Connections {
        opened,
        failed,
        refused,
        timed_out,
        abandoned,
        unreachable,
        other,
        connect_reset,
        reset,
        active,
        retried: faults.retried,
        closed: Some(closed(faults.closed)),
    }
}

fn closed(closed: faults::Closed) -> Closed {
    let faults::Closed { fin, reset_by_client, reset_by_server, unacknowledged, keepalive, window, other } =
        closed;
    Closed { fin, reset_by_client, reset_by_server, unacknowledged, keepalive, window, other }
}

pub(super) fn both_ways(edge::BothWays { to_server, to_client }: edge::BothWays) -> BothWays {
    BothWays { to_server, to_client }
}

fn requests(requests: &edge::Requests) -> Requests {
    let quantile = |it| requests.latency.quantile(it).as_ref().map(Duration::as_secs_f64);
    Requests {
        count: requests.count,
        errors: requests.errors,
        p50_seconds: quantile(0.5),
        p95_seconds: quantile(0.95),
        p99_seconds: quantile(0.99),
    }
}

/// `None` when no socket told anything.
fn network(network: &edge::Network, faults: &Faults) -> Option<Network> {
    // The times are for those who look at one edge.
    let edge::Network { rtt, retransmits, round_trips: _, connect_times: _ } = network;
    let told = rtt.is_some() || *retransmits != 0 || faults.rto_episodes != 0;
    told.then(|| Network {
        rtt_seconds: rtt.as_ref().map(Duration::as_secs_f64),
        retransmits: Some(by_cause(*retransmits, &faults.retransmits)),
        rto_seconds: Some(faults.rto.as_secs_f64()),
        rto_episodes: Some(faults.rto_episodes),
    })
}

/// An older kernel has the total only.
fn by_cause(total: u64, causes: &faults::Retransmits) -> Retransmits {
    let faults::Retransmits { syn, fast, rto, slow_start, tlp, other } = *causes;
    let is_known = total == 0 || *causes != faults::Retransmits::default();
    let known = |count| is_known.then_some(count);
    Retransmits {
        total,
        syn: known(syn),
        fast: known(fast),
        rto: known(rto),
        slow_start: known(slow_start),
        tlp: known(tlp),
        other: known(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{query::samples, targets::process::Runtime};

    #[test]
    fn an_edge_is_found_by_either_end() {
        check(|_| (), "abc def");
        check(|it| it.pid = Some(41), "abc");
        check(|it| it.service = Some("cart".to_owned()), "abc def");
        check(|it| it.pid = Some(1), "");
        check(|it| it.edge = Some("def".to_owned()), "def");
        check(|it| it.since_ns = Some(2_000_000_000), "abc");
        check(|it| it.sort = Some("failed".to_owned()), "def abc");
    }

    /// Two instances of one service, each in a container, and one elsewhere.
    fn instances() -> Snapshot {
        let mut snapshot = samples::many_edges(1);
        let called = edge::Edge::clone(&snapshot.edges[0]);
        let instance = |id: u64, container: &str, service: &str| {
            let mut shop = Process::clone(&samples::shop());
            shop.container_id = Some(container.repeat(64));
            shop.service.name = service.to_owned();
            let client = edge::Peer::Process(Arc::new(shop));
            Arc::new(edge::Edge { id: EdgeId(id), client, ..called.clone() })
        };
        let edges = [instance(1, "a", "shop"), instance(2, "b", "shop"), instance(3, "b", "shop-admin")];
        snapshot.edges = Arc::new(edges.to_vec());
        snapshot
    }

    #[test]
    fn instances_of_a_service_are_one() {
        let mut snapshot = instances();
        check_by(&snapshot, By::Process, "shop 3, shop 3, shop-admin 3");
        check_by(&snapshot, By::Service, "shop 6, shop-admin 3");
        check_by(&snapshot, By::Workload, "prod/shop 9");
        for edge in Arc::make_mut(&mut snapshot.edges) {
            let edge::Peer::Process(shop) = &mut Arc::make_mut(edge).client else { unreachable!() };
            Arc::make_mut(shop).attributes.clear();
        }
        check_by(&snapshot, By::Workload, "container bbbbbbbbbbbb 6, container aaaaaaaaaaaa 3");
    }

    #[test]
    fn another_port_is_another_edge_and_another_transport_too() {
        let change: [fn(&mut edge::Edge); 2] =
            [|it| it.server_port = 9090, |it| it.transport = edge::Transport::Udp];
        for change in change {
            let mut snapshot = instances();
            change(Arc::make_mut(&mut Arc::make_mut(&mut snapshot.edges)[0]));
            check_by(&snapshot, By::Service, "shop 3, shop 3, shop-admin 3");
            check_by(&snapshot, By::Workload, "prod/shop 6, prod/shop 3");
        }
    }

    #[test]
    fn vips_before_one_port_of_a_service_are_one_and_another_port_is_another_server() {
        let mut snapshot = instances();
        let mut change = |vip: Option<(u8, u16)>| {
            let ip = |last| [10, 96, 0, last].into();
            let edge = Arc::make_mut(&mut Arc::make_mut(&mut snapshot.edges)[0]);
            edge.vip = vip.map(|(last, backend_port)| edge::Vip { ip: ip(last), backend_port });
            snapshot.clone()
        };
        check_by(&change(Some((11, 7100))), By::Service, "shop 6, shop-admin 3");
        check_by(&change(Some((10, 7200))), By::Service, "shop 3, shop 3, shop-admin 3");
        // Port 8080 of the server itself.
        check_by(&change(None), By::Service, "shop 3, shop 3, shop-admin 3");
        check_by(&change(None), By::Workload, "prod/shop 6, prod/shop 3");
        // Its port is that of the server.
        let mut snapshot = change(Some((10, 8080)));
        for edge in &mut Arc::make_mut(&mut snapshot.edges)[1..] {
            Arc::make_mut(edge).vip = None;
        }
        check_by(&snapshot, By::Service, "shop 6, shop-admin 3");
    }

    /// Whoever copies an id need not remember how it was printed.
    #[test]
    fn what_was_printed_is_found_by_its_id() {
        let snapshot = instances();
        for by in [By::Process, By::Service, By::Workload] {
            let all = answer(&snapshot, &Filter { by: Some(by.into()), ..Filter::default() }).unwrap();
            for item in &all.items {
                let edge = Some(format!("{:016x}", item.id));
                let one = answer(&snapshot, &Filter { edge, ..Filter::default() }).unwrap();
                assert_eq!((one.by(), one.items.len()), (by, 1));
                let got = (one.items[0].id, one.items[0].connections, &one.items[0].requests);
                assert_eq!(got, (item.id, item.connections, &item.requests));
            }
        }
    }

    #[test]
    fn a_sum_is_whole_whichever_edge_of_it_is_asked_for() {
        let opened = |container: &str, by: By| {
            let container = Some(container.to_owned());
            let filter = Filter { by: Some(by.into()), container, ..Filter::default() };
            let answer = answer(&instances(), &filter).unwrap();
            answer.items.iter().map(|it| it.connections.unwrap().opened).collect::<Vec<_>>()
        };
        assert_eq!((opened("a", By::Process), opened("a", By::Service)), (vec![3], vec![6]));
        assert_eq!((opened("b", By::Process), opened("b", By::Service)), (vec![3, 3], vec![6, 3]));
    }

    #[test]
    fn a_number_of_a_later_version_is_refused() {
        let filter = Filter { by: Some(99), ..Filter::default() };
        assert!(matches!(answer(&samples::snapshot(), &filter), Err(Refusal::UnknownBy { given: 99 })));
    }

    #[track_caller]
    fn check_by(snapshot: &Snapshot, by: By, want: &str) {
        let filter =
            Filter { by: Some(by.into()), sort: Some("connections".to_owned()), ..Filter::default() };
        let answer = answer(snapshot, &filter).unwrap();
        let line = |it: &Edge| {
            format!("{} {}", answer.ends[it.client as usize].name, it.connections.unwrap().opened)
        };
        let mut lines: Vec<_> = answer.items.iter().map(line).collect();
        // Of equals any may be first.
        lines.sort_by_key(|line| {
            (std::cmp::Reverse(line.rsplit(' ').next().map(str::to_owned)), line.clone())
        });
        assert_eq!(lines.join(", "), want);
    }

    #[test]
    fn what_is_no_edge_is_refused() {
        let filter = Filter { edge: Some("shop".to_owned()), ..Filter::default() };
        assert!(matches!(answer(&samples::snapshot(), &filter), Err(Refusal::BadEdge { .. })));
    }

    #[test]
    fn causes_that_were_not_told_apart_are_unknown() {
        let none = faults::Retransmits::default();
        assert_eq!(by_cause(0, &none).fast, Some(0));
        assert_eq!(by_cause(3, &none).fast, None);
        let fast = faults::Retransmits { fast: 3, ..none };
        assert_eq!((by_cause(3, &fast).fast, by_cause(3, &fast).rto), (Some(3), Some(0)));
    }

    #[test]
    fn an_end_of_many_edges_stands_once() {
        let mut snapshot = samples::many_edges(1);
        let edge = edge::Edge::clone(&snapshot.edges[0]);
        // The same process, known better.
        let shop =
            Process { runtime: Runtime::Go("go1.26.9".to_owned()), ..Process::clone(&samples::shop()) };
        let client = edge::Peer::Process(Arc::new(shop));
        let edges = Arc::make_mut(&mut snapshot.edges);
        edges.push(Arc::new(edge::Edge { id: EdgeId(7), ..edge.clone() }));
        edges.push(Arc::new(edge::Edge { id: EdgeId(8), client, ..edge }));
        let answer = answer(&snapshot, &Filter::default()).unwrap();
        let ends: Vec<_> = answer.items.iter().map(|it| (it.client, it.server)).collect();
        assert_eq!((ends, answer.ends.len()), (vec![(0, 1), (0, 1), (2, 1)], 3));
    }

    #[track_caller]
    fn check(set: fn(&mut Filter), want: &str) {
        let mut filter = Filter::default();
        set(&mut filter);
        let answer = answer(&samples::snapshot(), &filter).unwrap();
        let ids: Vec<_> = answer.items.iter().map(|it| format!("{:x}", it.id)).collect();
        assert_eq!(ids.join(" "), want, "{filter:?}");
    }
}
