//! What goes wrong in the network, as it is told to others. A new kind of it is a variant here, an arm in
//! `export/otlp/logs.rs`, and a section in docs/metrics.md.

use std::{net::SocketAddr, sync::Arc};

use super::failure::{ConnectFailure, FailureClass};
use crate::{clock::Ktime, targets::process::Process};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    ConnectFailed(ConnectFailure),
}

/// Events of one kind between the same two are alike: they are told together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkEventKind {
    ConnectFailed(FailureClass),
}

impl NetworkEvent {
    #[must_use]
    pub fn kind(&self) -> NetworkEventKind {
        match self {
            Self::ConnectFailed(it) => NetworkEventKind::ConnectFailed(it.class),
        }
    }

    /// `None`: the process is not known any more.
    #[must_use]
    pub fn client(&self) -> Option<&Arc<Process>> {
        match self {
            Self::ConnectFailed(it) => it.client.as_ref(),
        }
    }

    #[must_use]
    pub fn server(&self) -> SocketAddr {
        match self {
            Self::ConnectFailed(it) => it.server,
        }
    }

    #[must_use]
    pub fn at(&self) -> Ktime {
        match self {
            Self::ConnectFailed(it) => it.at,
        }
    }
}
