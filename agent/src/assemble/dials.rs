//! Requests that got no connection, and the connects that failed for them.
//!
//! A Go program dials on a goroutine of its own, so no record says for whom. It is the request in which the connect
//! began and which ended without a connection when the connect did, if there was no second one like that.
//!
//! failed --requests that end with it are known--> told, with ids if there was one
//! no connection --connects that end with it are known--> the span goes on, with those that were its own

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    failure::ConnectFailure,
    network_event::{NetworkEvent, What},
    span::{FailedDial, Outcome, Span, SpanIds, split_host},
};
use crate::{clock::Ktime, targets::process::Runtime};

/// Requests that wait to hear why they got no connection. More go on without it.
const MAX_HELD: usize = 1024;
/// Failed connects that wait for theirs. More are told without it.
const MAX_WAITING: usize = 1024;
/// Between the end of a connect and that of its request, whichever is first.
const TOGETHER: Duration = Duration::from_millis(100);
/// Until the records of both have come: one ring is emptied, every 50 ms.
const PATIENCE: Duration = Duration::from_millis(500);
/// A request waits until the last connect that may be its own has waited.
const HELD_FOR: Duration = Duration::from_millis(750);
/// Of a URL without a port; which of both schemes it has is not known.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

#[derive(Debug, Default)]
pub(super) struct Dials {
    held: VecDeque<(Ktime, Span)>,
    waiting: VecDeque<(Ktime, ConnectFailure)>,
}

impl Dials {
    /// Keeps a request that got no connection, until it is known what became of its connects; gives back all others.
    pub(super) fn request(&mut self, span: Span, now: Ktime) -> Option<Span> {
        if span.outcome != Outcome::NoConnection || MAX_HELD <= self.held.len() {
            return Some(span);
        }
        self.held.push_back((now, span));
        None
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

    /// What is to be told now. Before [`Dials::release`].
    pub(super) fn settle(&mut self, now: Ktime) -> Vec<NetworkEvent> {
        let mut told = Vec::new();
        while let Some((_, failure)) = self.waiting.pop_front_if(|(at, _)| PATIENCE <= now.since(*at)) {
            let span = self.dialled_for(&failure);
            if let Some(span) = self.held.iter_mut().map(|(_, it)| it).find(|it| Some(it.ids()) == span) {
                put_on(span, &failure);
            }
            told.push(NetworkEvent { what: What::ConnectFailed(failure), span });
        }
        told
    }

    /// Requests that have waited long enough.
    pub(super) fn release(&mut self, now: Ktime) -> Vec<Span> {
        let mut released = Vec::new();
        while let Some((_, span)) = self.held.pop_front_if(|(at, _)| HELD_FOR <= now.since(*at)) {
            released.push(span);
        }
        released
    }

    fn dialled_for(&self, failure: &ConnectFailure) -> Option<SpanIds> {
        let client = failure.client.as_ref()?.identity();
        let began = failure.at.minus(failure.lasted?);
        let mut fitting = self.held.iter().map(|(_, it)| it).filter(|it| {
            let apart = it.ended.since(failure.at).max(failure.at.since(it.ended));
            it.process.identity() == client
                && it.began <= began
                && began <= it.ended
                && apart <= TOGETHER
                && may_be(&it.host, failure.server)
        });
        match (fitting.next(), fitting.next()) {
            (Some(request), None) => Some(request.ids()),
            _ => None,
        }
    }
}

fn put_on(span: &mut Span, failure: &ConnectFailure) {
    let ConnectFailure { class, server, lasted: Some(lasted), syns, at, .. } = *failure else {
        return;
    };
    let causes = span.causes.get_or_insert_default();
    if causes.has_room() {
        causes.dials.push(FailedDial { at, class, server, lasted, syns });
    }
}

/// Whether a request to that host may have connected there. A name may stand for any address.
fn may_be(host: &str, server: SocketAddr) -> bool {
    let (name, port) = split_host(host);
    let is_port = port.map_or(DEFAULT_PORTS.contains(&server.port()), |it| it == server.port());
    let ip: Result<IpAddr, _> = name.parse();
    is_port && ip.map_or(true, |it| it.to_canonical() == server.ip())
}
