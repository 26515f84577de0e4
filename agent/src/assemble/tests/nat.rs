//! Addresses that are translated between the two ends.

use super::{super::failure::ConnectFailure, answered, check, told};
use crate::{
    clock::Ktime,
    vitals::{Vital, Vitals},
};

#[test]
fn the_edge_has_the_port_of_the_service() {
    let vitals = check(
        "0 open 1 client a:40000 x:80 10/20 & open 2 server x:80>b:7100 a:40000 20/10",
        "p1 -> p2:80 opened 1 active 1 bytes 10/20 exact vip 10.9.0.120>7100",
    );
    counted(&vitals, [1, 0, 0]);
    // Only the client's address is translated: no service.
    let vitals = check(
        "0 open 1 client a:40000 b:80 10/20 & open 2 server b:80 a:40000>z:99 20/10",
        "p1 -> p2:80 opened 1 active 1 bytes 10/20 exact",
    );
    counted(&vitals, [1, 0, 0]);
}

#[test]
fn nothing_is_translated_where_both_agree() {
    let vitals = check(
        "0 open 1 client a:40000 b:80 10/20 & open 2 server b:80 a:40000 20/10",
        "p1 -> p2:80 opened 1 active 1 bytes 10/20 exact",
    );
    counted(&vitals, [0, 0, 0]);
}

#[test]
fn services_before_one_server_are_edges_of_their_own() {
    check(
        "0 open 1 client a:40000 x:80 1/2 & open 2 server x:80>b:7100 a:40000 2/1; \
         0 open 1 client a:40001 y:80 3/4 & open 2 server y:80>b:7100 a:40001 4/3; \
         0 open 1 client a:40002 b:7100 5/6 & open 2 server b:7100 a:40002 6/5",
        "p1 -> p2:7100 opened 1 active 1 bytes 5/6 exact; \
         p1 -> p2:80 opened 1 active 1 bytes 1/2 exact vip 10.9.0.120>7100; \
         p1 -> p2:80 opened 1 active 1 bytes 3/4 exact vip 10.9.0.121>7100",
    );
}

#[test]
fn who_knows_the_server_is_asked_for_each_connection() {
    let known = "0 known; 0 open 1 client a:40000 x:80 10/20";
    check(known, "");
    let vitals = check(
        &format!("{known}; 0 answer a:40000 x:80 y:7100"),
        "p1 -> 10.9.0.121:80 opened 1 active 1 bytes 10/20 exact vip 10.9.0.120>7100",
    );
    counted(&vitals, [0, 1, 0]);
    // The next one may have another server.
    let vitals = check(
        &format!(
            "{known}; 0 answer a:40000 x:80 y:7100; \
             1 open 1 client a:40001 x:80 1/2; 1 answer a:40001 x:80 z:7100; 2 open 1 client a:40001 x:80 5/6"
        ),
        "p1 -> 10.9.0.121:80 opened 1 active 1 bytes 10/20 exact vip 10.9.0.120>7100; \
         p1 -> 10.9.0.122:80 opened 1 active 1 bytes 5/6 exact vip 10.9.0.120>7100",
    );
    counted(&vitals, [0, 2, 0]);
}

#[test]
fn a_server_that_listens_here_is_named_by_its_listener() {
    check(
        "0 known; 0 listen 2@7 *:7100 & open 3@7 client b:9 y:1 0/0 & open 1 client a:40000 x:80 10/20; \
         0 answer b:9 y:1 same; 0 answer a:40000 x:80 b:7100; 4 tick",
        "p1 -> p2:80 opened 1 active 1 bytes 10/20 exact vip 10.9.0.120>7100; \
         p3 -> 10.9.0.121:1 opened 1 active 1 bytes 0/0 exact",
    );
}

/// Of an address that is no service's nobody asks again for a while.
#[test]
fn an_address_that_is_its_own_is_remembered() {
    let vitals = check(
        "0 known; 0 open 1 client a:40000 x:443 10/20; 0 answer a:40000 x:443 same; \
         9 open 1 client a:40001 x:443 1/2",
        "p1 -> 10.9.0.120:443 opened 2 active 2 bytes 11/22 exact",
    );
    counted(&vitals, [0, 0, 0]);
    check(
        "0 known; 0 open 1 client a:40000 x:443 10/20; 0 answer a:40000 x:443 same; \
         61 open 1 client a:40001 x:443 1/2",
        "p1 -> 10.9.0.120:443 opened 1 active 1 bytes 10/20 exact",
    );
}

/// Never a lost edge: the address that the client used is its end.
#[test]
fn what_nobody_knows_is_unresolved_and_stays_an_edge() {
    let edge = "p1 -> 10.9.0.120:80 opened 1 active 1 bytes 10/20 exact";
    let vitals = check("0 known; 0 open 1 client a:40000 x:80 10/20; 0 answer a:40000 x:80 unknown", edge);
    counted(&vitals, [0, 0, 0]);
    let asked = "0 known; 0 open 1 client a:40000 x:80 10/20; 0 answer a:40000 x:80 unknown; 4 tick; 5 tick";
    counted(&check(asked, edge), [0, 0, 1]);
    // Nobody answers.
    let vitals = check("0 known; 0 open 1 client a:40000 x:80 10/20; 1 tick; 5 tick", edge);
    counted(&vitals, [0, 0, 1]);
    assert_eq!(vitals.get(Vital::ServersNotAsked), 1);
    // Nobody is there to answer.
    counted(&check("0 open 1 client a:40000 x:80 10/20; 5 tick", edge), [0, 0, 1]);
    let closed = "p1 -> 10.9.0.120:80 opened 1 active 0 bytes 10/20 exact";
    counted(&check("0 closed 1 client a:40000 x:80 10/20; 5 tick", closed), [0, 0, 1]);
    // Of a connection that is older than the agent the other end has another name.
    counted(
        &check(
            "0 old 1 a:40000 x:80 7/9; 0 ended 1 a:40000 x:80 7/9",
            "p1 -> 10.9.0.120:80 opened 0 active 0 bytes 7/9 listener",
        ),
        [0, 0, 1],
    );
}

/// The record of the server's end comes later than that of the client's.
#[test]
fn an_end_that_comes_late_resolves_and_is_counted_once() {
    let edge = "p1 -> p2:80 opened 1 active 0 bytes 10/20 exact vip 10.9.0.120>7100";
    let ends = ["closed 1 client a:40000 x:80 10/20", "closed 2 server x:80>b:7100 a:40000 20/10"];
    let [client, server] = ends;
    counted(&check(&format!("0 {client}; 1 {server}; 5 tick"), edge), [1, 0, 0]);
    counted(&check(&format!("0 {server}; 1 {client}; 5 tick"), edge), [1, 0, 0]);
    let vitals =
        check(&format!("0 known; 0 {client}; 0 answer a:40000 x:80 b:7100; 1 {server}; 5 tick"), edge);
    counted(&vitals, [1, 0, 0]);
    let late = format!("0 known; 0 {client}; 0 answer a:40000 x:80 unknown; 1 {server}; 5 tick");
    counted(&check(&late, edge), [1, 0, 0]);
}

/// Its answer comes when it was given up already.
#[test]
fn a_late_answer_moves_the_connection() {
    let vitals = check(
        "0 known; 0 open 1 client a:40000 x:80 10/20; 2 tick; 6 tick; 7 answer a:40000 x:80 y:7100; \
         8 open 1 client a:40000 x:80 11/22",
        "p1 -> 10.9.0.121:80 opened 1 active 1 bytes 11/22 exact vip 10.9.0.120>7100",
    );
    assert_eq!(vitals.get(Vital::NatUnresolved), 1);
}

/// Connection tracking knows for a while whom the SYN was for.
#[test]
fn a_failed_connect_is_at_the_server_behind_its_service() {
    let failed = "0 known; 0 failed 1 a:40000 x:80 0";
    check(failed, "");
    check(
        &format!("{failed}; 0 answer a:40000 x:80 y:7100"),
        "p1 -> 10.9.0.121:80 opened 0 active 0 bytes 0/0 exact vip 10.9.0.120>7100 abandoned 1",
    );
    check(
        &format!("0 listen 2 b:7100; {failed}; 0 answer a:40000 x:80 b:7100<z:99"),
        "p1 -> p2:80 opened 0 active 0 bytes 0/0 exact vip 10.9.0.120>7100 abandoned 1",
    );
    check(
        &format!("{failed}; 0 answer a:40000 x:80 same"),
        "p1 -> 10.9.0.120:80 opened 0 active 0 bytes 0/0 exact abandoned 1",
    );
}

/// The kernel forgets at once whom it was for.
#[test]
fn a_refused_connect_is_at_the_one_that_served_before() {
    let served = "0 known; 0 open 1 client a:40000 x:80 1/2; 0 answer a:40000 x:80 y:7100";
    check(
        &format!("{served}; 1 failed 1 a:40001 x:80 111 rst-in"),
        "p1 -> 10.9.0.121:80 opened 1 active 1 bytes 1/2 exact vip 10.9.0.120>7100 refused 1",
    );
    check(
        "0 open 1 client a:40000 x:80 1/2 & open 2 server x:80>b:7100 a:40000 2/1; \
         1 failed 1 a:40001 x:80 111 rst-in",
        "p1 -> 10.9.0.98:80 opened 0 active 0 bytes 0/0 exact vip 10.9.0.120>7100 refused 1; \
         p1 -> p2:80 opened 1 active 1 bytes 1/2 exact vip 10.9.0.120>7100",
    );
    let to_one = "p1 -> 10.9.0.121:80 opened 1 active 1 bytes 1/2 exact vip 10.9.0.120>7100";
    let at_the_service = "p1 -> 10.9.0.120:80 opened 0 active 0 bytes 0/0 exact vip 10.9.0.120>7100";
    // No reset: it was turned away before it came there.
    check(
        &format!("{served}; 1 failed 1 a:40001 x:80 111; 1 answer a:40001 x:80 unknown"),
        &format!("{at_the_service} refused 1; {to_one}"),
    );
    check(
        &format!("{served}; 1 failed 1 a:40001 x:80 113; 1 answer a:40001 x:80 unknown"),
        &format!("{at_the_service} unreachable 1; {to_one}"),
    );
    // There are two.
    let two = format!("{served}; 0 open 1 client a:40002 x:80 0/0; 0 answer a:40002 x:80 z:7100");
    check(
        &format!("{two}; 1 open 1 client a:40002 x:80 3/4; 1 failed 1 a:40001 x:80 111 rst-in"),
        &format!(
            "{at_the_service} refused 1; {to_one}; \
             p1 -> 10.9.0.122:80 opened 1 active 1 bytes 3/4 exact vip 10.9.0.120>7100"
        ),
    );
    // That is long ago.
    check(
        &format!("{served}; 301 failed 1 a:40001 x:80 111 rst-in"),
        &format!("p1 -> 10.9.0.120:80 opened 0 active 0 bytes 0/0 exact refused 1; {to_one}"),
    );
}

/// Who tells others of it knows what the edge knows, and is not told before.
#[test]
fn a_failed_connect_is_told_with_the_server_behind_its_service() {
    let check = |story: &str, want: &[&str]| {
        let (mut state, _) = told(story);
        let told = state.told(Ktime(0)).failures;
        assert_eq!(told.iter().map(ConnectFailure::whom).collect::<Vec<_>>(), want, "{story}");
        state
    };
    let failed = "0 known; 0 failed 1 a:40000 x:80 110";
    check(&format!("{failed}; 0 answer a:40000 x:80 y:7100"), &["10.9.0.120:80 (10.9.0.121:7100 behind it)"]);
    check(&format!("{failed}; 0 answer a:40000 x:80 same"), &["10.9.0.120:80"]);
    check(&format!("{failed}; 1 tick"), &["10.9.0.120:80"]);
    let mut state = check(failed, &[]);
    assert_eq!(state.last_told(Ktime(0)).failures.len(), 1, "nobody waits for the answer any more");
}

/// Whatever is known, and whenever: the connect failed, and is on an edge.
#[test]
fn a_failed_connect_is_never_lost() {
    let edge = "p1 -> 10.9.0.120:80 opened 0 active 0 bytes 0/0 exact timed_out 1";
    for story in [
        "0 failed 1 a:40000 x:80 110",
        "0 known; 0 failed 1 a:0 x:80 110",
        "0 known; 0 failed 1 a:40000 x:80 110; 0 answer a:40000 x:80 unknown",
        "0 known; 0 failed 1 a:40000 x:80 110; 1 tick; 2 answer a:40000 x:80 y:7100",
    ] {
        check(story, edge);
    }
    let vitals = check("0 known; 0 failed 1 a:40000 x:80 110; 1 tick", edge);
    assert_eq!(vitals.get(Vital::ServersNotAsked), 1);
    // Of one that nobody tracked it does not follow that nothing is.
    check(
        "0 known; 0 failed 1 a:40000 x:80 110; 0 answer a:40000 x:80 unknown; \
         0 open 1 client a:40001 x:80 1/2; 0 answer a:40001 x:80 y:7100",
        &format!("{edge}; p1 -> 10.9.0.121:80 opened 1 active 1 bytes 1/2 exact vip 10.9.0.120>7100"),
    );
    let mut story = String::from("0 known");
    for port in 0..70 {
        story.push_str(&format!("; 0 failed 1 a:{} x:{} 110", 1000 + port, 2000 + port));
    }
    let (state, vitals) = told(&format!("{story}; 1 tick"));
    assert_eq!((state.edges().len(), vitals.get(Vital::ServersNotAsked)), (70, 70));
}

/// They have no sequence numbers to be joined by.
#[test]
fn two_halves_of_an_older_connection_are_one_when_connection_tracking_says_so() {
    let halves = "0 known; 0 old 1 a:40000 x:80 7/9 & old 2 b:7100 z:50000 9/7";
    check(
        halves,
        "10.9.0.122 -> p2:7100 opened 0 active 1 bytes 7/9 port; \
         p1 -> 10.9.0.120:80 opened 0 active 1 bytes 7/9 listener",
    );
    let answer = "answer a:40000 x:80 b:7100<z:50000";
    let edge = |active, bytes| {
        format!("p1 -> p2:80 opened 0 active {active} bytes {bytes} listener vip 10.9.0.120>7100")
    };
    counted(&check(&format!("{halves}; 0 {answer}"), &edge(1, "7/9")), [0, 1, 0]);
    // Its server's half is seen after the answer.
    check(
        &format!(
            "0 known; 0 old 1 a:40000 x:80 7/9; 0 {answer}; 1 old 2 b:7100 z:50000 9/7 & old 1 a:40000 x:80 7/9"
        ),
        &edge(1, "7/9"),
    );
    let grown = format!("{halves}; 0 {answer}; 5 old 1 a:40000 x:80 8/9 & old 2 b:7100 z:50000 9/8");
    check(&grown, &edge(1, "8/9"));
    let ended = format!("{grown}; 6 ended 2 b:7100 z:50000 9/8; 6 ended 1 a:40000 x:80 8/9");
    check(&ended, &edge(0, "8/9"));
    let (state, _) = told(&ended);
    assert_eq!(format!("{state:?}").matches("halves: {}").count(), 2, "nothing is kept of it");
    // The same ports are somebody else's by then.
    check(
        &format!("{ended}; 9 old 2 b:7100 z:50000 1/2"),
        &format!("10.9.0.122 -> p2:7100 opened 0 active 1 bytes 2/1 port; {}", edge(0, "8/9")),
    );
}

#[test]
fn an_older_connection_to_itself_or_to_nobody_known_stays() {
    let edge = "p1 -> 10.9.0.120:80 opened 0 active 1 bytes 7/9 listener";
    let old = "0 known; 0 old 1 a:40000 x:80 7/9; 0 answer a:40000 x:80";
    counted(&check(&format!("{old} same; 9 tick"), edge), [0, 0, 0]);
    counted(&check(&format!("{old} unknown; 9 old 1 a:40000 x:80 7/9; 19 tick"), edge), [0, 0, 1]);
}

/// When the agent starts there are many.
#[test]
fn older_connections_are_asked_for_a_few_at_a_time_and_the_newest_first() {
    let mut story = String::from("0 known; 0 old 3 a:40000 x:999 0/0");
    for port in 1..=40 {
        story.push_str(&format!(" & old 1 a:{} x:{port} 1/2", 40_000 + port));
    }
    let (mut state, vitals) = told(&story);
    let asked: Vec<u16> = state.questions().iter().map(|it| it.server.port()).collect();
    assert_eq!(asked, (25..=40).rev().collect::<Vec<_>>());
    assert_eq!(state.questions(), []);
    let mut answer = |port: u16| {
        answered(&mut state, [&format!("a:{}", 40_000 + port), &format!("x:{port}")], "same", Ktime(0));
        state.questions().iter().map(|it| it.server.port()).collect::<Vec<_>>()
    };
    assert_eq!([answer(40), answer(39)], [[24], [23]]);
    assert_eq!(vitals.get(Vital::ServersNotAsked), 0);

    let mut story = String::from("0 known; 0 old 3 a:40000 x:999 0/0");
    for port in 1..=4100 {
        story.push_str(&format!(" & old 1 a:{} x:{port} 1/2", 40_000 + port));
    }
    let (_, vitals) = told(&story);
    assert_eq!(vitals.get(Vital::ServersNotAsked), 5);
}

#[test]
fn questions_are_bounded_and_those_left_out_are_counted() {
    let mut story = String::from("0 known; 0 listen 2 b:80");
    for port in 0..70 {
        story.push_str(&format!(" & open 1 client a:{} x:{} 1/2", 1000 + port, 2000 + port));
    }
    let (state, vitals) = told(&format!("{story}; 1 tick; 9 tick; 15 tick"));
    let counts = (state.edges().len(), vitals.get(Vital::ServersNotAsked), vitals.get(Vital::NatUnresolved));
    assert_eq!(counts, (70, 70, 70));
}

#[track_caller]
fn counted(vitals: &Vitals, want: [u64; 3]) {
    let got = [Vital::NatBySequence, Vital::NatByConntrack, Vital::NatUnresolved].map(|it| vitals.get(it));
    assert_eq!(got, want, "by sequence numbers, by conntrack, unresolved");
}
