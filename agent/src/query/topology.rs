//! The topology as clients have it: edges with their ends.
//!
//! On the wire every end stands once, for a service that talks to a thousand others would be spelled
//! out a thousand times, and that would be most of the answer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::proto::{self, By, End, Head, Peer, RoleConfidence, TopologyAnswer, Transport};

/// What the agent answers to `topology`: every edge of it has its ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    pub head: Head,
    edges: Vec<proto::Edge>,
    ends: Vec<Known>,
    by: By,
    lost: BTreeMap<String, u64>,
}

/// An end that has its peer.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    peer: Peer,
    name: String,
    address: Option<String>,
}

/// Its JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Whole<'a> {
    #[serde(flatten)]
    head: &'a Head,
    items: Vec<Edge<'a>>,
    lost: &'a BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Edge<'a> {
    #[serde(flatten)]
    pub numbers: &'a proto::Edge,
    pub client: &'a Peer,
    pub server: Server<'a>,
    /// What each end stands for: `process`, `service` or `workload`. `client` and `server` are then one of
    /// its processes, the one seen last.
    pub by: &'static str,
    /// What the client is called by that; for a peer outside its name, else its address.
    pub client_name: &'a str,
    pub server_name: &'a str,
    /// Of the connection seen last; null when none was.
    pub client_address: Option<&'a str>,
    pub server_address: Option<&'a str>,
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// How it is known who the client is: `exact`, `packet`, `listener`, `service`, `port` or `none`.
    pub role_confidence: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Server<'a> {
    #[serde(flatten)]
    pub peer: &'a Peer,
    pub port: u32,
}

/// An agent does not send such an answer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an edge of the answer lacks an end")]
pub struct Incomplete;

impl Topology {
    #[must_use]
    pub fn edges(&self) -> Vec<Edge<'_>> {
        self.edges.iter().map(|numbers| self.edge(numbers)).collect()
    }

    #[must_use]
    pub fn n_edges(&self) -> usize {
        self.edges.len()
    }

    pub(crate) fn lost(&self) -> &BTreeMap<String, u64> {
        &self.lost
    }

    pub(crate) fn whole(&self) -> Whole<'_> {
        Whole { head: &self.head, items: self.edges(), lost: &self.lost }
    }

    fn edge<'a>(&'a self, numbers: &'a proto::Edge) -> Edge<'a> {
        // Whether they are there was looked at when the answer came.
        let [client, server] = [numbers.client, numbers.server].map(|place| &self.ends[place as usize]);
        Edge {
            numbers,
            client: &client.peer,
            server: Server { peer: &server.peer, port: numbers.server_port },
            by: match self.by {
                By::Process => "process",
                By::Service => "service",
                By::Workload => "workload",
            },
            client_name: &client.name,
            server_name: &server.name,
            client_address: client.address.as_deref(),
            server_address: server.address.as_deref(),
            transport: match numbers.transport() {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            },
            role_confidence: match numbers.role_confidence() {
                RoleConfidence::None => "none",
                RoleConfidence::Port => "port",
                RoleConfidence::Service => "service",
                RoleConfidence::Listener => "listener",
                RoleConfidence::Packet => "packet",
                RoleConfidence::Exact => "exact",
            },
        }
    }
}

impl TryFrom<TopologyAnswer> for Topology {
    type Error = Incomplete;

    fn try_from(answer: TopologyAnswer) -> Result<Self, Incomplete> {
        let by = answer.by();
        let TopologyAnswer { head, items: edges, lost, ends, by: _ } = answer;
        let known = |End { peer, name, address }| Some(Known { peer: peer?, name, address });
        let ends: Option<Vec<_>> = ends.into_iter().map(known).collect();
        let places = edges.iter().flat_map(|edge| [edge.client, edge.server]);
        let n_ends = places.max().map_or(0, |place| place as usize + 1);
        match (head, ends) {
            (Some(head), Some(ends)) if n_ends <= ends.len() => Ok(Self { head, edges, ends, by, lost }),
            _ => Err(Incomplete),
        }
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
            ends: vec![End { peer: Some(Peer::default()), ..End::default() }; 2],
            ..TopologyAnswer::default()
        };
        assert_eq!(Topology::try_from(answer.clone()).unwrap().edges().len(), 1);
        let mut nobody = answer.clone();
        nobody.ends[1].peer = None;
        assert_eq!(Topology::try_from(nobody), Err(Incomplete));
        answer.ends.pop();
        assert_eq!(Topology::try_from(answer), Err(Incomplete));
    }
}
