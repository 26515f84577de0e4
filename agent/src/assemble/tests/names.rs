//! Stories of names: what a client was told, its edges to outside are called.

use std::net::SocketAddr;

use agent_common::event::udp;

use super::*;
use crate::assemble::lookup::Lookup;
use crate::decode::dns::{Body, DnsMessage, Question, RecordKind, ResponseCode};

#[test]
fn an_edge_outside_is_called_what_its_client_was_told() {
    check(
        "0 told a x shop.example; 1 open 1 client a:40000 x:443 1/2",
        "p1 -> shop.example=10.9.0.120:443 opened 1 active 1 bytes 1/2 exact",
    );
    check(
        "0 told a x old.example; 0 told a x new.example; 1 failed 1 a:0 x:80 111",
        "p1 -> new.example=10.9.0.120:80 opened 0 active 0 bytes 0/0 exact refused 1",
    );
    // A pod's name for it is not the node's, nor another pod's; nor is it the name of the one who comes.
    check(
        "0 told c x pod.example; 0 open 1 client a:40000 x:443 1/2; 0 open 2@7 client c:40000 x:80 3/4; 0 open \
         3@8 client d:40000 x:99 5/6; 0 open 1 server a:90 x:5000 7/8",
        "10.9.0.120 -> p1:90 opened 1 active 1 bytes 8/7 exact; \
         p1 -> 10.9.0.120:443 opened 1 active 1 bytes 1/2 exact; \
         p2 -> pod.example=10.9.0.120:80 opened 1 active 1 bytes 3/4 exact; \
         p3 -> 10.9.0.120:99 opened 1 active 1 bytes 5/6 exact",
    );
    // Of processes on this node it is known who they are.
    check(
        "0 told a b shop.example; 0 closed 1 client a:40000 b:80 1/2; 0 closed 2 server b:80 a:40000 2/1",
        "p1 -> p2:80 opened 1 active 0 bytes 1/2 exact",
    );
}

/// The node asks a resolver on loopback, and connects from another address.
#[test]
fn the_node_has_its_names_in_common() {
    check(
        "0 told l x shop.example; 1 open 1 client a:40000 x:443 1/2",
        "p1 -> shop.example=10.9.0.120:443 opened 1 active 1 bytes 1/2 exact",
    );
}

/// A pod asks by one address and connects from another, as with IPv4 and IPv6.
#[test]
fn a_pod_has_its_names_in_common() {
    check(
        "0 open 2@7 client c:40000 y:80 1/2; 0 told c x shop.example; 1 open 2@7 client d:40000 x:443 3/4",
        "p2 -> 10.9.0.121:80 opened 1 active 1 bytes 1/2 exact; \
         p2 -> shop.example=10.9.0.120:443 opened 1 active 1 bytes 3/4 exact",
    );
}

/// It was told the service's address, and never heard of the one behind it.
#[test]
fn a_server_behind_a_service_is_called_what_its_client_was_told() {
    let told = "0 known; 0 told a x shop.example; 0 open 1 client a:40000 x:80 1/2";
    check(
        &format!("{told}; 0 answer a:40000 x:80 y:7100"),
        "p1 -> shop.example=10.9.0.121:80 opened 1 active 1 bytes 1/2 exact vip 10.9.0.120>7100",
    );
    // Who uses both names means the one that it used.
    check(
        &format!("0 told a y pod.example; {told}; 0 answer a:40000 x:80 y:7100"),
        "p1 -> shop.example=10.9.0.121:80 opened 1 active 1 bytes 1/2 exact vip 10.9.0.120>7100",
    );
    check(
        "0 known; 0 told a y pod.example; 0 open 1 client a:40000 x:80 1/2; 0 answer a:40000 x:80 y:7100",
        "p1 -> pod.example=10.9.0.121:80 opened 1 active 1 bytes 1/2 exact vip 10.9.0.120>7100",
    );
}

#[test]
fn an_edge_keeps_its_name_and_gets_none_when_it_is_old() {
    check(
        "0 told a x shop.example; 1 open 1 client a:40000 x:443 1/2; 2 told a x other.example; 3 open 1 client \
         a:40001 x:443 3/4",
        "p1 -> shop.example=10.9.0.120:443 opened 2 active 2 bytes 4/6 exact",
    );
    // The dump was quicker than the answer.
    check(
        "0 open 1 client a:40000 x:443 1/2; 0 told a x shop.example; 1 open 1 client a:40000 x:443 3/4",
        "p1 -> shop.example=10.9.0.120:443 opened 1 active 1 bytes 3/4 exact",
    );
    check(
        "0 open 1 client a:40000 x:443 1/2; 5 told a x shop.example; 6 open 1 client a:40001 x:443 3/4",
        "p1 -> 10.9.0.120:443 opened 2 active 2 bytes 4/6 exact",
    );
}

/// Its packet points to its socket; whose that is tells the first call, which returns when the packet is gone.
#[test]
fn the_process_that_asks_is_the_owner_of_its_socket() {
    let mut state = State::new(Arc::new(Vitals::new()), Duration::from_secs(300));
    state.process(Arc::new(remembered(Tgid(1), "/bin/p1", Ktime(0), &Clock::new())));
    let second = |n: u64| Ktime(n * 1_000_000_000);
    let ask = |cookie, now| {
        let [query, answer] = answered("a", "x", "shop.example", now);
        [DnsMessage { cookie, ..query }, answer]
    };
    let owner = |cookie| {
        let header = Header { tgid: 1, ..Header::zeroed() };
        Event::UdpOwner(udp::UdpOwner { header, cookie, ..udp::UdpOwner::zeroed() })
    };
    let clients = |lookups: Vec<Lookup>| lookups.iter().map(Lookup::client_name).collect::<Vec<_>>();

    // It comes later: the lookup waits for it.
    assert_eq!(clients(state.messages(&ask(7, second(1)), second(1))), [""; 0]);
    assert_eq!(clients(state.unanswered(second(1))), [""; 0]);
    state.events(&[owner(7)], second(1));
    assert_eq!(clients(state.unanswered(second(1))), ["p1"]);
    // It is known.
    assert_eq!(clients(state.messages(&ask(7, second(2)), second(2))), ["p1"]);
    // It never comes.
    assert_eq!(clients(state.messages(&ask(8, second(3)), second(3))), [""; 0]);
    assert_eq!(clients(state.unanswered(second(4))), ["10.9.0.97"]);
    assert_eq!(clients(state.unanswered(second(5))), [""; 0]);
    // There is nothing to wait for.
    assert_eq!(clients(state.messages(&ask(0, second(6)), second(6))), ["10.9.0.97"]);
}

#[test]
fn lookups_that_wait_for_their_process_are_bounded() {
    let mut state = State::new(Arc::new(Vitals::new()), Duration::from_secs(300));
    let messages: Vec<DnsMessage> = (0..5000_u64)
        .flat_map(|n| {
            let [mut query, mut answer] = answered("a", "x", "shop.example", Ktime(0));
            query.cookie = n + 1;
            for it in [&mut query, &mut answer] {
                it.client.set_port(1000 + n as u16);
            }
            [query, answer]
        })
        .collect();
    let told = state.messages(&messages, Ktime(0)).len();
    let waited = state.unanswered(Ktime(1_000_000_000)).len();
    assert_eq!((told, waited), (5000 - 4096, 4096));
}

/// A question and its answer.
pub(super) fn answered(client: &str, ip: &str, name: &str, now: Ktime) -> [DnsMessage; 2] {
    let at = |letter: &str, port| {
        SocketAddr::new(super::super::address::ip(address(&format!("{letter}:0")).0), port)
    };
    let question = Question { name: name.into(), kind: RecordKind(1) };
    let message = |body| DnsMessage {
        at: now,
        asker: Tgid(0),
        cookie: 0,
        client: at(client, 40_000),
        resolver: at("r", 53),
        is_tcp: false,
        id: 7,
        body,
    };
    let addresses = vec![(at(ip, 0).ip(), Duration::from_secs(60))];
    let answer = Body::Answer { question: Some(question.clone()), code: ResponseCode::NO_ERROR, addresses };
    [message(Body::Query(question)), message(answer)]
}
