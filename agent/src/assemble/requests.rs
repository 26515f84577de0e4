//! Requests find the edge of their connection.
//!
//! A request may end before its connection was seen in a dump, so it waits a little.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ahash::AHashMap;

use super::{
    span::Protocol,
    topology::{EdgeKey, Topology},
};
use crate::{
    clock::Ktime,
    vitals::{Vital, Vitals},
};

const MAX_WAITING: usize = 50_000;
/// Longer than a connection's end waits for the other, and than it stays after its end: three dumps, and this.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection as one of its ends names it: client, server, namespace where it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    pub client: (IpAddr, u16),
    pub server: (IpAddr, u16),
    pub netns: u32,
}

impl Tuple {
    #[must_use]
    pub(super) fn new(client: SocketAddr, server: SocketAddr, netns: u32) -> Self {
        let netns = if client.ip().is_loopback() { netns } else { 0 };
        Self { client: (client.ip(), client.port()), server: (server.ip(), server.port()), netns }
    }
}

/// One request, on the way to its edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub tuple: Tuple,
    pub lasted: Duration,
    pub is_error: bool,
    pub protocol: Protocol,
    pub ended: Ktime,
}

/// Connections that carry requests, and requests that wait for theirs.
#[derive(Debug, Default)]
pub(super) struct Requests {
    edges: AHashMap<Tuple, EdgeKey>,
    ended: VecDeque<(Ktime, Tuple)>,
    waiting: VecDeque<Request>,
}

impl Requests {
    pub(super) fn connection(&mut self, tuple: Tuple, edge: EdgeKey) {
        self.edges.insert(tuple, edge);
    }

    /// It is kept a little longer: the last request's record may still be under way.
    pub(super) fn connection_ended(&mut self, tuple: Tuple, now: Ktime) {
        self.ended.push_back((now, tuple));
    }

    pub(super) fn add(&mut self, request: Request, vitals: &Vitals) {
        if MAX_WAITING <= self.waiting.len() {
            vitals.add(Vital::RequestsWithoutEdge, 1);
            return;
        }
        self.waiting.push_back(request);
    }

    /// Hands what waits to the edges.
    pub(super) fn settle(
        &mut self,
        now: Ktime,
        dump_every: Duration,
        topology: &mut Topology,
        vitals: &Vitals,
    ) {
        let patience = dump_every.saturating_mul(3).saturating_add(PATIENCE);
        let edges = &self.edges;
        self.waiting.retain(|request| {
            let edge = edges.get(&request.tuple).and_then(|key| topology.get_mut(*key));
            let Some(edge) = edge else {
                let waits = now.since(request.ended) < patience;
                if !waits {
                    vitals.add(Vital::RequestsWithoutEdge, 1);
                }
                return waits;
            };
            edge.protocol = Some(request.protocol.name());
            let requests = edge.requests.get_or_insert_default();
            requests.count += 1;
            requests.errors += u64::from(request.is_error);
            requests.latency.record(request.lasted);
            false
        });
        while let Some((at, tuple)) = self.ended.front()
            && patience <= now.since(*at)
        {
            self.edges.remove(tuple);
            self.ended.pop_front();
        }
    }
}
