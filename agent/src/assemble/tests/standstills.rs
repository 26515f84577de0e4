//! What stands still, dump by dump. Of an open row, after its bytes:
//!
//! `up` or `state=N`; milliseconds since data was `sent=`, anything was `heard=`, `data=` came in;
//! `out=PACKETS/UNACKED/WINDOW`; `timer=FIRED/BACKOFF/RTO_MS`, `rto-since=SECOND`; `unread=BYTES`;
//! of a listener `backlog=WAITING/MOST`.

use super::*;
use crate::assemble::{
    incident::{Happened, Incident, Other, Stands},
    standstill::Standstill,
};

#[test]
fn a_network_is_silent_when_what_is_repeated_is_not_acknowledged() {
    let dump = |second: u64, fired, heard_ms: u64| {
        let rto = 200 << fired;
        format!(
            "{second} open 1 client a:40000 x:443 9/9 up out=1/10/500 timer={fired}/{fired}/{rto} heard={heard_ms}"
        )
    };
    check(&dump(9, 1, 700), "");
    // The peer says something, though it does not acknowledge.
    check(&dump(9, 2, 400), "");
    check(&dump(9, 2, 401), "9 p1 network server x:443 401 ms of 1 new");
    // It was silent before anything was sent.
    let since = format!("{} rto-since=8", dump(9, 3, 60_000));
    check(&since, "9 p1 network server x:443 1000 ms of 1 new");
    // Of what was lost first, something has arrived since.
    let since = format!("{} rto-since=2", dump(9, 2, 700));
    check(&since, "9 p1 network server x:443 700 ms of 1 new");
}

#[test]
fn only_its_fin_is_missed_by_nobody() {
    let dump = |state, unacked| {
        format!(
            "9 open 1 client a:40000 x:443 9/9 state={state} out=1/{unacked}/500 timer=3/3/1600 heard=2000"
        )
    };
    for closing in [tcp_state::FIN_WAIT1, tcp_state::CLOSING, tcp_state::LAST_ACK] {
        check(&dump(closing, 1), "");
        check(&dump(closing, 2), "9 p1 network server x:443 2000 ms of 1 new");
    }
    check(&dump(tcp_state::CLOSE_WAIT, 1), "9 p1 network server x:443 2000 ms of 1 new");
    check(&dump(tcp_state::CLOSE, 9), "");
}

#[test]
fn a_closed_window_is_told_when_nothing_could_be_sent_for_a_while() {
    let dump = |backoff: u32, sent_ms, out| {
        format!("9 open 2 server b:80 x:5000 9/9 up sent={sent_ms} heard=50 out={out} timer=0/{backoff}/204")
    };
    check(&dump(3, 1999, "0/48904/0"), "");
    check(&dump(3, 2000, "0/48904/0"), "9 p2 window client x:80 2000 ms of 1 new");
    check(&dump(3, 9000, "0/48904/1"), "");
    check(&dump(3, 9000, "1/48904/0"), "");
    check(&dump(3, 9000, "0/0/0"), "");
    // There was nothing to send for an hour: since then it was probed 4 times, after 204 ms, 408 ms and so on.
    check(&dump(4, 3_600_000, "0/5/0"), "9 p2 window client x:80 6324 ms of 1 new");
    check(&dump(2, 3_600_000, "0/5/0"), "");
}

#[test]
fn a_server_that_does_not_read_is_silent() {
    let dump =
        |side, data_ms| format!("9 open 2 {side} b:80 x:5000 0/80 up data={data_ms} sent=9000 unread=80");
    check(&dump("server", 4999), "");
    check(&dump("server", 5000), "9 p2 unread client x:80 5000 ms of 1 new");
    check(&dump("client", 5000), "");
    check("9 open 2 server b:80 x:5000 0/80 state=8 data=9000 sent=9000 unread=80", "");
    check("9 open 2 server b:80 x:5000 0/80 up data=9000 sent=9000 unread=0", "");
    // Nobody knows who asks whom.
    check("9 old 2 y:40000 x:40001 0/80", "");
}

/// Three answers of 8 ms in three dumps.
const ANSWERS: &str = "1 open 1 client a:40000 x:443 9/9 up sent=108 data=100; \
                       2 open 1 client a:40000 x:443 18/18 up sent=108 data=100; \
                       3 open 1 client a:40000 x:443 27/27 up sent=108 data=100";

#[test]
fn a_server_that_used_to_answer_and_does_not_is_silent() {
    let after = |dump: &str| format!("{ANSWERS}; {dump}");
    let asks = "9 open 1 client a:40000 x:443 36/27 up";
    check(&after(&format!("{asks} sent=4999 data=6000")), "");
    check(
        &after(&format!("{asks} sent=5000 data=6000")),
        "9 p1 unanswered after 8 server x:443 5000 ms of 1 new",
    );
    // By another connection, on which nothing was said yet.
    check(
        &after("9 open 1 client a:40001 x:443 9/0 up sent=5000 data=5000"),
        "9 p1 unanswered after 8 server x:443 5000 ms of 1 new",
    );
    // Of another server, or by another process, nothing is known.
    check(&after("9 open 1 client a:40002 y:443 36/27 up sent=9000 data=9900"), "");
    check(&after("9 open 2 client a:40002 x:443 36/27 up sent=9000 data=9900"), "");
    check("9 open 1 client a:40000 x:443 36/27 up sent=5000 data=6000", "");
}

/// What makes a connection that rests look like a request.
#[test]
fn whoever_rests_does_not_wait() {
    let after = |dump: &str| check(&format!("{ANSWERS}; {dump}"), "");
    // The server had the last word, long ago.
    after("9 open 1 client a:40000 x:443 27/27 up sent=6008 data=6000");
    // HTTP/2 confirms what it has received.
    after("9 open 1 client a:40000 x:443 36/27 up sent=5901 data=6000");
    // Nothing was ever said.
    after("9 open 1 client a:40001 x:443 0/0 up sent=9000 data=9000");
    // On its way, or not sent yet: that is another matter.
    after("9 open 1 client a:40000 x:443 36/27 up sent=5000 data=6000 out=1/9/500");
    after("9 open 1 client a:40000 x:443 36/27 up sent=5000 data=6000 out=0/9/500");
    // The other end has nothing more to say.
    after("9 open 1 client a:40000 x:443 36/27 state=8 sent=5000 data=6000");
    // The server's own end of it.
    after("9 open 2 server b:443 x:5000 36/27 up sent=5000 data=6000");
}

#[test]
fn a_slow_server_is_judged_by_its_own_answers() {
    let slow = "1 open 1 client a:40000 x:443 9/9 up sent=30000 data=0; \
                2 open 1 client a:40000 x:443 9/9 up sent=30100 data=0; \
                3 open 1 client a:40000 x:443 9/9 up sent=30050 data=0";
    check(&format!("{slow}; 150 open 1 client a:40000 x:443 36/9 up sent=120399 data=121000"), "");
    check(
        &format!("{slow}; 150 open 1 client a:40000 x:443 36/9 up sent=120400 data=121000"),
        "150 p1 unanswered after 30100 server x:443 120400 ms of 1 new",
    );
    // What it said last is an old story.
    let old = slow.replace("data=0", "data=3001");
    check(&format!("{old}; 150 open 1 client a:40000 x:443 36/9 up sent=140000 data=141000"), "");
}

/// It is wrong once, and learns.
#[test]
fn who_speaks_again_without_an_answer_did_not_wait() {
    let waits = "9 open 1 client a:40000 x:443 36/27 up sent=5000 data=6000";
    let told = "9 p1 unanswered after 8 server x:443 5000 ms of 1 new";
    let again = "10 open 1 client a:40000 x:443 45/27 up sent=10 data=7000; \
                 16 open 1 client a:40000 x:443 45/27 up sent=6010 data=13000";
    check(&format!("{ANSWERS}; {waits}; {again}"), told);
    // With an answer in between it is another request.
    let answered = again.replace("/27", "/36");
    check(
        &format!("{ANSWERS}; {waits}; {answered}"),
        &format!("{told}; 16 p1 unanswered after 8 server x:443 6010 ms of 1 new"),
    );
}

#[test]
fn a_full_accept_queue_is_told_at_once_and_grows_old() {
    check("1 listen 2 b:80 state=10 backlog=128/128", "");
    check("1 listen 2 b:80 state=10 backlog=1/0", "1 p2 queue 1/0 own b:80 0 ms of 1 new");
    check(
        "1 listen 2 b:80 state=10 backlog=129/128; 3 listen 2 b:80 state=10 backlog=129/128; \
         4 listen 2 b:80 state=10 backlog=5/128; 5 listen 2 b:80 state=10 backlog=129/128",
        "1 p2 queue 129/128 own b:80 0 ms of 129 new; 3 p2 queue 129/128 own b:80 2000 ms of 129; \
         5 p2 queue 129/128 own b:80 0 ms of 129 new",
    );
}

#[test]
fn many_that_wait_for_the_same_are_one() {
    let silent =
        |ends: &str, heard_ms| format!("open {ends} 9/9 up out=1/10/500 timer=3/3/1600 heard={heard_ms}");
    let dump = [
        silent("1 client a:40000 x:443", 2000),
        silent("1 client a:40001 x:443", 4000),
        silent("1 client a:40002 y:443", 3000),
        // Each client of a server may be another one.
        silent("2 server b:80 x:5000", 2000),
        silent("2 server b:80 y:5000", 3000),
    ];
    check(
        &format!("9 {}", dump.join(" & ")),
        "9 p1 network server x:443 4000 ms of 2 new; 9 p1 network server y:443 3000 ms of 1 new; 9 p2 network \
         client y:80 3000 ms of 2 new",
    );
}

#[test]
fn what_ends_and_comes_again_is_new() {
    let silent = |second| {
        format!("{second} open 1 client a:40000 x:443 9/9 up out=1/10/500 timer=3/3/1600 heard=2000")
    };
    let well = "11 open 1 client a:40000 x:443 9/9 up";
    check(
        &[silent(9), silent(10), well.to_owned(), silent(12)].join("; "),
        "9 p1 network server x:443 2000 ms of 1 new; 10 p1 network server x:443 2000 ms of 1; 12 p1 network server \
         x:443 2000 ms of 1 new",
    );
}

/// However many stand still, and whatever for.
#[test]
fn what_stands_still_is_bounded() {
    let (mut state, vitals) = told("0 tick");
    let rows: Vec<Row> = (0..1030)
        .map(|port| dumped(&["listen", "2", &format!("b:{port}"), "state=10", "backlog=1/0"]))
        .collect();
    assert_eq!(state.rows(&rows, Ktime(1)).len(), 1024);
    assert_eq!(vitals.get(Vital::StandstillsNotKept), 6);
    assert_eq!(state.rows(&[], Ktime(2)).len(), 0);
}

#[test]
fn the_edge_is_named_as_soon_as_there_is_one() {
    let silent = "open 1 client a:40000 x:443 9/9 up out=1/10/500 timer=3/3/1600 heard=2000";
    let words: Vec<_> = silent.split(' ').collect();
    let (mut state, _) = told("0 tick");
    let incidents = state.rows(&[dumped(&words)], Ktime(1));
    let edges = state.edges();
    let Happened::Stands(Stands { edge, .. }) = incidents[0].happened else { panic!("{incidents:?}") };
    assert_eq!(edge, Some(edges[0].id));
}

/// Each line is a dump.
#[track_caller]
fn check(story: &str, want: &str) {
    let (mut state, _) = told("0 tick");
    let mut got = Vec::new();
    for line in story.split("; ") {
        let mut words: Vec<&str> = line.split(' ').filter(|it| !it.is_empty()).collect();
        let second: u64 = words.remove(0).parse().unwrap();
        let rows: Vec<Row> = words.split(|word| *word == "&").map(dumped).collect();
        let incidents = state.rows(&rows, Ktime(second * 1_000_000_000));
        let mut lines: Vec<_> = incidents.iter().map(|it| format!("{second} {}", line_of(it))).collect();
        lines.sort();
        got.extend(lines);
    }
    assert_eq!(got.join("; "), want, "\n{story}");
}

fn line_of(incident: &Incident) -> String {
    let Happened::Stands(Stands { what, lasts, edge: _, connections, is_new }) = incident.happened else {
        panic!("{incident:?}")
    };
    let what = match what {
        Standstill::Network { .. } => "network".to_owned(),
        Standstill::Window { .. } => "window".to_owned(),
        Standstill::Unanswered { longest } => format!("unanswered after {}", longest.as_millis()),
        Standstill::Unread { .. } => "unread".to_owned(),
        Standstill::AcceptQueue { waiting, most } => format!("queue {waiting}/{most}"),
    };
    let letter = |ip: IpAddr| {
        let IpAddr::V4(v4) = ip else { panic!("{ip}") };
        char::from(v4.octets()[3])
    };
    let other = match incident.other {
        Other::Server(at) => format!("server {}:{}", letter(at.ip()), at.port()),
        Other::Client(ip, own_port) => format!("client {}:{own_port}", letter(ip)),
        Other::Anybody(at) => format!("own {}:{}", letter(at.ip()), at.port()),
    };
    let owner = incident.owner.as_ref().map_or("?", |it| it.service.name.as_str());
    let new = if is_new { " new" } else { "" };
    format!("{owner} {what} {other} {} ms of {connections}{new}", lasts.as_millis())
}

/// Of [`dumped`].
pub(super) fn word(row: &mut Row, name: &str, value: &str) {
    let Row { state, figures, .. } = row;
    let number = || u32::try_from(numbers::<1>(value)[0]).unwrap();
    match name {
        "up" => figures.tcp_state = tcp_state::ESTABLISHED,
        "state" => figures.tcp_state = number() as u8,
        "sent" => figures.sent_ms_ago = number(),
        "heard" => figures.received_ms_ago = number(),
        "data" => figures.data_received_ms_ago = number(),
        "unread" => figures.unread_bytes = number(),
        "out" => {
            let all = numbers(value).map(|it| it as u32);
            [figures.packets_out, figures.unacked_bytes, figures.send_window] = all;
        }
        "timer" => {
            let [fired, backoff, rto_ms] = numbers(value).map(|it| it as u32);
            (figures.pending_retransmits, figures.backoff) = (fired as u8, backoff as u8);
            figures.rto_ms = rto_ms;
        }
        "rto-since" => state.rto_since_ktime_ns = u64::from(number()) * 1_000_000_000,
        "backlog" => {
            let all = numbers(value).map(|it| it as u32);
            [figures.accept_backlog, figures.accept_backlog_max] = all;
        }
        _ => panic!("`{name}` is no fault"),
    }
}
