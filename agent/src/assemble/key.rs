//! Which connection a socket belongs to, the same from both ends.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use agent_common::event::sock::{Row, flag};

use super::{address, addresses::At};

/// By initial sequence numbers, which NAT does not change; a connection older than the agent has none
/// and goes by its addresses, of which this is a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Isns(u32, u32),
    Tuple(u32, u32),
}

impl Key {
    #[must_use]
    pub(super) fn of(row: &Row) -> Self {
        let state = &row.state;
        if state.flags & flag::SEEDED == 0 {
            let (a, b) = (state.local_isn, state.remote_isn);
            return Self::Isns(a.min(b), a.max(b));
        }
        let a = (address::ip(state.local), state.local_port);
        let b = (address::ip(state.remote), state.remote_port);
        // Loopback addresses mean something else in each namespace.
        Self::of_addresses(a, b, if a.0.is_loopback() { state.netns } else { 0 })
    }

    #[must_use]
    pub(super) fn of_addresses(a: At, b: At, netns: u32) -> Self {
        let mut hasher = DefaultHasher::new();
        (a.min(b), a.max(b), netns).hash(&mut hasher);
        let hash = hasher.finish();
        Self::Tuple((hash >> 32) as u32, hash as u32)
    }

    /// Whether the other end has the same key where addresses are translated in between.
    #[must_use]
    pub(super) fn survives_nat(self) -> bool {
        matches!(self, Self::Isns(..))
    }
}
