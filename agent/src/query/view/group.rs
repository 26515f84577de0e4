//! What the ends of edges stand for, and which edges are one by that.

use std::{
    collections::hash_map::Entry,
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
};

use ahash::AHashMap;

use super::{merge, workload::Workload};
use crate::{
    assemble::edge::{Edge, EdgeId, Edges, Peer},
    query::proto::By,
    targets::process::Process,
};

/// A line of the answer.
pub(crate) struct Row<'a> {
    pub(crate) id: EdgeId,
    /// Whether one of the edges that it stands for is asked for.
    pub(crate) is_asked: bool,
    edge: Seen<'a>,
}

/// Most rows stand for one edge, and an edge is large.
enum Seen<'a> {
    One(&'a Edge),
    Sum(Box<Edge>),
}

impl Row<'_> {
    pub(crate) fn edge(&self) -> &Edge {
        match &self.edge {
            Seen::One(edge) => edge,
            Seen::Sum(edge) => edge,
        }
    }
}

/// Edges with the same ends are one. Whichever is asked for, its row has the whole sum: what an edge
/// counts does not depend on why it is shown.
pub(crate) fn rows<'a>(edges: &'a Edges, by: By, is_asked: impl Fn(&Edge) -> bool) -> Vec<Row<'a>> {
    let edges = edges.iter().map(AsRef::as_ref);
    if by == By::Process {
        let asked = edges.filter(|edge| is_asked(edge));
        return asked.map(|edge| Row { id: edge.id, is_asked: true, edge: Seen::One(edge) }).collect();
    }
    let mut groups = Groups::new(by);
    let mut places: AHashMap<EdgeId, usize> = AHashMap::with_capacity(edges.len());
    let mut rows: Vec<Row<'a>> = Vec::with_capacity(edges.len());
    for edge in edges {
        let id = groups.id(edge);
        match places.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(rows.len());
                rows.push(Row { id, is_asked: is_asked(edge), edge: Seen::One(edge) });
            }
            Entry::Occupied(entry) => rows[*entry.get()].add(edge, &is_asked),
        }
    }
    rows.retain(|row| row.is_asked);
    rows
}

impl Row<'_> {
    fn add(&mut self, other: &Edge, is_asked: impl Fn(&Edge) -> bool) {
        self.is_asked = self.is_asked || is_asked(other);
        if let Seen::One(edge) = &self.edge {
            self.edge = Seen::Sum(Box::new(merge::first(edge)));
        }
        if let Seen::Sum(sum) = &mut self.edge {
            merge::add(sum, other);
        }
    }
}

/// Ids of rows: the same for the same ends, whatever else there is and whoever asks.
pub(crate) struct Groups {
    by: By,
    /// What was found out of each process, by its description.
    known: AHashMap<*const Process, u64>,
}

impl Groups {
    pub(crate) fn new(by: By) -> Self {
        Self { by, known: AHashMap::new() }
    }

    pub(crate) fn id(&mut self, edge: &Edge) -> EdgeId {
        if self.by == By::Process {
            return edge.id;
        }
        let (client, server) = (self.end(&edge.client), self.end(&edge.server));
        // By whichever VIP, as long as it leads to the same port: another one is another server.
        let own_port = edge.vip.map_or(edge.server_port, |vip| vip.backend_port);
        EdgeId(hash(&(i32::from(self.by), client, server, edge.server_port, own_port, edge.transport)))
    }

    fn end(&mut self, peer: &Peer) -> u64 {
        match peer {
            Peer::Address { ip: _, name: Some(name) } => hash(&("name", name)),
            Peer::Address { ip, name: None } => hash(&("address", ip)),
            Peer::Process(process) => {
                let by = self.by;
                *self.known.entry(Arc::as_ptr(process)).or_insert_with(|| match by {
                    By::Workload => hash(&Workload::of(process)),
                    By::Process | By::Service => hash(&process.service.name),
                })
            }
        }
    }
}

fn hash(what: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// What an end is called.
pub(crate) fn name(peer: &Peer, by: By) -> String {
    match peer {
        Peer::Process(process) if by == By::Workload => Workload::of(process).to_string(),
        Peer::Process(process) => process.service.name.clone(),
        Peer::Address { name: Some(name), .. } => name.clone(),
        Peer::Address { ip, name: None } => ip.to_string(),
    }
}
