//! Stories of what went wrong.

use super::{
    super::{
        faults::Death,
        incident::{Happened, Other},
    },
    *,
};

#[test]
fn what_each_end_sent_again_is_summed_by_cause() {
    check(
        "0 closed 1 client a:40000 b:80 9/7+9/7/3 fast=2 tlp=1; 0 closed 2 server b:80 a:40000 7/9+7/9/3 syn=1 fast=1 rto=1",
        "p1 -> p2:80 opened 1 active 0 bytes 9/7 exact packets 9/7 retransmits 6 syn 1 fast 3 rto 1 tlp 1",
    );
    // Of one that is open, what came since the last dump.
    check(
        "0 open 1 client a:40000 x:443 1/2 fast=2; 1 open 1 client a:40000 x:443 1/2 fast=5 episodes=1/300; \
         2 closed 1 client a:40000 x:443 1/2 fast=5 episodes=2/1400",
        "p1 -> 10.9.0.120:443 opened 1 active 0 bytes 1/2 exact fast 5 episodes 2 rto_ms 1400",
    );
}

#[test]
fn a_connection_ends_once_whoever_tells_it() {
    let edge = |how: &str| format!("p1 -> p2:80 opened 1 active 0 bytes 1/2 exact {how} 1");
    let ends = |client: &str, server: &str| {
        format!("0 closed 1 client a:40000 b:80 1/2{client}; 0 closed 2 server b:80 a:40000 2/1{server}")
    };
    check(&ends("", ""), "p1 -> p2:80 opened 1 active 0 bytes 1/2 exact");
    check(&ends(" rst-out", " rst-in error=104/0/0/0"), &edge("reset_by_client"));
    check(&ends(" error=104/0/0/0", ""), &edge("reset_by_server"));
    check(&ends(" error=110/6/0/900", ""), &edge("unacknowledged"));
    check(&ends(" rst-in", " rst-out error=110/0/2/0"), &edge("keepalive"));
    check(&ends("", " error=110/0/9/4000"), &edge("window"));
    // The other end is told of when the first one was counted long ago.
    check(
        "0 closed 1 client a:40000 x:80 1/2; 1 closed 2 server x:80>b:80 a:40000 2/1 rst-out",
        "p1 -> p2:80 opened 1 active 0 bytes 1/2 exact vip 10.9.0.120>80",
    );
}

#[test]
fn a_connection_that_took_more_than_one_syn_is_told_apart() {
    check(
        "0 open 1 client a:40000 x:443 1/2 syn=1; 1 open 1 client a:40000 x:443 1/2 syn=1",
        "p1 -> 10.9.0.120:443 opened 1 active 1 bytes 1/2 exact syn 1 retried 1",
    );
    // The answer got lost, but the client has long been content.
    check(
        "0 closed 1 client a:40000 b:80 1/2; 0 closed 2 server b:80 a:40000 2/1 syn=2",
        "p1 -> p2:80 opened 1 active 0 bytes 1/2 exact syn 2",
    );
}

#[test]
fn round_trips_are_taken_at_the_handshake_when_the_peer_was_heard_and_at_the_end() {
    check(
        "0 open 1 client a:40000 x:443 1/2 rtt=100/110 acked=1; 1 open 1 client a:40000 x:443 1/2 rtt=100/120 acked=1; \
         2 open 1 client a:40000 x:443 1/2 rtt=100/130 acked=2; 3 closed 1 client a:40000 x:443 1/2 rtt=100/140 acked=2",
        "p1 -> 10.9.0.120:443 opened 1 active 0 bytes 1/2 exact round_trips 3",
    );
    check(
        "0 closed 1 client a:40000 b:80 1/2 rtt=50/60; 0 closed 2 server b:80 a:40000 2/1 rtt=70/80",
        "p1 -> p2:80 opened 1 active 0 bytes 1/2 exact round_trips 2",
    );
}

#[test]
fn what_happened_to_a_connection_is_told_once() {
    let mut state = State::new(Arc::new(Vitals::new()), Duration::from_secs(300));
    let mut told = |closed: bool, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let row = dumped(&words);
        let incidents = if closed {
            let record = Closed { header: Header::zeroed(), row };
            state.events(&[Event::Closed(record)], Ktime(9)).incidents
        } else {
            state.rows(&[row], Ktime(9))
        };
        incidents.iter().map(|it| (it.happened, it.other)).collect::<Vec<_>>()
    };
    let server = Other::Server("10.9.0.120:443".parse().unwrap());
    let late = Happened::ConnectedLate { syns: 2, took: Some(Duration::from_nanos(1)) };
    assert_eq!(told(false, "open 1 client a:40000 x:443 1/2 syn=1"), [(late, server)]);
    assert_eq!(told(false, "open 1 client a:40000 x:443 1/2 syn=1"), []);
    let died = Happened::Died(Death::Unacknowledged);
    assert_eq!(told(false, "open 1 client a:40000 x:443 1/2 syn=1 error=110/6/0/900"), [(died, server)]);
    assert_eq!(told(true, "open 1 client a:40000 x:443 1/2 syn=1 error=110/6/0/900"), []);
    // What was short is told by its end alone; of a handshake that a server repeated there is nothing to tell.
    let client = Other::Client("10.9.0.120".parse().unwrap(), 80);
    let keepalive = Happened::Died(Death::KeepAlive);
    assert_eq!(told(true, "open 2 server b:80 x:5000 1/2 syn=1 error=110/0/2/0"), [(keepalive, client)]);
}
