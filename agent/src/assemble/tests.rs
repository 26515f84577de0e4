//! Stories of sockets and requests, told in lines, and the edges that they must give.
//!
//! `t` seconds, then what happened; ` & ` joins the rows of one dump. Addresses are `a:PORT`; `a` and
//! `b` are the node's, the others are not; `l` is loopback and `*` the wildcard. `x:80>b:81` is `b:81`, which
//! the other end calls `x:80`. Processes are `1`, `2`, `3`; `1@7` is one in namespace 7 instead of the node's.
//! `told a x NAME`: who is at `a` asked for a name, and the answer was `x`.
//! Figures are `sent/received` bytes, or `sent/received+out/in/retransmits` with segments; of `old` sockets 100/200/5
//! segments are from before the agent. What went wrong
//! follows: `CLASS=N` segments sent again, `episodes=N/MILLIS`, `error=ERRNO/RETRANSMITS/PROBES/UNACKED`,
//! `rst-in`, `rst-out`, `rtt=HANDSHAKE/LATER` in microseconds, `acked=BYTES`.

mod dumps;
mod faults;
mod names;
mod nat;
mod recent;
mod stalls;
mod standstills;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use agent_common::{
    Wire as _,
    event::{
        Event, Header, http, packet,
        sock::{Closed, ConnectFailed, Figures, Row, State as SockState, class, flag, role, tcp_state},
    },
};

use super::{
    edge::{BothWays, Peer, Transport, Vip},
    services::{Answer, Question},
    state::{DumpKind, State},
};
use crate::{
    clock::{Clock, Ktime},
    targets::{
        proc::remembered,
        process::{Process, Runtime, Tgid},
    },
    vitals::{Vital, Vitals},
};

#[test]
fn both_ends_seen_count_each_byte_once() {
    check(
        "0 closed 1 client a:40000 b:80 100/50; 0 closed 2 server b:80 a:40000 50/100",
        "p1 -> p2:80 opened 1 active 0 bytes 100/50 exact",
    );
}

#[test]
fn an_end_outside_is_an_address() {
    check(
        "0 closed 1 client a:40000 x:443 10/20",
        "p1 -> 10.9.0.120:443 opened 1 active 0 bytes 10/20 exact",
    );
    check("0 closed 2 server b:80 x:5000 20/10", "10.9.0.120 -> p2:80 opened 1 active 0 bytes 10/20 exact");
}

#[test]
fn an_open_connection_counts_as_it_goes() {
    check(
        "0 open 1 client a:40000 x:443 10/20; 1 open 1 client a:40000 x:443 15/20",
        "p1 -> 10.9.0.120:443 opened 1 active 1 bytes 15/20 exact",
    );
    check(
        "0 open 1 client a:40000 x:443 10/20; 1 closed 1 client a:40000 x:443 30/20",
        "p1 -> 10.9.0.120:443 opened 1 active 0 bytes 30/20 exact",
    );
}

#[test]
fn one_end_waits_for_the_other_and_not_for_ever() {
    check("0 closed 1 client a:40000 b:80 10/20", "");
    check(
        "0 closed 1 client a:40000 b:80 10/20; 4 tick",
        "p1 -> 10.9.0.98:80 opened 1 active 0 bytes 10/20 exact",
    );
    check(
        "0 closed 1 client a:40000 b:80 10/20; 1 closed 2 server b:80 a:40000 20/10",
        "p1 -> p2:80 opened 1 active 0 bytes 10/20 exact",
    );
}

/// The addresses of a pod are learned from its sockets: the first one may come too late.
#[test]
fn a_connection_moves_when_its_other_end_turns_out_to_be_here() {
    check(
        "0 open 1 client a:40000 x:80 10/20; 1 open 3 server x:80 a:40000 20/10",
        "p1 -> p3:80 opened 1 active 1 bytes 10/20 exact",
    );
    check(
        "0 open 1 client a:40000 x:80 10/20; 0 open 1 client a:40001 x:80 1/2; 1 open 3 server x:80 a:40000 20/10",
        "p1 -> 10.9.0.120:80 opened 1 active 1 bytes 1/2 exact; p1 -> p3:80 opened 1 active 1 bytes 10/20 exact",
    );
}

#[test]
fn a_dump_older_than_the_end_does_not_open_it_again() {
    check(
        "0 closed 1 client a:40000 x:443 10/20; 0 tick",
        "p1 -> 10.9.0.120:443 opened 1 active 0 bytes 10/20 exact",
    );
}

#[test]
fn connections_older_than_the_agent_go_by_their_listener() {
    check(
        "0 listen 2 b:80; 0 old 2 b:80 x:5000 7/9",
        "10.9.0.120 -> p2:80 opened 0 active 1 bytes 9/7 listener",
    );
    check("0 old 2 b:40000 x:5000 7/9", "p2 -> 10.9.0.120:5000 opened 0 active 1 bytes 7/9 listener");
    check(
        "0 listen 2 b:80; 0 old 2 b:80 a:5000 7/9; 0 old 1 a:5000 b:80 9/7",
        "p1 -> p2:80 opened 0 active 1 bytes 9/7 listener",
    );
}

#[test]
fn an_end_that_no_dump_shows_any_more_is_counted() {
    let vitals = check(
        "0 open 1 client a:40000 x:443 10/20; 1 dump; 2 dump; 3 dump; 4 tick",
        "p1 -> 10.9.0.120:443 opened 1 active 0 bytes 10/20 exact",
    );
    assert_eq!(vitals.get(Vital::SocketsVanished), 1);
}

#[test]
fn failed_connects_by_class() {
    check("0 failed 1 a:0 x:80 111", "p1 -> 10.9.0.120:80 opened 0 active 0 bytes 0/0 exact refused 1");
    check("0 failed 1 a:0 x:80 110", "p1 -> 10.9.0.120:80 opened 0 active 0 bytes 0/0 exact timed_out 1");
    check("0 failed 1 a:0 x:80 0", "p1 -> 10.9.0.120:80 opened 0 active 0 bytes 0/0 exact abandoned 1");
    check("0 failed 1 a:0 x:80 113", "p1 -> 10.9.0.120:80 opened 0 active 0 bytes 0/0 exact unreachable 1");
}

/// PostgreSQL forks a process for each connection, which is gone before anybody looks it up.
#[test]
fn a_worker_nobody_knows_is_its_listener() {
    check(
        "0 listen 2 b:80; 0 closed 99 server b:80 x:5000 7/9",
        "10.9.0.120 -> p2:80 opened 1 active 0 bytes 9/7 exact",
    );
}

#[test]
fn a_process_nobody_knows_is_where_its_socket_is() {
    check(
        "0 closed 99 client a:40000 x:443 1/2",
        "10.9.0.97 -> 10.9.0.120:443 opened 1 active 0 bytes 1/2 exact",
    );
}

#[test]
fn requests_find_their_edge_before_or_after_the_connection() {
    let edge = "p1 -> 10.9.0.120:443 opened 1 active 1 bytes 10/20 exact requests 2";
    check(
        "0 open 1 client a:40000 x:443 10/20; 0 call 1 a:40000 x:443 200; 0 call 1 a:40000 x:443 200",
        edge,
    );
    check(
        "0 call 1 a:40000 x:443 200; 0 call 1 a:40000 x:443 200; 1 open 1 client a:40000 x:443 10/20",
        edge,
    );
    check(
        "0 call 1 a:40000 x:443 500; 0 closed 1 client a:40000 x:443 10/20",
        "p1 -> 10.9.0.120:443 opened 1 active 0 bytes 10/20 exact requests 1 errors 1",
    );
}

#[test]
fn a_request_whose_connection_never_comes_is_counted() {
    let vitals = check("0 call 1 a:40000 x:443 200; 9 tick", "");
    assert_eq!(vitals.get(Vital::RequestsWithoutEdge), 1);
}

#[test]
fn a_request_whose_connection_has_no_name_is_counted() {
    let vitals = check("0 call 1 a:0 x:0 500", "");
    assert_eq!(vitals.get(Vital::RequestsWithoutEdge), 1);
}

#[test]
fn a_request_that_got_no_connection_is_no_loss() {
    let vitals = check("0 call 1 a:0 x:0 unconnected; 9 tick", "");
    assert_eq!(vitals.get(Vital::SpansMade), 1);
    assert_eq!(vitals.get(Vital::RequestsWithoutEdge), 0);
}

/// Port 8080 of a pod's peer is not the pod's own port 8080.
#[test]
fn a_wildcard_listens_in_its_own_namespace_only() {
    check(
        "0 listen 1@7 *:8080 & open 1@7 client a:40000 b:8080 10/20; 4 tick",
        "p1 -> 10.9.0.98:8080 opened 1 active 1 bytes 10/20 exact",
    );
    check(
        "0 listen 1@7 *:8080 & open 2@7 client l:40000 l:8080 10/20; 4 tick",
        "p2 -> p1:8080 opened 1 active 1 bytes 10/20 exact",
    );
}

#[test]
fn two_listeners_may_share_a_port_on_two_addresses() {
    check(
        "0 listen 2 b:8080 & listen 1 l:8080 & old 3 a:40000 b:8080 9/7; 4 tick",
        "p3 -> p2:8080 opened 0 active 1 bytes 9/7 listener",
    );
    check(
        "0 listen 1 l:8080 & listen 2 b:8080 & old 3 l:40000 l:8080 9/7; 4 tick",
        "p3 -> p1:8080 opened 0 active 1 bytes 9/7 listener",
    );
}

/// The client knows its server by an address that is translated, and its record is first.
#[test]
fn a_short_connection_through_nat_is_counted_once() {
    check(
        "0 closed 1 client a:40000 x:80 10/20; 1 closed 2 server x:80>b:80 a:40000 20/10",
        "p1 -> p2:80 opened 1 active 0 bytes 10/20 exact vip 10.9.0.120>80",
    );
    check(
        "0 closed 1 client a:40000 x:80 10/20; 1 open 2 server x:80>b:80 a:40000 20/10",
        "p1 -> p2:80 opened 1 active 1 bytes 10/20 exact vip 10.9.0.120>80",
    );
    check(
        "0 closed 1 client a:40000 x:80 10/20; 0 closed 1 client a:40000 x:80 10/20; 4 tick",
        "p1 -> 10.9.0.120:80 opened 1 active 0 bytes 10/20 exact",
    );
}

#[test]
fn segments_from_before_the_agent_are_not_counted() {
    check(
        "0 old 2 b:40000 x:5000 7/9+100/200/5; 1 old 2 b:40000 x:5000 8/9+103/204/6",
        "p2 -> 10.9.0.120:5000 opened 0 active 1 bytes 8/9 listener packets 3/4 retransmits 1",
    );
    check(
        "0 open 1 client a:40000 x:443 10/20+3/4/1",
        "p1 -> 10.9.0.120:443 opened 1 active 1 bytes 10/20 exact packets 3/4 retransmits 1",
    );
}

#[test]
fn a_role_does_not_become_less_sure() {
    check(
        "0 listen 2 b:40000 & old 2 b:40000 x:50000 7/9; 1 old 2 b:40000 x:50000 8/9",
        "10.9.0.120 -> p2:40000 opened 0 active 1 bytes 9/8 listener",
    );
}

#[test]
fn a_connection_follows_its_process() {
    check(
        "0 open 1 client a:40000 x:443 10/20; 1 open 2 client a:40000 x:443 15/20",
        "p2 -> 10.9.0.120:443 opened 1 active 1 bytes 15/20 exact",
    );
    // What a closed connection left on the old edge stays there.
    check(
        "0 old 1 a:40000 x:443 7/9; 0 ended 1 a:40000 x:443 7/9; \
         1 old 1 a:40001 x:443 1/2; 2 old 2 a:40001 x:443 1/2",
        "p1 -> 10.9.0.120:443 opened 0 active 0 bytes 7/9 listener; \
         p2 -> 10.9.0.120:443 opened 0 active 1 bytes 1/2 listener",
    );
}

/// It may have been forwarded to a container: what became of it is not known.
#[test]
fn a_syn_that_no_socket_takes_is_an_edge_without_a_verdict() {
    let vitals = check(
        "0 open 1 client a:40000 x:443 0/0; 0 stray x:5 a:99 1; 0 stray x:5 a:99 2; 0 stray x:5 a:99 4",
        "10.9.0.0 -> 10.9.0.97:99 opened 0 active 0 bytes 0/0 packet; \
         p1 -> 10.9.0.120:443 opened 1 active 1 bytes 0/0 exact",
    );
    assert_eq!(vitals.get(Vital::SynsUnanswered), 4);
}

#[test]
fn a_flood_of_forged_syns_takes_few_edges() {
    let vitals = Arc::new(Vitals::new());
    let mut state = State::new(Arc::clone(&vitals), Duration::from_secs(300));
    state.local_addresses(1, ["10.9.0.97".parse().unwrap()]);
    for n in 0..1000_u16 {
        let mut stray = stray("x:5", "a:99", 1);
        stray.remote[13..15].copy_from_slice(&n.to_be_bytes());
        state.events(&[Event::Stray(stray)], Ktime(0));
    }
    assert_eq!(state.edges().len(), 257);
    assert_eq!((vitals.get(Vital::SynsUnanswered), vitals.get(Vital::EdgesFolded)), (1000, 744));
}

#[test]
fn a_packet_of_an_unknown_kind_is_no_syn() {
    let vitals = Arc::new(Vitals::new());
    let mut state = State::new(Arc::clone(&vitals), Duration::from_secs(300));
    state.local_addresses(1, ["10.9.0.97".parse().unwrap()]);
    state.events(&[Event::Stray(packet::Stray { what: 77, ..stray("x:5", "a:99", 1) })], Ktime(0));
    assert_eq!((state.edges().len(), vitals.get(Vital::RecordsContradictory)), (0, 1));
}

/// Whoever keeps spans bounds their number.
#[test]
fn a_batch_takes_no_memory_but_for_its_spans() {
    let mut state = State::new(Arc::new(Vitals::new()), Duration::from_secs(300));
    state.process(Arc::new(remembered(Tgid(1), "/bin/p1", Ktime(0), &Clock::new())));
    let mut events = vec![Event::Stray(stray("x:5", "y:99", 1)); 1000];
    events.push(Event::Call(call(Ktime(5), "1", "a:5", "b:80", "200")));
    let spans = state.events(&events, Ktime(5)).spans;
    assert_eq!((spans.len(), spans.capacity()), (1, 1));
}

#[test]
fn a_forwarded_syn_is_not_for_us() {
    check("0 stray x:5 y:99 1", "");
}

/// The only place that knows the API.
#[track_caller]
fn check(story: &str, want: &str) -> Arc<Vitals> {
    let (state, vitals) = told(story);
    assert_eq!(edges(&state), want, "\n{story}");
    vitals
}

#[track_caller]
fn told(story: &str) -> (State, Arc<Vitals>) {
    let vitals = Arc::new(Vitals::new());
    let mut state = State::new(Arc::clone(&vitals), Duration::from_secs(300));
    state.local_addresses(1, ["10.9.0.97".parse().unwrap(), "10.9.0.98".parse().unwrap()]);
    for tgid in 1..=3 {
        let process = remembered(Tgid(tgid), &format!("/bin/p{tgid}"), Ktime(0), &Clock::new());
        let runtime = Runtime::Go("go1.26.8".to_owned());
        state.process(Arc::new(Process { runtime, ..process }));
    }
    for line in story.split("; ") {
        let words: Vec<&str> = line.split(' ').collect();
        let now = Ktime(words[0].parse::<u64>().unwrap() * 1_000_000_000);
        match words[1..] {
            ["tick"] => state.tick(now),
            ["dump"] => drop(state.rows(&[], now)),
            ["news"] => {
                state.dump_begins(DumpKind::News);
                state.dump_ends(now);
            }
            ["broken"] => state.dump_begins(DumpKind::Whole),
            ["known"] => state.servers_are_known(),
            ["answer", client, server, answer] => {
                drop(state.questions());
                answered(&mut state, [client, server], answer, now);
            }
            ["listen" | "old" | "open", ..] => {
                let mut rows: Vec<Row> = words[1..].split(|word| *word == "&").map(dumped).collect();
                if words[1] == "old" {
                    // A dump names the listeners, too.
                    rows.push(dumped(&["listen", "2", "b:80"]));
                }
                state.rows(&rows, now);
            }
            ["ended", tgid, local, remote, bytes] => {
                let row = dumped(&["old", tgid, local, remote, bytes]);
                state.events(&[Event::Closed(Closed { header: header(now), row })], now);
            }
            ["closed", ref words @ ..] => {
                let row = dumped(&[&["open"], words].concat());
                state.events(&[Event::Closed(Closed { header: header(now), row })], now);
            }
            ["failed", tgid, local, remote, errno, ref faults @ ..] => {
                let mut row = row(tgid, local, remote, "0/0");
                row.state.role = role::CLIENT;
                row.figures.error = errno.parse().unwrap();
                faults.iter().for_each(|it| fault(&mut row, it));
                state.events(&[Event::ConnectFailed(ConnectFailed { header: header(now), row })], now);
            }
            ["call", tgid, local, remote, status] => {
                state.events(&[Event::Call(call(now, tgid, local, remote, status))], now);
            }
            ["told", client, ip, name] => {
                let lookups = state.messages(&names::answered(client, ip, name, now), now);
                assert_eq!(lookups.len(), 1, "{line}");
            }
            ["stray", remote, local, count] => {
                state.events(&[Event::Stray(stray(remote, local, count.parse().unwrap()))], now);
            }
            _ => panic!("`{line}` is no line of a story"),
        }
    }
    (state, vitals)
}

fn header(now: Ktime) -> Header {
    Header { ktime_ns: now.0, ..Header::zeroed() }
}

/// The question must have been asked. `y:80` is a server that knows its client by the same name, `y:80<z:9` by another.
#[track_caller]
fn answered(state: &mut State, ends: [&str; 2], answer: &str, now: Ktime) {
    let socket = |text| {
        let (ip, port) = address(text);
        super::address::socket(ip, port).unwrap()
    };
    let [client, server] = ends.map(socket);
    let answer = match answer.split_once('<') {
        Some((server, client)) => Answer::Other { server: socket(server), client: socket(client) },
        None if answer == "same" => Answer::Same,
        None if answer == "unknown" => Answer::Unknown,
        None => Answer::Other { server: socket(answer), client },
    };
    state.answers(&[(Question { transport: Transport::Tcp, client, server }, answer)], now);
}

fn edges(state: &State) -> String {
    let lines: BTreeMap<String, String> = state
        .edges()
        .iter()
        .map(|edge| {
            let (c, b) = (edge.connections, edge.bytes);
            let mut line = format!(
                "{} -> {}:{} opened {} active {} bytes {}/{} {}",
                peer(&edge.client),
                peer(&edge.server),
                edge.server_port,
                c.opened,
                c.active,
                b.to_server,
                b.to_client,
                edge.confidence.name()
            );
            if let Some(Vip { ip, backend_port }) = edge.vip {
                line.push_str(&format!(" vip {ip}>{backend_port}"));
            }
            if edge.packets != BothWays::default() {
                line.push_str(&format!(" packets {}/{}", edge.packets.to_server, edge.packets.to_client));
            }
            let requests = edge.requests.as_ref().map_or((0, 0), |it| (it.count, it.errors));
            for (name, count) in [
                ("refused", c.refused),
                ("timed_out", c.timed_out),
                ("abandoned", c.abandoned),
                ("unreachable", c.unreachable),
                ("connect_reset", c.connect_reset),
                ("retransmits", edge.network.retransmits),
                ("syn", edge.faults.retransmits.syn),
                ("fast", edge.faults.retransmits.fast),
                ("rto", edge.faults.retransmits.rto),
                ("tlp", edge.faults.retransmits.tlp),
                ("episodes", edge.faults.rto_episodes),
                ("rto_ms", edge.faults.rto.as_millis().try_into().unwrap()),
                ("retried", edge.faults.retried),
                ("round_trips", edge.network.round_trips.count()),
                ("reset_by_client", edge.faults.closed.reset_by_client),
                ("reset_by_server", edge.faults.closed.reset_by_server),
                ("unacknowledged", edge.faults.closed.unacknowledged),
                ("keepalive", edge.faults.closed.keepalive),
                ("window", edge.faults.closed.window),
                ("requests", requests.0),
                ("errors", requests.1),
            ] {
                if count != 0 {
                    line.push_str(&format!(" {name} {count}"));
                }
            }
            (line.clone(), line)
        })
        .collect();
    lines.into_values().collect::<Vec<_>>().join("; ")
}

fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Process(process) => process.service.name.clone(),
        Peer::Address { ip, name: None } => ip.to_string(),
        Peer::Address { ip, name: Some(name) } => format!("{name}={ip}"),
    }
}

fn side_of(side: &str) -> u8 {
    if side == "client" { role::CLIENT } else { role::SERVER }
}

/// A row of a dump, or of a record of the end.
fn dumped(words: &[&str]) -> Row {
    match *words {
        ["listen", tgid, local, ref faults @ ..] => {
            let mut row = row(tgid, local, "z:0", "0/0");
            row.state.role = role::LISTENER;
            faults.iter().for_each(|it| fault(&mut row, it));
            row
        }
        ["old", tgid, local, remote, bytes] => {
            let mut row = row(tgid, local, remote, bytes);
            row.state.flags = flag::SEEDED;
            row.state.established_ktime_ns = 0;
            (row.state.base_segments_out, row.state.base_segments_in) = (100, 200);
            row.state.base_retransmits = 5;
            row
        }
        ["open", tgid, side, local, remote, bytes, ref faults @ ..] => {
            let mut row = row(tgid, local, remote, bytes);
            row.state.role = side_of(side);
            row.state.opened_ktime_ns = 500_000_000;
            row.state.established_ktime_ns = 500_000_001;
            faults.iter().for_each(|it| fault(&mut row, it));
            row
        }
        _ => panic!("{words:?} is no row"),
    }
}

fn fault(row: &mut Row, word: &str) {
    let state = &mut row.state;
    let (name, value) = word.split_once('=').unwrap_or((word, "0"));
    let number = || numbers::<1>(value)[0] as u32;
    match name {
        "syn" => state.retransmits[class::SYN] = number(),
        "fast" => state.retransmits[class::FAST] = number(),
        "rto" => state.retransmits[class::RTO] = number(),
        "tlp" => state.retransmits[class::TLP] = number(),
        "episodes" => {
            let [episodes, millis] = numbers(value);
            (state.rto_episodes, state.rto_total_ns) = (episodes as u32, millis * 1_000_000);
        }
        "error" => {
            let [errno, retransmits, probes, unacked] = numbers(value);
            (state.close_error, state.close_retransmits) = (errno as u16, retransmits as u8);
            (state.close_probes, state.close_unacked_bytes) = (probes as u8, unacked as u32);
        }
        "rst-in" => state.flags |= flag::RST_IN,
        "rst-out" => state.flags |= flag::RST_OUT,
        "rtt" => [state.handshake_rtt_us, row.figures.srtt_us] = numbers(value).map(|it| it as u32),
        "acked" => row.figures.acked_bytes = number().into(),
        _ => standstills::word(row, name, value),
    }
}

/// Sequence numbers follow from the addresses, so that both ends of a connection agree.
fn row(process: &str, local: &str, remote: &str, figures: &str) -> Row {
    let (tgid, netns) = process.split_once('@').unwrap_or((process, "1"));
    let (tgid, netns) = (tgid.parse().unwrap(), netns.parse().unwrap());
    let mut state = SockState { tgid, netns, ..SockState::zeroed() };
    (state.local, state.local_port) = address(local);
    (state.remote, state.remote_port) = address(remote);
    state.established_ktime_ns = 1;
    state.local_isn = isn(local);
    state.remote_isn = isn(remote);
    let cookie = u64::from(state.local_isn) << 32 | u64::from(state.remote_isn);
    let (bytes, segments) = figures.split_once('+').unwrap_or((figures, "0/0/0"));
    let [sent_bytes, received_bytes] = numbers(bytes);
    let [segments_out, segments_in, retransmits] = numbers(segments).map(|it| it as u32);
    let figures =
        Figures { sent_bytes, received_bytes, segments_out, segments_in, retransmits, ..Figures::zeroed() };
    Row { cookie, state, figures }
}

fn numbers<const N: usize>(text: &str) -> [u64; N] {
    let numbers: Vec<u64> = text.split('/').map(|it| it.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Of the name that the other end has for it.
fn isn(text: &str) -> u32 {
    let text = text.split_once('>').map_or(text, |(text, _)| text);
    let (name, port) = text.split_once(':').unwrap();
    u32::from(name.as_bytes()[0]) << 16 | port.parse::<u32>().unwrap()
}

/// `a` is 10.9.0.97: the last byte is the letter.
fn address(text: &str) -> ([u8; 16], u16) {
    let text = text.split_once('>').map_or(text, |(_, text)| text);
    let (name, port) = text.split_once(':').unwrap();
    let v4 = match name.as_bytes()[0] {
        b'*' => [0; 4],
        b'l' => [127, 0, 0, 1],
        letter => [10, 9, 0, letter],
    };
    let mut bytes = [0; 16];
    bytes[10..12].fill(0xff);
    bytes[12..].copy_from_slice(&v4);
    (bytes, port.parse().unwrap())
}

fn stray(remote: &str, local: &str, count: u64) -> packet::Stray {
    let mut stray = packet::Stray { count, what: packet::what::SYN_UNANSWERED, ..packet::Stray::zeroed() };
    (stray.local, stray.local_port) = address(local);
    (stray.remote, stray.remote_port) = address(remote);
    stray
}

fn call(now: Ktime, tgid: &str, local: &str, remote: &str, status: &str) -> http::Call {
    let mut call = http::Call::zeroed();
    call.header.tgid = tgid.parse().unwrap();
    call.header.ktime_ns = now.0;
    call.side = http::side::CLIENT;
    (call.end, call.status) = match status {
        "unconnected" => (http::end::NO_CONNECTION, 0),
        status => (http::end::RETURNED, status.parse().unwrap()),
    };
    (call.local, call.local_port) = address(local);
    (call.remote, call.remote_port) = address(remote);
    call
}
