//! Time-outs of connections on the spans of their requests, and failed connects of requests.
//!
//! Stories of milliseconds: `fired LOCAL REMOTE` and `over LOCAL REMOTE`, of the sender's socket, and of its Nth episode
//! with a number at the end; `client` or `server N BEGAN LOCAL REMOTE` is the end of the request whose ids are N; `stream` one of an HTTP/2 client; `dialled N BEGAN HOST` one that got no connection;
//! `refused BEGAN SERVER` a connect. ` + ` joins what the kernel half told at once.

use agent_common::event::{
    fault::{Retransmit, RtoEnded},
    http::{Call, end, protocol, side},
};

use super::{
    super::{
        network_event::What,
        span::{Side, Span, Stall, StallOver},
    },
    *,
};

#[test]
fn the_request_that_waits_has_it() {
    // The request got lost; then its answer. Who served it was done when the timer fired.
    check(
        "1200 fired a:5 b:80; 1300 over a:5 b:80; 1400 client 1 900 a:5 b:80",
        "1: to_server 1200 over; told with 1",
    );
    check(
        "1000 server 2 910 b:80 a:5; 1200 fired b:80 a:5; 1300 over b:80 a:5; 1301 client 1 900 a:5 b:80",
        "1: to_client 1200 over; told with 1",
    );
    // The answer is long, and its server still writes.
    check(
        "1200 fired b:80 a:5; 1300 over b:80 a:5; 1500 server 2 910 b:80 a:5; 1600 client 1 900 a:5 b:80",
        "2: to_client 1200 over; told with 2; 1: to_client 1200 over",
    );
}

/// Who waits for the answer may be woken first.
#[test]
fn what_is_told_at_once_is_known_before_the_request_ends() {
    check(
        "1000 fired b:80 a:5; 1300 client 1 900 a:5 b:80 + 1301 over b:80 a:5",
        "1: to_client 1000 over; told with 1",
    );
}

/// Who has the answer acknowledges it with the next request, which may be heard of later.
#[test]
fn a_request_that_ends_first_waits_for_the_end_of_it() {
    check("1200 fired a:5 b:80; 1400 client 1 900 a:5 b:80; 3399 tick", "");
    check(
        "1200 fired a:5 b:80; 1400 client 1 900 a:5 b:80; 3399 over a:5 b:80",
        "1: to_server 1200 over; told with 1",
    );
    check("1200 fired a:5 b:80; 1400 client 1 900 a:5 b:80; 3400 tick", "1: to_server 1200");
    check("1200 fired a:5 b:80; 1400 client 1 900 a:5 b:80; 1500 last", "1: to_server 1200");
    // Both of its ends.
    check(
        "1200 fired b:80 a:5; 1300 server 2 910 b:80 a:5; 1300 client 1 900 a:5 b:80; 1400 over b:80 a:5",
        "2: to_client 1200 over; 1: to_client 1200 over; told with 2",
    );
    // Of two it knows one.
    check(
        "1000 fired a:5 b:80; 1100 over a:5 b:80; 1200 fired b:80 a:5; 1400 client 1 900 a:5 b:80; 3400 tick",
        "told with 1; 1: to_server 1000 over, to_client 1200",
    );
}

#[test]
fn no_more_requests_wait_for_it_than_their_bound() {
    let fired: String = (1..=1025).map(|it| format!("1000 fired a:{it} b:80; ")).collect();
    let ended: String = (1..=1025).map(|it| format!("1100 client 1 900 a:{it} b:80; ")).collect();
    assert_eq!(tell(&format!("{fired}{ended}")).0.len(), 1);
    assert_eq!(tell(&format!("{fired}{ended}3100 tick")).0.len(), 1025);
}

/// As when the ring is full.
#[test]
fn an_episode_whose_end_is_not_heard_hides_no_other() {
    check(
        "1200 fired a:5 b:80; 1400 client 1 900 a:5 b:80; 3400 tick; 4000 fired a:5 b:80 2; 4100 over a:5 b:80 2; \
         4200 client 2 3900 a:5 b:80",
        "1: to_server 1200; 2: to_server 4000 over; told with 2",
    );
}

#[test]
fn it_is_told_without_a_request_when_none_ends_in_time() {
    check("1200 fired a:5 b:80; 1300 over a:5 b:80; 3299 tick", "");
    check("1200 fired a:5 b:80; 1300 over a:5 b:80; 3300 tick", "told");
    check("1200 fired a:5 b:80; 1300 over a:5 b:80; 1400 last", "told");
    // Its span has it all the same.
    check(
        "1200 fired a:5 b:80; 1300 over a:5 b:80; 4000 tick; 9000 client 1 900 a:5 b:80",
        "told; 1: to_server 1200 over",
    );
    // When the timer fired was not heard.
    check("1300 over a:5 b:80; 1400 client 1 900 a:5 b:80", "told");
}

#[test]
fn a_request_before_or_after_or_elsewhere_has_nothing_of_it() {
    let elsewhere = |request: &str| {
        let story = format!("1200 fired a:5 b:80; 1300 over a:5 b:80; 1400 {request}; 4000 tick");
        check(&story, "told");
    };
    elsewhere("client 1 1201 a:5 b:80");
    elsewhere("client 1 900 a:6 b:80");
    elsewhere("client 1 900 a:5 b:81");
    check("1199 client 1 900 a:5 b:80; 1200 fired a:5 b:80; 1300 over a:5 b:80; 4000 tick", "told");
}

/// The second waited for the connection that the first had.
#[test]
fn of_two_requests_the_first_to_end_had_the_connection() {
    check(
        "1200 fired a:5 b:80; 1300 over a:5 b:80; 1400 client 1 900 a:5 b:80; 1500 client 2 950 a:5 b:80",
        "1: to_server 1200 over; told with 1",
    );
}

/// A lost segment holds up what is behind it, whatever stream that is of.
#[test]
fn of_two_streams_both_had_it() {
    check(
        "1200 fired a:5 b:80; 1300 over a:5 b:80; 1400 stream 1 900 a:5 b:80; 1500 stream 2 950 a:5 b:80; \
         1600 stream 3 1201 a:5 b:80",
        "1: to_server 1200 over; told with 1; 2: to_server 1200 over",
    );
}

#[test]
fn an_episode_has_many_records_and_a_connection_many_episodes() {
    check(
        "1200 fired a:5 b:80; 1600 fired a:5 b:80; 1700 over a:5 b:80; 2000 fired a:5 b:80 2; \
         2100 over a:5 b:80 2; 2200 client 1 900 a:5 b:80",
        "1: to_server 1200 over, to_server 2000 over; told with 1; told with 1",
    );
}

#[test]
fn a_span_has_no_more_than_its_bound() {
    let episodes = |n| {
        (0..n)
            .map(|it| (it, 1000 + it * 20))
            .map(|(n, at)| format!("{at} fired a:5 b:80 {n}; {} over a:5 b:80 {n}; ", at + 10))
    };
    let story = format!("{}1900 client 1 900 a:5 b:80", episodes(10).collect::<String>());
    let (spans, _, vitals) = tell(&story);
    let causes = spans[0].causes.as_ref().unwrap();
    assert_eq!((causes.stalls.len(), causes.left_out, vitals.get(Vital::StallsLeftOut)), (8, 2, 2));
}

#[test]
fn episodes_are_bounded_and_those_forgotten_too_early_are_counted() {
    let story: String = (0..4100).map(|it| format!("1000 fired a:{} b:80; ", it + 1)).collect();
    let (spans, _, vitals) =
        tell(&format!("{story}1900 client 1 900 a:4 b:80; 1900 client 2 900 a:5 b:80; 3900 tick"));
    assert_eq!(vitals.get(Vital::StallsNotKept), 4);
    assert_eq!(spans.iter().map(|it| it.causes.is_some()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_failed_connect_is_told_with_the_request_that_ended_with_it() {
    let check = |dialled: &str, want: &str| {
        check(&format!("1200 refused 1100 b:80; {dialled}; 2200 tick"), want);
    };
    let with = "1: no connection to 10.9.0.98:80 at 1200; told with 1";
    check("1201 dialled 1 1099 10.9.0.98:80", with);
    check("1201 dialled 1 1099 shop:80", with);
    check("1201 dialled 1 1099 shop", with);
    // It was not its connect: it is another server, began later, or failed for something else.
    check("1201 dialled 1 1099 10.9.0.99:80", "told");
    check("1201 dialled 1 1099 shop:81", "told");
    check("1201 dialled 1 1101 shop:80", "told");
    check("1301 dialled 1 1099 shop:80", "told");
    check("1201 client 1 1099 a:5 b:80", "told");
    // Who is meant?
    check("1201 dialled 1 1099 shop:80; 1202 dialled 2 1098 shop:80", "told");
}

/// The deadline is the request's, and the socket is closed a moment later.
#[test]
fn a_connect_that_ends_after_its_request_belongs_to_it() {
    check(
        "1299 dialled 1 1099 shop:80; 1300 refused 1100 b:80; 2300 tick",
        "1: no connection to 10.9.0.98:80 at 1300; told with 1",
    );
    check("1199 dialled 1 1099 shop:80; 1300 refused 1100 b:80; 2300 tick", "told");
    check("1201 dialled 1 1099 shop:80; 1300 refused 1250 b:80; 2300 tick", "told");
}

/// A name that stands for two addresses, and nobody listens at either.
#[test]
fn a_request_has_all_the_connects_that_failed_for_it() {
    check(
        "1200 refused 1100 b:80 + 1210 refused 1201 b:81; 1211 dialled 1 1099 shop; 2300 tick",
        "1: no connection to 10.9.0.98:80 at 1200; told with 1; told",
    );
    check(
        "1200 refused 1100 b:80 + 1210 refused 1201 b:443; 1211 dialled 1 1099 shop; 2300 tick",
        "1: no connection to 10.9.0.98:80 at 1200, no connection to 10.9.0.98:443 at 1210; told with 1; told with 1",
    );
}

#[test]
fn a_failed_connect_and_its_request_wait_for_each_other() {
    check("1200 refused 1100 b:80; 1699 tick", "");
    check("1200 refused 1100 b:80; 1700 tick", "told");
    check("1200 refused 1100 b:80; 1201 last", "told");
    let all = |story: &str| tell(story).0.len();
    assert_eq!(all("1201 dialled 1 1099 shop:80; 1950 tick"), 0);
    assert_eq!(all("1201 dialled 1 1099 shop:80; 1951 tick"), 1);
    assert_eq!(all("1201 dialled 1 1099 shop:80; 1202 last"), 1);
}

#[track_caller]
fn check(story: &str, want: &str) {
    let (_, lines, _) = tell(story);
    assert_eq!(lines.join("; "), want, "\n{story}");
}

/// All spans, and what they and others were told.
fn tell(story: &str) -> (Vec<Span>, Vec<String>, Arc<Vitals>) {
    let vitals = Arc::new(Vitals::new());
    let mut state = State::new(Arc::clone(&vitals), Duration::from_secs(300));
    let process = remembered(Tgid(1), "/bin/p1", Ktime(0), &Clock::new());
    let runtime = Runtime::Go("go1.26.8".to_owned());
    state.process(Arc::new(Process { runtime, ..process }));
    let (mut spans, mut lines) = (Vec::new(), Vec::new());
    for batch in story.split("; ").filter(|it| !it.is_empty()) {
        let words: Vec<Vec<&str>> = batch.split(" + ").map(|it| it.split(' ').collect()).collect();
        let now = millis(words[0][0]);
        let made = match words[0][1] {
            "tick" => state.told(now),
            "last" => state.last_told(now),
            _ => {
                let events: Vec<_> = words.iter().map(|it| event(it)).collect();
                let output = state.events(&events, now);
                lines.extend(output.spans.iter().filter_map(said));
                spans.extend(output.spans.iter().cloned());
                state.told(now)
            }
        };
        lines.extend(made.spans.iter().filter_map(said));
        spans.extend(made.spans.iter().cloned());
        lines.extend(made.events.iter().map(|it| {
            assert!(matches!(it.what, What::ConnectFailed(_) | What::Incident(_)));
            it.span.map_or("told".to_owned(), |(trace, _)| format!("told with {}", trace.0[0]))
        }));
    }
    (spans, lines, vitals)
}

fn said(span: &Span) -> Option<String> {
    let causes = span.causes.as_ref()?;
    let dials =
        causes.dials.iter().map(|it| format!("no connection to {} at {}", it.server, it.at.0 / 1_000_000));
    let stalls = causes.stalls.iter().map(|Stall { fired, sender, over }| {
        let direction = if *sender == Side::Client { "to_server" } else { "to_client" };
        let over = match over {
            Some(StallOver { lasted, expiries: 3 }) if !lasted.is_zero() => " over",
            Some(other) => panic!("{other:?}"),
            None => "",
        };
        format!("{direction} {}{over}", fired.0 / 1_000_000)
    });
    Some(format!("{}: {}", span.trace_id.0[0], stalls.chain(dials).collect::<Vec<_>>().join(", ")))
}

fn millis(word: &str) -> Ktime {
    Ktime(word.parse::<u64>().unwrap() * 1_000_000)
}

fn event(words: &[&str]) -> Event {
    let now = millis(words[0]);
    match words[1..] {
        ["fired", local, remote, ref number @ ..] => {
            let mut record = Retransmit { header: header(now), ..Retransmit::zeroed() };
            record.episodes = number.first().map_or(1, |it| it.parse().unwrap());
            (record.cookie, record.class) = (isn(local).into(), class::RTO as u8);
            (record.local, record.local_port) = address(local);
            (record.remote, record.remote_port) = address(remote);
            Event::Retransmit(record)
        }
        ["over", local, remote, ref number @ ..] => {
            let mut record = RtoEnded { header: header(now), expiries: 3, ..RtoEnded::zeroed() };
            record.episodes = number.first().map_or(1, |it| it.parse().unwrap());
            record.cookie = isn(local).into();
            (record.local, record.local_port) = address(local);
            (record.remote, record.remote_port) = address(remote);
            Event::RtoEnded(record)
        }
        [who @ ("client" | "server"), n, began, local, remote] => {
            let side = if who == "client" { side::CLIENT } else { side::SERVER };
            Event::Call(Call { side, ..ids(n, began, call(now, "1", local, remote, "200")) })
        }
        ["stream", n, began, local, remote] => {
            let (side, protocol) = (side::CLIENT, protocol::HTTP2);
            Event::Call(Call { side, protocol, ..ids(n, began, call(now, "1", local, remote, "200")) })
        }
        ["dialled", n, began, host] => {
            let mut call = ids(n, began, call(now, "1", "a:0", "x:0", "unconnected"));
            call.host[..host.len()].copy_from_slice(host.as_bytes());
            call.host_len = host.len() as u8;
            Event::Call(Call { end: end::NO_CONNECTION, ..call })
        }
        ["refused", began, server] => {
            let mut row = row("1", "a:0", server, "0/0");
            row.state.role = role::CLIENT;
            row.state.opened_ktime_ns = millis(began).0;
            row.figures.error = libc::ECONNREFUSED as u16;
            Event::ConnectFailed(ConnectFailed { header: header(now), row })
        }
        _ => panic!("{words:?} is no event"),
    }
}

fn ids(n: &str, began: &str, call: Call) -> Call {
    let n: u8 = n.parse().unwrap();
    Call { trace_id: [n; 16], span_id: [n; 8], began_ktime_ns: millis(began).0, ..call }
}
