//! What the stages tell each other.

use std::{sync::Arc, time::Duration};

use agent_common::{
    event::{
        Event,
        sock::Row,
        udp::{FlowKey, FlowRow, FlowTotals},
    },
    layout::point,
};

use super::outbox::Room;
use crate::{
    assemble::{
        services::{Answer, Question},
        state::DumpKind,
    },
    decode::{dns::DnsMessage, sql::StatementText},
    kernel::Prices,
    targets::{
        golang::{GoBinary, PointName, SqlTypes},
        plan::{Plan, PlanError},
        process::Tgid,
    },
};

/// To the thread that owns the kernel half.
#[derive(Debug)]
pub(super) enum ToKernel {
    Watch(Box<Plan>),
    Unwatch(Tgid),
    /// They are over.
    EndFlows(Vec<FlowKey>),
    /// Of UDP sockets that send.
    FindOwners,
}

/// To the thread that reads binaries.
#[derive(Debug)]
pub(super) enum ToPlanner {
    Plan(Tgid),
}

/// A watched process, as it turned out.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) tgid: Tgid,
    pub(super) binary: Arc<GoBinary>,
    pub(super) sql: Arc<SqlTypes>,
    pub(super) points: Vec<PointName>,
    /// Point, and why the kernel refused it.
    pub(super) refused: Vec<(String, String)>,
}

/// To the thread that owns the state.
#[derive(Debug)]
pub(super) enum ToOwner {
    /// With the room that they take in the queue.
    Events(Vec<Event>, Room),
    /// As [`ToOwner::Events`], and before those of the same time.
    Messages(Vec<DnsMessage>, Room),
    /// As [`ToOwner::Events`].
    Statements(Vec<StatementText>, Room),
    /// One that does not end is no dump.
    DumpBegins(DumpKind),
    /// A part of it, with the room that it takes in the queue.
    Rows(Vec<Row>, Room),
    DumpEnds {
        /// When the next dump is due.
        next_in: Duration,
    },
    Flows {
        rows: Vec<FlowRow>,
        /// What was counted when the rows began to be read.
        totals: FlowTotals,
    },
    Attached(Attached),
    /// A Go program that cannot be watched. Programs of other kinds are not mentioned.
    NotWatched(Tgid, PlanError),
    Hits(Vec<(Tgid, [u64; point::COUNT])>),
    Prices(Prices),
    /// There is somebody who answers questions.
    ServersAreKnown,
    Servers(Vec<(Question, Answer)>),
    Stop,
}
