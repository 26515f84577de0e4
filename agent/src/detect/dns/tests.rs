//! Lookups told in lines: `second [NAME] result`, where the result is a code, or milliseconds, or `-` for
//! no answer. `xN` before a step repeats it.

use super::*;
use crate::{
    clock::Clock,
    decode::dns::{Question, RecordKind},
    targets::proc::remembered,
};

#[test]
fn a_resolver_that_is_silent_is_told_at_once() {
    check(
        "1 db.example -",
        "critical dns_no_answer: web gets no answer from the resolver 10.0.0.53:53 within 5 s, the last time \
         for db.example (A)",
    );
}

#[test]
fn some_failures_are_no_burst() {
    check("x4 1 a.example SERVFAIL", "");
    check("1 a.example SERVFAIL; x3 2 a.example SERVFAIL; 12 a.example SERVFAIL", "");
    check("x50 1 a.example 1; x5 2 a.example SERVFAIL", "");
    // Refused or misunderstood: not what this is about.
    check("x50 1 a.example REFUSED", "");
}

#[test]
fn the_fifth_failure_within_ten_seconds_is() {
    check(
        "x4 1 a.example SERVFAIL; 11 b.example SERVFAIL",
        "critical dns_server_failures: the resolver 10.0.0.53:53 fails 5 of 5 lookups of web within 10 s, the \
         last for b.example (A)",
    );
    check(
        "x45 1 a.example 1; x5 2 b.example SERVFAIL",
        "critical dns_server_failures: the resolver 10.0.0.53:53 fails 5 of 50 lookups of web within 10 s, the \
         last for b.example (A)",
    );
}

#[test]
fn many_names_that_do_not_exist() {
    check("x19 1 a.example NXDOMAIN", "");
    check("x21 1 b.example 1; x20 1 a.example NXDOMAIN", "");
    check(
        "x20 1 a.example NXDOMAIN",
        "warning dns_no_such_names: web asks 10.0.0.53:53 for names that do not exist: 20 of 20 lookups within \
         10 s, the last a.example",
    );
}

/// What a pod does with `ndots:5` for each name of the world outside.
#[test]
fn search_domains_are_told_from_wrong_names() {
    let round = "1 db.example.prod.svc.cluster.local NXDOMAIN; 1 db.example.svc.cluster.local NXDOMAIN; 1 \
                 db.example.cluster.local NXDOMAIN; 1 db.example 1";
    let rounds = [round; 7].join("; ");
    check(
        &rounds,
        "advice dns_no_such_names: web asks 10.0.0.53:53 for names that do not exist: 21 of 27 lookups within \
         10 s, the last db.example.cluster.local; 21 are names that exist with a search domain after them \
         (`ndots`): write such names with a dot at the end",
    );
    // The name itself does not exist, and neither does part of a label.
    check(
        "1 db.exam 1; x20 1 db.example.svc NXDOMAIN",
        "warning dns_no_such_names: web asks 10.0.0.53:53 for names that do not exist: 20 of 21 lookups within \
         10 s, the last db.example.svc",
    );
}

#[test]
fn a_slow_resolver_is_told_by_its_percentiles() {
    check("x19 1 a.example 300", "");
    check("x20 1 a.example 199", "");
    // One of many.
    check("x20 1 a.example 1; 1 b.example 900", "");
    check(
        "x30 1 a.example 2; x10 1 b.example 250",
        "warning dns_slow: the resolver 10.0.0.53:53 is slow for web: of 40 lookups within 10 s half took more \
         than 2 ms, 5 % more than 250 ms",
    );
}

#[test]
fn time_may_run_backwards() {
    check(
        "9 a.example -; 3 a.example SERVFAIL; 5 a.example NXDOMAIN",
        "critical dns_no_answer: web gets no \
         answer from the resolver 10.0.0.53:53 within 5 s, the last time for a.example (A)",
    );
}

#[test]
fn pairs_are_bounded() {
    let vitals = Arc::new(Vitals::new());
    let mut detector = Resolvers::new(Arc::clone(&vitals));
    let mut ask = |second, client: usize| {
        let mut lookup = lookup(second, "a.example", "1");
        lookup.client = None;
        lookup.client_ip = IpAddr::from(u32::try_from(client).unwrap().to_be_bytes());
        detector.input(Input::Lookup(&lookup));
        detector.pairs.len()
    };
    for client in 0..MAX_PAIRS {
        ask(5, client);
    }
    assert_eq!((ask(6, 100_000), vitals.get(Vital::DnsClientsForgotten)), (MAX_PAIRS, 1));
    assert_eq!((ask(17, 100_001), vitals.get(Vital::DnsClientsForgotten)), (1, 1));
    for _ in 0..1000 {
        ask(17, 100_001);
    }
}

/// Compares the last finding of each kind.
#[track_caller]
fn check(script: &str, want: &str) {
    let mut detector = Resolvers::new(Arc::new(Vitals::new()));
    let mut got: Vec<Finding> = Vec::new();
    for step in script.split("; ") {
        let (times, step) = match step.strip_prefix('x') {
            Some(repeated) => repeated.split_once(' ').unwrap(),
            None => ("1", step),
        };
        let words: Vec<&str> = step.split(' ').collect();
        let [second, name, result] = words[..] else { panic!("`{step}` is no step") };
        for _ in 0..times.parse().unwrap() {
            let lookup = lookup(second.parse().unwrap(), name, result);
            if let Some(finding) = detector.input(Input::Lookup(&lookup)) {
                got.retain(|it| it.kind != finding.kind);
                got.push(finding);
            }
        }
    }
    let line = |it: &Finding| format!("{} {}: {}", it.severity.name(), it.kind.name(), it.summary);
    assert_eq!(got.iter().map(line).collect::<Vec<_>>().join("\n"), want, "\n{script}");
}

fn lookup(second: u64, name: &str, result: &str) -> Lookup {
    let code = |code| Outcome::Answered { code: ResponseCode(code), took: Duration::from_millis(1) };
    let outcome = match result {
        "-" => Outcome::Unanswered { waited: Duration::from_secs(5) },
        "SERVFAIL" => code(2),
        "NXDOMAIN" => code(3),
        "REFUSED" => code(5),
        millis => Outcome::Answered {
            code: ResponseCode::NO_ERROR,
            took: Duration::from_millis(millis.parse().unwrap()),
        },
    };
    Lookup {
        client: Some(Arc::new(remembered(Tgid(1), "/bin/web", Ktime(0), &Clock::new()))),
        client_ip: "10.0.0.1".parse().unwrap(),
        resolver: "10.0.0.53:53".parse().unwrap(),
        question: Question { name: name.into(), kind: RecordKind(1) },
        outcome,
        at: Ktime(second * 1_000_000_000),
    }
}
