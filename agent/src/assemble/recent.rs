//! The last connections of an edge that ended or came to nothing, for those who look at one edge.
//!
//! Bounded for each edge, and in all: of the edges that keep some, the one where nothing has ended for
//! longest lets go of them.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use super::{
    edge::{BothWays, Edge},
    failure::FailureClass,
    faults::{Death, ResetReason},
    topology::EdgeKey,
};
use crate::{clock::Ktime, targets::process::Tgid};

/// Of one edge.
pub const MAX_KEPT: usize = 16;
/// That keep any: 1 MiB in all, and at most as much again for those that the last snapshot shows and
/// that have changed since.
const MAX_KEEPERS: usize = 512;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Closed,
    /// An end of it that is seen was reset; why, if the end that did it is seen and its kernel says.
    Reset(Option<ResetReason>),
    /// An end of it that is seen gave up.
    Died(Death),
    /// No dump shows it any more, and its end was not seen.
    Vanished,
    /// It was never established.
    Failed(FailureClass),
}

impl Outcome {
    /// The word of the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset(_) => "reset",
            Self::Vanished => "vanished",
            Self::Failed(FailureClass::Refused) => "refused",
            Self::Failed(FailureClass::TimedOut) => "timed_out",
            Self::Failed(FailureClass::Abandoned) => "abandoned",
            Self::Failed(FailureClass::Unreachable) => "unreachable",
            Self::Died(death) => death.name(),
            Self::Failed(FailureClass::Reset) => "connect_reset",
            Self::Failed(FailureClass::Other) => "failed",
        }
    }

    #[must_use]
    pub fn reset_reason(self) -> Option<ResetReason> {
        match self {
            Self::Reset(reason) => reason,
            _ => None,
        }
    }
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recent {
    /// As its own socket names itself, where that is seen.
    pub client: (IpAddr, u16),
    pub server: (IpAddr, u16),
    /// `Tgid(0)`: not on this node, or not known.
    pub client_tgid: Tgid,
    pub server_tgid: Tgid,
    /// `None`: before the agent came.
    pub began: Option<Ktime>,
    pub ended: Ktime,
    pub bytes: BothWays,
    pub retransmits: u64,
    /// Smoothed, at the end.
    pub rtt: Option<Duration>,
    pub outcome: Outcome,
}

/// Those of one edge. The last is the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recents {
    kept: VecDeque<Recent>,
    /// When one was added last.
    touched: Ktime,
}

impl Recents {
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Recent> {
        self.kept.iter()
    }

    pub(super) fn push(&mut self, recent: Recent) {
        if self.kept.len() == MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(recent);
    }
}

impl FromIterator<Recent> for Recents {
    fn from_iter<I: IntoIterator<Item = Recent>>(all: I) -> Self {
        let mut recents = Self::default();
        all.into_iter().for_each(|recent| recents.push(recent));
        recents
    }
}

/// The edges that keep some.
#[derive(Debug, Default)]
pub(super) struct Keepers {
    by_age: BTreeSet<(Ktime, EdgeKey)>,
}

impl Keepers {
    /// Something was added to `recents`. Gives the edge that must let go of its own.
    pub(super) fn touch(&mut self, key: EdgeKey, recents: &mut Recents, now: Ktime) -> Option<EdgeKey> {
        if !recents.kept.is_empty() {
            // Many end at once, as the records come in batches.
            if recents.touched == now {
                return None;
            }
            self.by_age.remove(&(recents.touched, key));
        }
        recents.touched = now;
        self.by_age.insert((now, key));
        let is_full = MAX_KEEPERS < self.by_age.len();
        is_full.then(|| self.by_age.pop_first()).flatten().map(|(_, oldest)| oldest)
    }

    /// The edge is gone.
    pub(super) fn lose(&mut self, key: EdgeKey, edge: &Edge) {
        if let Some(recents) = &edge.recent {
            self.by_age.remove(&(recents.touched, key));
        }
    }
}

#[cfg(test)]
impl Keepers {
    pub(super) fn count(&self) -> usize {
        self.by_age.len()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{mem::size_of, net::Ipv4Addr};

    use super::*;

    pub(crate) fn recent(port: u16) -> Recent {
        Recent {
            client: (Ipv4Addr::LOCALHOST.into(), port),
            server: (Ipv4Addr::LOCALHOST.into(), 80),
            client_tgid: Tgid(1),
            server_tgid: Tgid(2),
            began: Some(Ktime(u64::from(port))),
            ended: Ktime(u64::from(port) + 1),
            bytes: BothWays::default(),
            retransmits: 0,
            rtt: None,
            outcome: Outcome::Closed,
        }
    }

    #[test]
    fn the_last_ones_are_kept() {
        let mut recents = Recents::default();
        for port in 1..=100 {
            recents.push(recent(port));
        }
        let ports: Vec<_> = recents.iter().map(|it| it.client.1).collect();
        assert_eq!(ports, (85..=100).collect::<Vec<_>>());
    }

    #[test]
    fn all_of_them_take_a_mebibyte() {
        assert!(size_of::<Recent>() * MAX_KEPT * MAX_KEEPERS <= 1 << 20, "{}", size_of::<Recent>());
    }
}
