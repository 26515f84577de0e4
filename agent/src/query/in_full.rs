//! One edge in full, as clients have it.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    proto::{self, EdgeAnswer, Head, TopologyAnswer},
    topology::{Edge, Incomplete, Topology},
};

/// What the agent answers to `topology --edge`.
#[derive(Clone, Debug, PartialEq)]
pub struct InFull {
    topology: Topology,
    /// Of each of its edges.
    details: Vec<proto::EdgeInFull>,
}

/// Its JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Whole<'a> {
    #[serde(flatten)]
    head: &'a Head,
    items: Vec<EdgeInFull<'a>>,
    lost: &'a std::collections::BTreeMap<String, u64>,
}

/// An edge as it is in the list, and what is shown of one alone.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EdgeInFull<'a> {
    #[serde(flatten)]
    pub(crate) edge: Edge<'a>,
    #[serde(flatten)]
    pub(crate) details: &'a proto::EdgeInFull,
}

impl InFull {
    pub(crate) fn head(&self) -> &Head {
        &self.topology.head
    }

    pub(crate) fn items(&self) -> Vec<EdgeInFull<'_>> {
        let edges = self.topology.edges();
        edges.into_iter().zip(&self.details).map(|(edge, details)| EdgeInFull { edge, details }).collect()
    }

    pub(crate) fn n_items(&self) -> usize {
        self.details.len()
    }

    pub(crate) fn whole(&self) -> Whole<'_> {
        Whole { head: &self.topology.head, items: self.items(), lost: self.topology.lost() }
    }
}

impl TryFrom<EdgeAnswer> for InFull {
    type Error = Incomplete;

    fn try_from(
        EdgeAnswer { head, items: mut details, lost, ends, by }: EdgeAnswer,
    ) -> Result<Self, Incomplete> {
        let edges: Option<Vec<_>> = details.iter_mut().map(|it| it.edge.take()).collect();
        let items = edges.ok_or(Incomplete)?;
        let topology = TopologyAnswer { head, items, lost, ends, by }.try_into()?;
        Ok(Self { topology, details })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_without_their_edge_are_nothing() {
        let answer = EdgeAnswer {
            head: Some(Head::default()),
            items: vec![proto::EdgeInFull::default()],
            ..EdgeAnswer::default()
        };
        assert_eq!(InFull::try_from(answer), Err(Incomplete));
    }
}
