//! What happened to one connection that its user may have felt.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use agent_common::event::{fault::RtoEnded, sock::role as kernel_role};

use super::{
    address,
    edge::EdgeId,
    faults::{Cause, Death},
    role::Role,
    seen::Seen,
    sockets::Surroundings,
    standstill::Standstill,
    standstills::Standing,
};
use crate::{clock::Ktime, targets::process::Process};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// The connect was answered, but not its first SYN.
    ConnectedLate { syns: u32, took: Option<Duration> },
    /// Nothing was acknowledged for so long, and the retransmission timer fired so often.
    Stalled { lasted: Duration, expiries: u32 },
    /// The kernel gave the connection up.
    Died(Death),
    /// It lasts: told with each dump until it is over.
    Stands(Stands),
}

/// What stands still between the same two, or at the same listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands {
    /// Of the connection that waits longest, as the next two.
    pub what: Standstill,
    pub lasts: Duration,
    /// `None`: a listener, or it is on no edge yet.
    pub edge: Option<EdgeId>,
    /// That wait so.
    pub connections: u32,
    /// It was not told before.
    pub is_new: bool,
}

/// One of them, at one of the two sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub happened: Happened,
    /// Whose socket it was; `None`: the process is not known any more.
    pub owner: Option<Arc<Process>>,
    pub other: Other,
    pub at: Ktime,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    Server(SocketAddr),
    /// A client of the own port. Its port means nothing.
    Client(std::net::IpAddr, u16),
    /// Whoever connects to where the own process listens.
    Anybody(SocketAddr),
}

impl Incident {
    #[must_use]
    pub(super) fn stalled(record: &RtoEnded, owner: Option<&Arc<Process>>) -> Self {
        let at = Ktime(record.header.ktime_ns);
        let (local, remote) = (record.local_port, record.remote_port);
        let serves = match record.role {
            kernel_role::SERVER => true,
            kernel_role::CLIENT => false,
            // Older than the agent: clients' ports are high.
            _ => local < remote,
        };
        let remote = SocketAddr::new(address::ip(record.remote), remote);
        Self {
            happened: Happened::Stalled {
                lasted: at.since(Ktime(record.began_ktime_ns)),
                expiries: record.expiries,
            },
            owner: owner.map(Arc::clone),
            other: if serves { Other::Client(remote.ip(), local) } else { Other::Server(remote) },
            at,
        }
    }

    #[must_use]
    pub(super) fn stands(standing: &Standing, edge: Option<EdgeId>, around: &Surroundings<'_>) -> Self {
        let Standing { what, owner, other, lasts, connections, is_new, .. } = *standing;
        Self {
            happened: Happened::Stands(Stands { what, lasts, edge, connections, is_new }),
            owner: around.directory.get(owner).map(|known| Arc::clone(&known.process)),
            other,
            at: around.now,
        }
    }

    /// Not a thing that lasts and was told before.
    #[must_use]
    pub fn is_new(&self) -> bool {
        !matches!(self.happened, Happened::Stands(Stands { is_new: false, .. }))
    }
}

/// What is new of a socket; `known`: how it ended, as far as that was known before it was `seen`.
pub(super) fn of<'a>(
    seen: &'a Seen,
    known: Option<Cause>,
    around: &'a Surroundings<'_>,
) -> impl Iterator<Item = Incident> + use<'a> {
    // Who serves may be asked by whoever does not mean it: only who connects is told of its handshake.
    let is_late = known.is_none() && seen.connect_took.is_some() && seen.handshake_repeats != 0;
    let late = is_late.then_some(Happened::ConnectedLate {
        syns: seen.handshake_repeats.saturating_add(1),
        took: seen.connect_took,
    });
    let died = seen.cause.death().filter(|_| known.is_none_or(|it| it.death().is_none()));
    let end = &seen.end;
    late.into_iter().chain(died.map(Happened::Died)).map(|happened| Incident {
        happened,
        owner: around.directory.get(end.tgid).map(|known| Arc::clone(&known.process)),
        other: match end.role {
            Role::Client => Other::Server(end.remote.into()),
            Role::Server => Other::Client(end.remote.0, end.local.1),
        },
        at: around.now,
    })
}
