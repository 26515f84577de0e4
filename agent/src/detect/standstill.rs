//! What stands still while it lasts. Told with each dump that shows it, so that its age is that of now; counted
//! once, when it begins.

use std::time::Duration;

use super::{
    Detector, Input,
    finding::{Evidence, Finding, FindingKind, Severity},
    words::{describe, short},
};
use crate::assemble::{
    incident::{Happened, Incident, Other, Stands},
    standstill::Standstill,
};

/// Longer than a network needs to find another way.
const HANGS: Duration = Duration::from_secs(5);

/// Stateless: whoever shows the dumps knows what is new.
pub(super) struct Standstills;

impl Detector for Standstills {
    fn name(&self) -> &'static str {
        "standstills"
    }

    fn input(&mut self, input: Input<'_>) -> Option<Finding> {
        let Input::Incident(incident) = input else {
            return None;
        };
        match &incident.happened {
            Happened::Stands(stands) => Some(finding(incident, stands)),
            _ => None,
        }
    }
}

fn finding(incident: &Incident, stands: &Stands) -> Finding {
    let Incident { owner, other, at, .. } = incident;
    let Stands { what, lasts, edge, connections, is_new } = stands;
    let (peer, mut evidence) = describe(other);
    let (kind, severity) = judge(*what, *lasts, other);
    evidence.push(("lasts_seconds", Evidence::Seconds(lasts.as_secs_f64())));
    evidence.push(("connections", Evidence::Count((*connections).into())));
    evidence.extend(figures(*what));
    let edge = edge.map(|it| format!("{:016x}", it.0));
    evidence.extend(edge.clone().map(|it| ("edge", Evidence::Text(it))));
    let who = owner.as_ref().map_or("A process", |it| it.service.name.as_str());
    Finding {
        severity,
        kind,
        target: owner.clone(),
        about: about(other, &peer),
        summary: sentence(*what, who, &peer, *lasts, *connections),
        evidence,
        count: u64::from(*is_new),
        first_seen: *at,
        last_seen: *at,
        next: match (edge, owner) {
            (Some(edge), _) => format!("taskscope topology --edge {edge}"),
            (None, Some(owner)) => format!("taskscope topology -o wide --pid {}", owner.tgid.0),
            (None, None) => "taskscope topology -o wide".to_owned(),
        },
        span: None,
    }
}

/// A client that is away is its own matter, mostly; a server that is takes its clients along.
fn judge(what: Standstill, lasts: Duration, other: &Other) -> (FindingKind, Severity) {
    let hangs = HANGS <= lasts && matches!(other, Other::Server(_));
    let (kind, is_grave) = match what {
        Standstill::Network { .. } => (FindingKind::NetworkSilent, hangs),
        Standstill::Window { .. } => (FindingKind::WindowClosed, false),
        Standstill::Unanswered { .. } | Standstill::Unread { .. } => (FindingKind::ApplicationSilent, false),
        // A burst may fill it for a moment.
        Standstill::AcceptQueue { .. } => (FindingKind::AcceptQueueFull, !lasts.is_zero()),
    };
    (kind, if is_grave { Severity::Critical } else { Severity::Warning })
}

fn sentence(what: Standstill, who: &str, peer: &str, lasts: Duration, connections: u32) -> String {
    let time = short(lasts);
    let on = if connections == 1 { String::new() } else { format!(", on {connections} connections") };
    match what {
        Standstill::Network { timeouts, .. } => format!(
            "{who} gets no acknowledgement from {peer} for {time}{on}: the host there or the network is silent, \
             what was sent was repeated {timeouts} times"
        ),
        Standstill::Window { waiting_bytes } => format!(
            "{who} can send nothing to {peer} for {time}{on}: its window is closed, for its application does \
             not read; {waiting_bytes} bytes wait"
        ),
        Standstill::Unanswered { longest } => format!(
            "{who} waits for an answer of {peer} for {time}{on}: its host acknowledged the request, its \
             application is silent; answers took {} at most",
            short(longest)
        ),
        Standstill::Unread { bytes } => format!(
            "{who} has not read for {time} what {peer} sent{on}: its host acknowledged {bytes} bytes, its \
             application is silent"
        ),
        Standstill::AcceptQueue { waiting, .. } => {
            let since = if lasts.is_zero() { String::new() } else { format!(" for {time}") };
            format!(
                "{who} does not accept connections fast enough on {peer}{since}: {waiting} wait and no more may, \
                 who else connects gets no answer"
            )
        }
    }
}

/// Clients are many, and each may be another one.
fn about(other: &Other, peer: &str) -> String {
    match other {
        Other::Client(_, own_port) => format!("clients of port {own_port}"),
        Other::Server(_) | Other::Anybody(_) => peer.to_owned(),
    }
}

fn figures(what: Standstill) -> Vec<(&'static str, Evidence)> {
    let count = |it: u32| Evidence::Count(it.into());
    match what {
        Standstill::Network { timeouts, unacked_bytes } => {
            vec![("timeouts", count(timeouts.into())), ("unacknowledged_bytes", count(unacked_bytes))]
        }
        Standstill::Window { waiting_bytes } => vec![("waiting_bytes", count(waiting_bytes))],
        Standstill::Unanswered { longest } => {
            vec![("longest_answer_seconds", Evidence::Seconds(longest.as_secs_f64()))]
        }
        Standstill::Unread { bytes } => vec![("unread_bytes", count(bytes))],
        Standstill::AcceptQueue { waiting: _, most } => vec![("backlog", count(most))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assemble::edge::EdgeId, clock::Ktime};

    #[test]
    fn every_standstill_has_its_own_sentence() {
        let server = Other::Server("10.0.0.1:80".parse().unwrap());
        let client = Other::Client("10.0.0.9".parse().unwrap(), 80);
        let own = Other::Anybody("0.0.0.0:80".parse().unwrap());
        let network = Standstill::Network { timeouts: 3, unacked_bytes: 100 };
        check(
            (network, 1430, 1),
            server,
            "warning network_silent of 10.0.0.1:80: A process gets no acknowledgement from 10.0.0.1:80 for 1.4 s: \
             the host there or the network is silent, what was sent was repeated 3 times",
        );
        check(
            (network, 5000, 2),
            server,
            "critical network_silent of 10.0.0.1:80: A process gets no acknowledgement from 10.0.0.1:80 for 5.0 \
             s, on 2 connections: the host there or the network is silent, what was sent was repeated 3 times",
        );
        check(
            (network, 60_000, 1),
            client,
            "warning network_silent of clients of port 80: A process gets no acknowledgement from 10.0.0.9 (a \
             client of port 80) for 60.0 s: the host there or the network is silent, what was sent was repeated \
             3 times",
        );
        check(
            (Standstill::Window { waiting_bytes: 48_904 }, 2000, 1),
            server,
            "warning window_closed of 10.0.0.1:80: A process can send nothing to 10.0.0.1:80 for 2.0 s: its \
             window is closed, for its application does not read; 48904 bytes wait",
        );
        check(
            (Standstill::Unanswered { longest: Duration::from_millis(12) }, 7000, 1),
            server,
            "warning application_silent of 10.0.0.1:80: A process waits for an answer of 10.0.0.1:80 for 7.0 s: \
             its host acknowledged the request, its application is silent; answers took 12 ms at most",
        );
        check(
            (Standstill::Unread { bytes: 80 }, 7000, 3),
            client,
            "warning application_silent of clients of port 80: A process has not read for 7.0 s what 10.0.0.9 (a \
             client of port 80) sent, on 3 connections: its host acknowledged 80 bytes, its application is silent",
        );
        check(
            (Standstill::AcceptQueue { waiting: 129, most: 128 }, 0, 129),
            own,
            "warning accept_queue_full of 0.0.0.0:80: A process does not accept connections fast enough on \
             0.0.0.0:80: 129 wait and no more may, who else connects gets no answer",
        );
        check(
            (Standstill::AcceptQueue { waiting: 129, most: 128 }, 1000, 129),
            own,
            "critical accept_queue_full of 0.0.0.0:80: A process does not accept connections fast enough on \
             0.0.0.0:80 for 1.0 s: 129 wait and no more may, who else connects gets no answer",
        );
    }

    #[test]
    fn what_lasts_is_counted_once_and_leads_to_its_edge() {
        let other = Other::Server("10.0.0.1:80".parse().unwrap());
        let told = |is_new, edge| {
            let (what, lasts) = (Standstill::Window { waiting_bytes: 1 }, Duration::from_secs(3));
            let happened = Happened::Stands(Stands { what, lasts, edge, connections: 1, is_new });
            let incident = Incident { happened, owner: None, other, at: Ktime(5) };
            let got = Standstills.input(Input::Incident(&incident)).unwrap();
            (got.count, got.next, got.evidence.iter().any(|(name, _)| *name == "edge"))
        };
        let next = "taskscope topology --edge 0000000000000abc".to_owned();
        assert_eq!(told(true, Some(EdgeId(0xabc))), (1, next, true));
        assert_eq!(told(false, None), (0, "taskscope topology -o wide".to_owned(), false));
    }

    #[track_caller]
    fn check((what, millis, connections): (Standstill, u64, u32), other: Other, want: &str) {
        let lasts = Duration::from_millis(millis);
        let happened = Happened::Stands(Stands { what, lasts, edge: None, connections, is_new: true });
        let incident = Incident { happened, owner: None, other, at: Ktime(5) };
        let got = Standstills.input(Input::Incident(&incident)).unwrap();
        assert_eq!(
            format!("{} {} of {}: {}", got.severity.name(), got.kind.name(), got.about, got.summary),
            want
        );
    }
}
