//! Connects that come to nothing: one record each, with why, how often it was tried and how long.

use std::{ops::RangeInclusive, time::Duration};

use agent::{
    assemble::failure::{ConnectFailure, FailureClass},
    clock,
};
use agent_common::event::Event;
use tests::{
    NetNs, Observer, Snmp, Target,
    netns::{Refusal, two_namespaces},
    paths::built,
    require_admin, require_bpf,
};

/// Between the kernel's step and the time that the other half reads.
const SLACK: Duration = Duration::from_millis(50);

struct Scene {
    a: NetNs,
    _b: NetNs,
    client: Target,
    observer: Observer,
}

/// What the client does, and what must be reported.
struct Case {
    command: &'static str,
    class: FailureClass,
    syns: RangeInclusive<u32>,
    at_least: Duration,
}

#[test]
fn each_failure_has_one_record_with_its_class() {
    require_bpf!();
    require_admin!();
    let (a, b) = two_namespaces();
    b.refuse(80, Refusal::Drop);
    b.refuse(82, Refusal::Unreachable);
    let client = Target::start(a.command(built("target-conn")));
    let mut scene = Scene { a, _b: b, client, observer: Observer::load() };
    let case =
        |command, class, syns, millis| Case { command, class, syns, at_least: Duration::from_millis(millis) };
    for case in [
        case("connect 10.77.0.2:81", FailureClass::Refused, 1..=1, 0),
        // ICMP that comes while connect() still holds the socket is heard at the next SYN only.
        case("connect 10.77.0.2:82", FailureClass::Unreachable, 1..=2, 0),
        case("connect 10.77.0.2:80 300", FailureClass::Abandoned, 1..=1, 300),
        // The first retransmission is due after one second: nobody can say which of the two is first.
        case("connect 10.77.0.2:80 1000", FailureClass::Abandoned, 1..=2, 1000),
        case("connect 10.77.0.2:80 1300", FailureClass::Abandoned, 2..=2, 1300),
    ] {
        scene.check(&case);
    }
    // Since Linux 6.5 some retries come before those of the first setting.
    let retries = ["net.ipv4.tcp_syn_retries=1", "net.ipv4.tcp_syn_linear_timeouts=0"];
    scene.a.exec("sysctl", ["-eqw"].into_iter().chain(retries));
    scene.check(&case("connect 10.77.0.2:80", FailureClass::TimedOut, 2..=2, 3000));
}

/// The kernel has no counter for these: only the record tells.
#[test]
fn a_connect_abandoned_early_moves_no_counter_of_the_kernel() {
    require_bpf!();
    require_admin!();
    let (a, b) = two_namespaces();
    b.refuse(80, Refusal::Drop);
    let client = Target::start(a.command(built("target-conn")));
    let mut scene = Scene { a, _b: b, client, observer: Observer::load() };
    let before = Snmp::of(&scene.a);
    let at_least = Duration::from_millis(300);
    scene.check(&Case {
        command: "connect 10.77.0.2:80 300",
        class: FailureClass::Abandoned,
        syns: 1..=1,
        at_least,
    });
    let moved = Snmp::of(&scene.a).since(&before);
    let tcp =
        ["AttemptFails", "EstabResets", "RetransSegs", "InErrs", "OutRsts"].map(|it| format!("Tcp.{it}"));
    let more = [
        "TCPTimeouts",
        "TCPSynRetrans",
        "TCPLossProbes",
        "TCPFastRetrans",
        "TCPSlowStartRetrans",
        "TCPAbortOnTimeout",
        "TCPAbortOnClose",
        "TCPRetransFail",
    ];
    for name in tcp.into_iter().chain(more.map(|it| format!("TcpExt.{it}"))) {
        assert_eq!(moved.get(&name), None, "{name}");
    }
    println!("13 counters of the kernel stood still");
    assert_eq!(moved.get("Tcp.ActiveOpens"), Some(&1));
}

impl Scene {
    #[track_caller]
    fn check(&mut self, case: &Case) {
        let before = Snmp::of(&self.a);
        let asked_at = clock::now();
        let answer = self.client.ask(case.command);
        let took = clock::now().since(asked_at);
        assert!(answer["error"].is_string(), "{answer}");
        let pid = self.client.pid();
        let found = self.observer.wait_for(1, case.command, |event| match event {
            Event::ConnectFailed(it) if it.row.state.tgid == pid => Some(ConnectFailure::new(it, None)),
            _ => None,
        });
        self.observer.events.clear();
        let failure = &found[0];
        assert_eq!(failure.class, case.class, "{}", case.command);
        let again = Snmp::of(&self.a).since(&before).get("TcpExt.TCPSynRetrans").copied().unwrap_or(0);
        assert_eq!(i64::from(failure.syns), 1 + again, "{}", case.command);
        assert!(case.syns.contains(&failure.syns), "{}: {}", case.command, failure.syns);
        assert!(case.command.contains(&failure.server.to_string()), "{failure:?}");
        let lasted = failure.lasted.expect("connect() was called after the agent came");
        assert!(
            case.at_least <= lasted + SLACK && lasted <= took,
            "{}: {lasted:?} of {took:?}",
            case.command
        );
        println!("{}: {:?}, {} SYN, {lasted:?}", case.command, failure.class, failure.syns);
    }
}
