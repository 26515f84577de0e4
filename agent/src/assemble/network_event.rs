//! What goes wrong in the network, as it is told to others. A new kind of it is a variant here, an arm in
//! `export/otlp/network_events.rs`, and a row in docs/metrics.md.

use std::{
    mem::{Discriminant, discriminant},
    net::SocketAddr,
    sync::Arc,
};

use super::{
    failure::{ConnectFailure, FailureClass},
    incident::{Happened, Incident, Other},
    span::SpanIds,
    standstill::Standstill,
};
use crate::{clock::Ktime, targets::process::Process};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkEvent {
    pub what: What,
    /// The request that was open then, where it is known which one that is.
    pub span: Option<SpanIds>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    ConnectFailed(ConnectFailure),
    Incident(Incident),
}

/// Events of one kind between the same two are alike: they are told together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkEventKind {
    ConnectFailed(FailureClass),
    Incident(Discriminant<Happened>, Discriminant<Other>),
    Stands(Discriminant<Standstill>, Discriminant<Other>),
}

impl NetworkEvent {
    #[must_use]
    pub fn kind(&self) -> NetworkEventKind {
        match &self.what {
            What::ConnectFailed(it) => NetworkEventKind::ConnectFailed(it.class),
            What::Incident(it) => match &it.happened {
                Happened::Stands(stands) => {
                    NetworkEventKind::Stands(discriminant(&stands.what), discriminant(&it.other))
                }
                happened => NetworkEventKind::Incident(discriminant(happened), discriminant(&it.other)),
            },
        }
    }

    /// Whose socket it was. `None`: the process is not known any more.
    #[must_use]
    pub fn owner(&self) -> Option<&Arc<Process>> {
        match &self.what {
            What::ConnectFailed(it) => it.client.as_ref(),
            What::Incident(it) => it.owner.as_ref(),
        }
    }

    /// The other end, with the port of the server.
    #[must_use]
    pub fn other(&self) -> SocketAddr {
        match &self.what {
            What::ConnectFailed(it) => it.server,
            What::Incident(it) => match it.other {
                Other::Server(server) | Other::Anybody(server) => server,
                Other::Client(client, own_port) => SocketAddr::new(client, own_port),
            },
        }
    }

    /// Where [`NetworkEvent::other`] was translated to, if that is known.
    #[must_use]
    pub fn behind(&self) -> Option<SocketAddr> {
        match &self.what {
            What::ConnectFailed(it) => it.behind,
            What::Incident(_) => None,
        }
    }

    #[must_use]
    pub fn at(&self) -> Ktime {
        match &self.what {
            What::ConnectFailed(it) => it.at,
            What::Incident(it) => it.at,
        }
    }
}
