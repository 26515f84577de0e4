//! The topology as clients have it: each edge with its ends.
//!
//! On the wire every end stands once, for a service that talks to a thousand others is spelled out
//! a thousand times otherwise; and that is most of the answer.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::proto::{self, Head, Peer, TopologyAnswer};

/// What the agent answers to `topology`, and its JSON.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Topology {
    #[serde(flatten)]
    pub head: Head,
    pub items: Vec<Edge>,
    pub lost: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Edge {
    #[serde(flatten)]
    pub numbers: proto::Edge,
    pub client: Arc<Peer>,
    pub server: Server,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Server {
    #[serde(flatten)]
    pub peer: Arc<Peer>,
    pub port: u32,
}

/// An agent does not send such an answer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an edge of the answer lacks an end")]
pub struct Incomplete;

impl TryFrom<TopologyAnswer> for Topology {
    type Error = Incomplete;

    fn try_from(TopologyAnswer { head, items, lost, peers }: TopologyAnswer) -> Result<Self, Incomplete> {
        let peers: Vec<_> = peers.into_iter().map(Arc::new).collect();
        let peer = |place: u32| peers.get(usize::try_from(place).ok()?).map(Arc::clone);
        let whole = |numbers: proto::Edge| {
            let server = Server { peer: peer(numbers.server)?, port: numbers.server_port };
            Some(Edge { client: peer(numbers.client)?, server, numbers })
        };
        let items = items.into_iter().map(whole).collect::<Option<_>>();
        Ok(Self { head: head.ok_or(Incomplete)?, items: items.ok_or(Incomplete)?, lost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_without_its_end_is_no_edge() {
        let edge = proto::Edge { client: 0, server: 1, ..proto::Edge::default() };
        let mut answer = TopologyAnswer {
            head: Some(Head::default()),
            items: vec![edge],
            peers: vec![Peer::default(); 2],
            ..TopologyAnswer::default()
        };
        assert_eq!(Topology::try_from(answer.clone()).unwrap().items.len(), 1);
        answer.peers.pop();
        assert_eq!(Topology::try_from(answer), Err(Incomplete));
    }
}
