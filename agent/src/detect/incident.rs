//! What happens to connections that came about, or nearly did not. Each has another cause and another remedy.

use super::{
    Detector, Input,
    finding::{Evidence, Finding, FindingKind, Severity},
    words::{LONG, describe, short},
};
use crate::assemble::{
    faults::Death,
    incident::{Happened, Incident},
};

/// Stateless: the ledger counts.
pub(super) struct Incidents;

impl Detector for Incidents {
    fn name(&self) -> &'static str {
        "incidents"
    }

    fn input(&mut self, input: Input<'_>) -> Option<Finding> {
        match input {
            Input::Incident(incident) => finding(incident),
            Input::Failure(_) | Input::Span(_) | Input::Lookup(_) => None,
        }
    }
}

/// `None`: it lasts, and is not for this detector.
fn finding(incident: &Incident) -> Option<Finding> {
    let Incident { happened, owner, other, at } = incident;
    let who = owner.as_ref().map_or("A process", |it| it.service.name.as_str());
    let (about, mut evidence) = describe(other);
    let (kind, severity, what) = match *happened {
        Happened::ConnectedLate { syns, took } => {
            evidence.push(("syns_sent", Evidence::Count(syns.into())));
            evidence.extend(took.map(|it| ("took_seconds", Evidence::Seconds(it.as_secs_f64()))));
            let after = took.map_or_else(String::new, |it| format!(" after {}", short(it)));
            let lost = "a connect deadline of a second would have failed";
            let what = format!("{who} reached {about} only with SYN {syns}{after}: {lost}");
            (FindingKind::ConnectLate, Severity::Warning, what)
        }
        Happened::Stalled { lasted, expiries } => {
            evidence.push(("class", Evidence::Text("rto".to_owned())));
            evidence.push(("lasted_seconds", Evidence::Seconds(lasted.as_secs_f64())));
            evidence.push(("timeouts", Evidence::Count(expiries.into())));
            let severity = if lasted < LONG { Severity::Advice } else { Severity::Warning };
            let times = if expiries == 1 { "once".to_owned() } else { format!("{expiries} times") };
            let what = format!(
                "{who} heard nothing of what it sent to {about} for {}: its retransmission timer fired {times}",
                short(lasted)
            );
            (FindingKind::RtoEpisode, severity, what)
        }
        Happened::Died(death) => died(death, who, &about),
        Happened::Stands(_) => return None,
    };
    Some(Finding {
        severity,
        kind,
        target: owner.clone(),
        about,
        summary: what,
        evidence,
        count: 1,
        first_seen: *at,
        last_seen: *at,
        next: match owner {
            Some(owner) => format!("taskscope topology -o wide --pid {}", owner.tgid.0),
            None => "taskscope topology -o wide".to_owned(),
        },
        span: None,
    })
}

fn died(death: Death, who: &str, about: &str) -> (FindingKind, Severity, String) {
    match death {
        Death::Unacknowledged => (
            FindingKind::DataUnacknowledged,
            Severity::Critical,
            format!("{who} lost its connection to {about}: what it sent was never acknowledged"),
        ),
        Death::KeepAlive => (
            FindingKind::KeepAliveFailed,
            Severity::Warning,
            format!("{who} lost its idle connection to {about}: nobody answered its keep-alives"),
        ),
        Death::Window => (
            FindingKind::WindowGaveUp,
            Severity::Critical,
            format!("{who} lost its connection to {about}, which took no more data until the kernel gave up"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{assemble::incident::Other, clock::Ktime};

    #[test]
    fn every_incident_has_its_own_sentence() {
        let server = Other::Server("10.0.0.1:80".parse().unwrap());
        let client = Other::Client("10.0.0.9".parse().unwrap(), 80);
        let millis = Duration::from_millis;
        check(
            Happened::ConnectedLate { syns: 2, took: Some(millis(1020)) },
            server,
            "warning connect_late: A process reached 10.0.0.1:80 only with SYN 2 after 1.0 s: a connect deadline \
             of a second would have failed",
        );
        check(
            Happened::ConnectedLate { syns: 3, took: None },
            server,
            "warning connect_late: A process reached 10.0.0.1:80 only with SYN 3: a connect deadline of a second \
             would have failed",
        );
        check(
            Happened::Stalled { lasted: millis(1430), expiries: 3 },
            server,
            "warning rto_episode: A process heard nothing of what it sent to 10.0.0.1:80 for 1.4 s: its \
             retransmission timer fired 3 times",
        );
        check(
            Happened::Stalled { lasted: millis(205), expiries: 1 },
            client,
            "advice rto_episode: A process heard nothing of what it sent to 10.0.0.9 (a client of port 80) for \
             205 ms: its retransmission timer fired once",
        );
        check(
            Happened::Died(Death::Unacknowledged),
            client,
            "critical data_unacknowledged: A process lost its connection to 10.0.0.9 (a client of port 80): what \
             it sent was never acknowledged",
        );
        check(
            Happened::Died(Death::KeepAlive),
            server,
            "warning keepalive_failed: A process lost its idle connection to 10.0.0.1:80: nobody answered its \
             keep-alives",
        );
        check(
            Happened::Died(Death::Window),
            server,
            "critical window_gave_up: A process lost its connection to 10.0.0.1:80, which took no more data until \
             the kernel gave up",
        );
    }

    #[track_caller]
    fn check(happened: Happened, other: Other, want: &str) {
        let incident = Incident { happened, owner: None, other, at: Ktime(5) };
        let got = Incidents.input(Input::Incident(&incident)).unwrap();
        assert_eq!(format!("{} {}: {}", got.severity.name(), got.kind.name(), got.summary), want);
    }
}
