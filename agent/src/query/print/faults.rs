//! What went wrong on an edge, by class: one table for everybody who shows it.

use super::{table::Tone, units};
use crate::query::proto::{Closed, Connections, Edge, Retransmits};

/// A way to go wrong.
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// What that says about the two ends or the network between them.
    pub(super) meaning: &'static str,
    pub(super) tone: Tone,
    /// `None`: not told apart, or nothing that could tell.
    pub(super) count: fn(&Edge) -> Option<u64>,
}

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "refused",
        meaning: "a reset answered the SYN: nothing listens there",
        tone: Tone::Alarm,
        count: |edge| connections(edge, |it| it.refused),
    },
    Fault {
        name: "timed out",
        meaning: "no answer to any SYN: the kernel gave up",
        tone: Tone::Alarm,
        count: |edge| connections(edge, |it| it.timed_out),
    },
    Fault {
        name: "abandoned",
        meaning: "the application gave up before the connection was there",
        tone: Tone::Alarm,
        count: |edge| connections(edge, |it| it.abandoned),
    },
    Fault {
        name: "unreachable",
        meaning: "a router or the own host said that there is no way",
        tone: Tone::Alarm,
        count: |edge| connections(edge, |it| it.unreachable),
    },
    Fault {
        name: "reset at connect",
        meaning: "a reset that was no answer to the SYN ended the connect",
        tone: Tone::Alarm,
        count: |edge| connections(edge, |it| it.connect_reset),
    },
    Fault {
        name: "failed otherwise",
        meaning: "connects that ended with any other error",
        tone: Tone::Alarm,
        count: |edge| connections(edge, |it| it.other),
    },
    Fault {
        name: "retried",
        meaning: "opened, but not by their first SYN: each took a second or more",
        tone: Tone::Warning,
        count: |edge| connections(edge, |it| it.retried),
    },
    Fault {
        name: "never acknowledged",
        meaning: "open connections that the kernel gave up: what was sent was never acknowledged",
        tone: Tone::Alarm,
        count: |edge| closed(edge, |it| it.unacknowledged),
    },
    Fault {
        name: "dead when idle",
        meaning: "open connections whose peer did not answer keep-alives",
        tone: Tone::Alarm,
        count: |edge| closed(edge, |it| it.keepalive),
    },
    Fault {
        name: "window closed",
        meaning: "open connections whose peer took no more data until the kernel gave up",
        tone: Tone::Alarm,
        count: |edge| closed(edge, |it| it.window),
    },
    Fault {
        name: "reset",
        meaning: "open connections that one side cut off",
        tone: Tone::Warning,
        count: |edge| connections(edge, |it| it.reset),
    },
    Fault {
        name: "retransmits",
        meaning: "segments sent again, for whatever reason",
        tone: Tone::Warning,
        count: |edge| retransmits(edge, |it| it.fast.is_none().then_some(it.total)),
    },
    Fault {
        name: "SYN retransmits",
        meaning: "the SYN or its answer was lost, or nobody answered",
        tone: Tone::Warning,
        count: |edge| retransmits(edge, |it| it.syn),
    },
    Fault {
        name: "fast retransmits",
        meaning: "single losses, repaired within a round trip",
        tone: Tone::Warning,
        count: |edge| retransmits(edge, |it| it.fast),
    },
    Fault {
        name: "time-outs",
        meaning: "times that a retransmission timer fired, until something was acknowledged again",
        tone: Tone::Alarm,
        count: |edge| edge.network.as_ref()?.rto_episodes,
    },
    Fault {
        name: "time-out retransmits",
        meaning: "nothing came back until the time-out: each cost 200 ms or more",
        tone: Tone::Alarm,
        count: |edge| retransmits(edge, |it| it.rto),
    },
    Fault {
        name: "slow-start retransmits",
        meaning: "what followed a time-out",
        tone: Tone::Warning,
        count: |edge| retransmits(edge, |it| it.slow_start),
    },
    Fault {
        name: "tail-loss probes",
        meaning: "the end of a burst was sent again, to see whether it arrived",
        tone: Tone::Warning,
        count: |edge| retransmits(edge, |it| it.tlp),
    },
];

/// Those that happened.
pub(super) fn of(edge: &Edge) -> impl Iterator<Item = (&'static Fault, u64)> {
    FAULTS.iter().filter_map(|fault| Some((fault, (fault.count)(edge).filter(|count| *count != 0)?)))
}

/// `4 refused, 2 reset`.
pub(super) fn in_words(edge: &Edge) -> String {
    let words: Vec<_> = of(edge).map(|(fault, count)| format!("{count} {}", fault.name)).collect();
    if words.is_empty() { units::UNKNOWN.to_owned() } else { words.join(", ") }
}

fn connections(edge: &Edge, count: fn(&Connections) -> u64) -> Option<u64> {
    edge.connections.as_ref().map(count)
}

fn closed(edge: &Edge, count: fn(&Closed) -> u64) -> Option<u64> {
    edge.connections.as_ref()?.closed.as_ref().map(count)
}

fn retransmits(edge: &Edge, count: fn(&Retransmits) -> Option<u64>) -> Option<u64> {
    count(edge.network.as_ref()?.retransmits.as_ref()?)
}
