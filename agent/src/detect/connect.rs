//! Connects that failed, by class. Each class has another cause and another remedy.

use std::time::Duration;

use super::{
    Detector, Input,
    finding::{Evidence, Finding, FindingKind, Severity},
};
use crate::assemble::failure::{ConnectFailure, FailureClass};

/// The kernel sends the second SYN after one second, in all versions.
const FIRST_SYN_TIMEOUT: Duration = Duration::from_secs(1);

/// Stateless: the ledger counts.
pub(super) struct FailedConnects;

impl Detector for FailedConnects {
    fn name(&self) -> &'static str {
        "failed connects"
    }

    fn input(&mut self, input: Input<'_>) -> Option<Finding> {
        match input {
            Input::Failure(failure) => finding(failure),
            Input::Incident(_) | Input::Span(_) | Input::Lookup(_) => None,
        }
    }
}

fn finding(failure: &ConnectFailure) -> Option<Finding> {
    let ConnectFailure { class, client, server, behind, lasted, syns, at } = failure;
    let whom = failure.whom();
    let who = client.as_ref().map_or("A process", |it| it.service.name.as_str());
    let (kind, severity, what) = match class {
        FailureClass::Refused => (
            FindingKind::ConnectRefused,
            Severity::Warning,
            format!("{who} is refused by {whom}: nothing listens there"),
        ),
        FailureClass::TimedOut => (
            FindingKind::ConnectTimedOut,
            Severity::Critical,
            format!("{who} gets no answer from {whom}: the kernel gave up{}", after(*lasted)),
        ),
        FailureClass::Abandoned => {
            (FindingKind::ConnectAbandoned, Severity::Warning, abandoned(who, failure))
        }
        FailureClass::Unreachable => (
            FindingKind::ConnectUnreachable,
            Severity::Critical,
            format!("{who} cannot reach {whom}: the network says so"),
        ),
        FailureClass::Reset => (
            FindingKind::ConnectReset,
            Severity::Warning,
            format!("{who} is cut off by {whom} while it connects: something in between resets it"),
        ),
        FailureClass::Other => return None,
    };
    let mut evidence = vec![
        ("server_address", Evidence::Text(server.ip().to_string())),
        ("server_port", Evidence::Count(server.port().into())),
    ];
    evidence.extend(behind.iter().flat_map(|it| {
        [
            ("backend_address", Evidence::Text(it.ip().to_string())),
            ("backend_port", Evidence::Count(it.port().into())),
        ]
    }));
    evidence.extend(lasted.map(|it| ("lasted_seconds", Evidence::Seconds(it.as_secs_f64()))));
    evidence.push(("syns_sent", Evidence::Count((*syns).into())));
    Some(Finding {
        severity,
        kind,
        target: client.clone(),
        about: whom,
        summary: what,
        evidence,
        count: 1,
        first_seen: *at,
        last_seen: *at,
        next: match client {
            Some(client) => format!("taskscope topology --pid {}", client.tgid.0),
            None => "taskscope topology".to_owned(),
        },
        span: None,
    })
}

/// The kernel does not tell why the socket was closed: "Happy Eyeballs" closes the slower of two, too.
fn abandoned(who: &str, failure: &ConnectFailure) -> String {
    let ConnectFailure { lasted, syns, .. } = failure;
    let whom = failure.whom();
    let gave_up = format!(
        "{who}: a connect to {whom} was given up (deadline, cancellation, or the faster of two \
         addresses){}",
        after(*lasted)
    );
    let is_short = lasted.is_some_and(|it| it <= FIRST_SYN_TIMEOUT + Duration::from_millis(100));
    if is_short && *syns == 1 {
        return format!("{gave_up}; a deadline this short never survives one lost SYN");
    }
    format!("{gave_up}: none of {syns} SYNs was answered")
}

/// Nothing when it is not known since when.
fn after(lasted: Option<Duration>) -> String {
    lasted.map_or_else(String::new, |it| format!(" after {:.1} s", it.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Ktime;

    #[test]
    fn every_class_has_its_own_sentence() {
        check(FailureClass::Refused, 0, 1, "A process is refused by 10.0.0.1:80: nothing listens there");
        check(
            FailureClass::TimedOut,
            131_000,
            11,
            "A process gets no answer from 10.0.0.1:80: the kernel gave up after 131.0 s",
        );
        check(
            FailureClass::Abandoned,
            300,
            1,
            "A process: a connect to 10.0.0.1:80 was given up (deadline, cancellation, or the faster of two \
             addresses) after 0.3 s; a deadline this short never survives one lost SYN",
        );
        check(
            FailureClass::Abandoned,
            5000,
            5,
            "A process: a connect to 10.0.0.1:80 was given up (deadline, cancellation, or the faster of two \
             addresses) after 5.0 s: none of 5 SYNs was answered",
        );
        check(FailureClass::Unreachable, 10, 1, "A process cannot reach 10.0.0.1:80: the network says so");
        check(
            FailureClass::Reset,
            10,
            1,
            "A process is cut off by 10.0.0.1:80 while it connects: something in between resets it",
        );
        check(FailureClass::Other, 10, 1, "");
        check(
            FailureClass::Abandoned,
            None,
            1,
            "A process: a connect to 10.0.0.1:80 was given up (deadline, cancellation, or the faster of two \
             addresses): none of 1 SYNs was answered",
        );
    }

    #[test]
    fn the_server_behind_a_service_is_named() {
        let failure = ConnectFailure {
            class: FailureClass::Refused,
            client: None,
            server: "10.96.0.10:80".parse().unwrap(),
            behind: Some("10.88.0.3:7100".parse().unwrap()),
            lasted: None,
            syns: 1,
            at: Ktime(5),
        };
        let got = FailedConnects.input(Input::Failure(&failure)).unwrap();
        assert_eq!(
            got.about, "10.96.0.10:80 (10.88.0.3:7100 behind it)",
            "each server is a finding of its own"
        );
        assert_eq!(got.summary, format!("A process is refused by {}: nothing listens there", got.about));
        let keys: Vec<_> = got.evidence.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["server_address", "server_port", "backend_address", "backend_port", "syns_sent"]);
    }

    #[track_caller]
    fn check(class: FailureClass, millis: impl Into<Option<u64>>, syns: u32, want: &str) {
        let failure = ConnectFailure {
            class,
            client: None,
            server: "10.0.0.1:80".parse().unwrap(),
            behind: None,
            lasted: millis.into().map(Duration::from_millis),
            syns,
            at: Ktime(5),
        };
        let got = FailedConnects.input(Input::Failure(&failure));
        assert_eq!(got.map_or(String::new(), |it| it.summary), want);
    }
}
