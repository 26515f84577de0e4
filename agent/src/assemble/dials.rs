//! Requests that got no connection, and the connects that failed for them.
//!
//! A Go program dials on a goroutine of its own, so no record says for whom. It is the request in which the connect
//! began and which ended without a connection when the connect did, if there was no second one like that.
//!
//! failed --requests that end with it are known--> told, with ids if there was one

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    failure::ConnectFailure,
    network_event::{NetworkEvent, What},
    span::{Outcome, Span, SpanIds, split_host},
};
use crate::{
    clock::Ktime,
    targets::process::{Process, Runtime},
};

/// Requests of late that got no connection.
const MAX_REQUESTS: usize = 1024;
/// Failed connects that wait for theirs. More are told without it.
const MAX_WAITING: usize = 1024;
/// Between the end of a connect and that of its request, whichever is first.
const TOGETHER: Duration = Duration::from_millis(100);
/// Until the records of both have come.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of a URL without a port; which of both schemes it has is not known.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

#[derive(Debug, Default)]
pub(super) struct Dials {
    requests: VecDeque<Request>,
    waiting: VecDeque<(Ktime, ConnectFailure)>,
}

#[derive(Debug)]
struct Request {
    process: Arc<Process>,
    began: Ktime,
    ended: Ktime,
    host: Arc<str>,
    ids: SpanIds,
}

impl Dials {
    /// Only those are of interest that got no connection.
    pub(super) fn request(&mut self, span: &Span) {
        if span.outcome != Outcome::NoConnection {
            return;
        }
        if MAX_REQUESTS <= self.requests.len() {
            self.requests.pop_front();
        }
        let Span { process, began, ended, host, .. } = span;
        let (process, host) = (Arc::clone(process), Arc::clone(host));
        self.requests.push_back(Request { process, began: *began, ended: *ended, host, ids: span.ids() });
    }

    /// What is to be told of it at once.
    pub(super) fn failed(&mut self, failure: ConnectFailure, now: Ktime) -> Option<NetworkEvent> {
        let requests = failure.client.as_ref().is_some_and(|it| matches!(it.runtime, Runtime::Go(_)));
        if requests && self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((now, failure));
            return None;
        }
        Some(NetworkEvent { what: What::ConnectFailed(failure), span: None })
    }

    /// What is to be told now.
    pub(super) fn settle(&mut self, now: Ktime) -> Vec<NetworkEvent> {
        let mut told = Vec::new();
        while let Some((_, failure)) = self.waiting.pop_front_if(|(at, _)| PATIENCE <= now.since(*at)) {
            let span = self.dialled_for(&failure);
            told.push(NetworkEvent { what: What::ConnectFailed(failure), span });
        }
        let oldest = now.minus(PATIENCE * 4);
        while self.requests.pop_front_if(|it| it.ended < oldest).is_some() {}
        told
    }

    fn dialled_for(&self, failure: &ConnectFailure) -> Option<SpanIds> {
        let client = failure.client.as_ref()?.identity();
        let began = failure.at.minus(failure.lasted?);
        let mut fitting = self.requests.iter().filter(|it| {
            let apart = it.ended.since(failure.at).max(failure.at.since(it.ended));
            it.process.identity() == client
                && it.began <= began
                && began <= it.ended
                && apart <= TOGETHER
                && may_be(&it.host, failure.server)
        });
        match (fitting.next(), fitting.next()) {
            (Some(request), None) => Some(request.ids),
            _ => None,
        }
    }
}

/// Whether a request to that host may have connected there. A name may stand for any address.
fn may_be(host: &str, server: SocketAddr) -> bool {
    let (name, port) = split_host(host);
    let is_port = port.map_or(DEFAULT_PORTS.contains(&server.port()), |it| it == server.port());
    let ip: Result<IpAddr, _> = name.parse();
    is_port && ip.map_or(true, |it| it.to_canonical() == server.ip())
}
