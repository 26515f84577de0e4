//! The whole state, with one owner.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use agent_common::event::{
    Event,
    http::{Call, end, joined_by, side},
    packet::{Stray, what},
    sock::{ConnectFailed, Row},
    udp::{FlowKey, FlowRow, FlowTotals, UdpOwner},
};

use super::{
    address,
    dials::Dials,
    directory::Directory,
    edge::Edges,
    failure::ConnectFailure,
    failures::Failures,
    http,
    incident::Incident,
    lookup::Lookup,
    lookups::{Ended, Lookups},
    names::Names,
    network_event::{NetworkEvent, What},
    requests::{Request, Requests, Tuple},
    resolutions::{ResolutionSeries, Resolutions},
    services::{Answer, Question, Services, Subject},
    sockets::{Sockets, Surroundings},
    span::{Batch, Span},
    sql::Statements,
    stalls::Stalls,
    texts::Texts,
    topology::Topology,
    traces::Traces,
    udp::Udp,
};
use crate::{
    clock::Ktime,
    decode::{
        dns::{Body, DnsMessage},
        sql::StatementText,
    },
    targets::{
        golang::SqlTypes,
        process::{Process, Tgid},
    },
    vitals::{Vital, Vitals},
};

/// What others are told of that happened before.
#[derive(Debug, Default)]
pub struct Told {
    /// Spans that waited to hear what hit them.
    pub spans: Batch,
    /// Some waited for their server.
    pub failures: Vec<ConnectFailure>,
    pub events: Vec<NetworkEvent>,
}

/// What a batch of events gave, for those who come after.
#[derive(Debug, Default)]
pub struct Output {
    pub spans: Batch,
    pub incidents: Vec<Incident>,
}

/// Lookups that wait to hear whose socket it was that asked.
const MAX_UNOWNED: usize = 4096;
/// The first call says so when it returns, which may be read after the answer.
const OWNED_WITHIN: Duration = Duration::from_millis(500);

/// What the kernel half is to do for those who look at flows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// To forget them: they are over.
    pub ended: Vec<FlowKey>,
    /// To look for the owners of sockets: somebody sends whom nobody knows.
    pub owners: bool,
}

/// What a dump shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpKind {
    /// Every socket.
    Whole,
    /// Those that changed since a dump showed them last, those that are stuck, and all listeners.
    News,
}

/// Sockets, edges, requests, lookups, traces.
#[derive(Debug)]
pub struct State {
    directory: Directory,
    sockets: Sockets,
    failures: Failures,
    udp: Udp,
    topology: Topology,
    requests: Requests,
    services: Services,
    lookups: Lookups,
    /// Lookups that ended, by when they were read.
    unowned: Vec<(Ktime, Ended)>,
    names: Names,
    resolutions: Resolutions,
    traces: Traces,
    stalls: Stalls,
    dials: Dials,
    /// To be taken by who tells others.
    told: Vec<NetworkEvent>,
    texts: Texts,
    statements: Statements,
    vitals: Arc<Vitals>,
    window: Duration,
    dump_every: Duration,
}

impl State {
    #[must_use]
    pub fn new(vitals: Arc<Vitals>, window: Duration) -> Self {
        Self {
            directory: Directory::default(),
            sockets: Sockets::default(),
            failures: Failures::default(),
            udp: Udp::default(),
            topology: Topology::default(),
            requests: Requests::default(),
            services: Services::default(),
            lookups: Lookups::new(Arc::clone(&vitals)),
            unowned: Vec::new(),
            names: Names::default(),
            resolutions: Resolutions::default(),
            traces: Traces::default(),
            stalls: Stalls::default(),
            dials: Dials::default(),
            told: Vec::new(),
            texts: Texts::default(),
            statements: Statements::default(),
            vitals,
            window,
            dump_every: Duration::from_secs(1),
        }
    }

    /// Addresses of the interfaces of the agent's own network namespace.
    pub fn local_addresses(&mut self, netns: u32, addresses: impl IntoIterator<Item = IpAddr>) {
        self.sockets.local_addresses(netns, addresses);
        self.udp.own_netns(netns);
    }

    pub fn process(&mut self, process: Arc<Process>) {
        self.directory.insert(process, &self.vitals);
    }

    pub fn process_ended(&mut self, tgid: Tgid, now: Ktime) {
        self.directory.end(tgid, now);
    }

    #[must_use]
    pub fn knows(&self, tgid: Tgid) -> Option<&Arc<Process>> {
        self.directory.get(tgid).map(|known| &known.process)
    }

    /// Processes that have not ended, as far as is known.
    #[must_use]
    pub fn alive(&self) -> Vec<Tgid> {
        self.directory.alive().collect()
    }

    /// Processes that the events speak of and nobody has introduced.
    #[must_use]
    pub fn strangers<'a>(&self, events: impl IntoIterator<Item = &'a Event>) -> BTreeSet<Tgid> {
        let tgids = events.into_iter().filter_map(|event| match event {
            Event::ConnectFailed(it) => Some(it.row.state.tgid),
            Event::Closed(it) => Some(it.row.state.tgid),
            Event::Retransmit(it) => Some(it.tgid),
            Event::RtoEnded(it) => Some(it.tgid),
            Event::Call(it) => Some(it.header.tgid),
            Event::UdpOwner(it) => Some(it.header.tgid),
            Event::Exec(_) | Event::Exit(_) | Event::Stray(_) | Event::DnsPacket(_) | Event::Statement(_) => {
                None
            }
        });
        self.unknown(tgids)
    }

    /// As [`State::strangers`], of a dump.
    #[must_use]
    pub fn strangers_of_rows(&self, rows: &[Row]) -> BTreeSet<Tgid> {
        self.unknown(rows.iter().map(|row| row.state.tgid))
    }

    /// As [`State::strangers`], of those who ask.
    #[must_use]
    pub fn strangers_of_messages(&self, messages: &[DnsMessage]) -> BTreeSet<Tgid> {
        self.unknown(messages.iter().map(|it| it.asker.0))
    }

    /// As [`State::strangers`], of those who ask databases.
    #[must_use]
    pub fn strangers_of_statements(&self, statements: &[StatementText]) -> BTreeSet<Tgid> {
        self.unknown(statements.iter().map(|it| it.record.header.tgid))
    }

    fn unknown(&self, tgids: impl Iterator<Item = u32>) -> BTreeSet<Tgid> {
        tgids.filter(|tgid| *tgid != 0).map(Tgid).filter(|it| self.directory.get(*it).is_none()).collect()
    }

    /// Takes a batch, in the order in which the kernel half made it.
    pub fn events(&mut self, events: &[Event], now: Ktime) -> Output {
        let mut spans = Vec::new();
        // Requests end when an answer comes, which is at the same moment: first it must be known what was before.
        let stalls: Vec<_> = events.iter().filter_map(|event| self.stall(event, now)).collect();
        for event in events {
            match event {
                Event::Closed(it) => self.socket(&it.row, Some(Ktime(it.header.ktime_ns)), now),
                Event::ConnectFailed(it) => self.connect_failed(it, now),
                Event::Call(it) => spans.extend(self.call(it, now)),
                Event::Stray(it) => self.stray(it, now),
                // The number of segments is in the socket.
                Event::RtoEnded(_) | Event::Retransmit(_) => {}
                Event::UdpOwner(it) => self.udp_owner(it, now),
                // Who owns us knows whether a process whose first thread ended lives on.
                Event::Exec(_) | Event::Exit(_) => {}
                // It has come as a message, or with its text.
                Event::DnsPacket(_) | Event::Statement(_) => self.vitals.add(Vital::RecordsContradictory, 1),
            }
        }
        self.settle(now);
        self.vitals.add(Vital::EventsAssembled, events.len() as u64);
        let spans = self.keep(spans);
        let mut incidents = self.happened();
        incidents.extend(stalls);
        Output { spans, incidents }
    }

    /// What the statements of a process speak of, in the program that it runs now.
    pub fn sql_types(&mut self, tgid: Tgid, types: Arc<SqlTypes>) {
        self.statements.types(tgid, types);
    }

    /// Takes statements, in the order in which they ended.
    pub fn statements(&mut self, statements: &[StatementText]) -> Batch {
        let spans: Vec<Span> = statements.iter().filter_map(|it| self.statement(it)).collect();
        self.vitals.add(Vital::EventsAssembled, statements.len() as u64);
        self.keep(spans)
    }

    fn statement(&mut self, statement: &StatementText) -> Option<Span> {
        let Some(known) = self.directory.get(Tgid(statement.record.header.tgid)) else {
            self.vitals.add(Vital::SpansUnknownProcess, 1);
            return None;
        };
        let span = self.statements.span(statement, &known.process, &mut self.texts);
        self.vitals.add(if span.is_some() { Vital::SpansMade } else { Vital::RecordsContradictory }, 1);
        span
    }

    fn keep(&mut self, mut spans: Vec<Span>) -> Batch {
        // Who keeps it counts spans: room for more of them would be memory that nobody counts.
        spans.shrink_to_fit();
        let spans = Arc::new(spans);
        if !spans.is_empty() {
            self.traces.add(Arc::clone(&spans));
        }
        spans
    }

    /// What others are to be told of since the last time. Some of it waits to hear of the request that it happened to,
    /// and some requests wait to hear how long it lasted.
    #[must_use]
    pub fn told(&mut self, now: Ktime) -> Told {
        let (mut spans, failures) = (self.stalls.release(now), self.failures.take());
        self.told.extend(failures.iter().filter_map(|it| self.dials.failed(it.clone(), now)));
        self.told.extend(self.stalls.settle(now));
        self.told.extend(self.dials.settle(now));
        spans.extend(self.dials.release(now));
        Told { spans: self.keep(spans), failures, events: std::mem::take(&mut self.told) }
    }

    /// As [`State::told`], when there is no time to wait any more.
    #[must_use]
    pub fn last_told(&mut self, now: Ktime) -> Told {
        let (Parts { sockets, failures, .. }, mut around) = self.split(now);
        failures.settle_all(&sockets.places, &mut around);
        self.told(Ktime(u64::MAX))
    }

    /// To connections, since the last time.
    fn happened(&mut self) -> Vec<Incident> {
        let incidents = self.sockets.take_incidents();
        let new = incidents.iter().filter(|it| it.is_new());
        self.told.extend(new.map(|it| NetworkEvent { what: What::Incident(it.clone()), span: None }));
        incidents
    }

    fn stall(&mut self, event: &Event, now: Ktime) -> Option<Incident> {
        match event {
            Event::Retransmit(it) => self.stalls.fired(it, now, &self.vitals),
            Event::RtoEnded(it) => {
                let incident = Incident::stalled(it, self.knows(Tgid(it.tgid)));
                self.told.extend(self.stalls.over(it, incident.clone(), now));
                return Some(incident);
            }
            _ => {}
        }
        None
    }

    /// Takes messages of DNS, in the order in which the kernel half copied them; returns what came to its
    /// end. Before events and rows of the same time: their edges are named by what was answered.
    pub fn messages(&mut self, messages: &[DnsMessage], now: Ktime) -> Vec<Lookup> {
        let mut lookups = Vec::new();
        for message in messages {
            let Some(ended) = self.lookups.take(message) else {
                continue;
            };
            if let Body::Answer { addresses, .. } = &message.body {
                let (client, name) = (self.sockets.places.client(ended.client.ip()), &ended.question.name);
                addresses.iter().for_each(|(ip, ttl)| self.names.add(client, *ip, name, *ttl, now));
            }
            match self.asker(&ended) {
                None if ended.cookie != 0 && self.unowned.len() < MAX_UNOWNED => {
                    self.unowned.push((now, ended));
                }
                asker => lookups.push(self.lookup(asker, ended)),
            }
        }
        self.vitals.add(Vital::EventsAssembled, messages.len() as u64);
        lookups
    }

    /// Questions that nobody has answered in time, and those whose process is known by now, or will never be. Call it a
    /// few times a second.
    pub fn unanswered(&mut self, now: Ktime) -> Vec<Lookup> {
        let mut lookups = Vec::new();
        for (at, ended) in std::mem::take(&mut self.unowned) {
            match self.asker(&ended) {
                None if now.since(at) < OWNED_WITHIN => self.unowned.push((at, ended)),
                asker => lookups.push(self.lookup(asker, ended)),
            }
        }
        for ended in self.lookups.unanswered(now) {
            lookups.push(self.lookup(self.asker(&ended), ended));
        }
        lookups
    }

    fn asker(&self, ended: &Ended) -> Option<Tgid> {
        if ended.asker == Tgid(0) { self.udp.owner_of(ended.cookie) } else { Some(ended.asker) }
    }

    fn lookup(&mut self, asker: Option<Tgid>, ended: Ended) -> Lookup {
        let Ended { client, resolver, question, outcome, at, .. } = ended;
        let client_ip = client.ip();
        let client = asker.and_then(|it| self.knows(it)).map(Arc::clone);
        let lookup = Lookup { client, client_ip, resolver, question, outcome, at };
        self.resolutions.record(&lookup);
        lookup
    }

    /// From now on somebody takes [`State::questions`] and gives answers.
    pub fn servers_are_known(&mut self) {
        self.services.are_known();
    }

    /// What came up since the last time: which servers are behind addresses that may be translated.
    #[must_use]
    pub fn questions(&mut self) -> Vec<Question> {
        self.services.take_questions()
    }

    pub fn answers(&mut self, answers: &[(Question, Answer)], now: Ktime) {
        for (question, answer) in answers {
            let Some(subject) = self.services.answered(question, *answer, now) else {
                continue;
            };
            let (Parts { sockets, failures, udp }, mut around) = self.split(now);
            match subject {
                Subject::Connection(key) | Subject::Older(key) => {
                    sockets.answered(key, *answer, &mut around);
                }
                Subject::Failure => failures.answered(question, *answer, &sockets.places, &mut around),
                Subject::Talk(key) => udp.answered(key, question, *answer, &mut around),
            }
        }
        self.settle(now);
    }

    /// Dumps become rarer when there are many sockets; who waits for the next one waits accordingly.
    pub fn dumps_every(&mut self, period: Duration) {
        self.dump_every = period;
    }

    /// Takes a whole dump of the sockets in one part; returns what happened to them, and what stands still.
    pub fn rows(&mut self, rows: &[Row], now: Ktime) -> Vec<Incident> {
        self.dump_begins(DumpKind::Whole);
        let mut incidents = self.dump_part(rows, now);
        incidents.extend(self.dump_ends(now));
        incidents
    }

    /// A dump that was not ended before is no dump: what it did not show may well be there.
    pub fn dump_begins(&mut self, kind: DumpKind) {
        self.sockets.dump_begins(kind);
    }

    /// Takes some of its sockets; returns what happened to them.
    pub fn dump_part(&mut self, rows: &[Row], now: Ktime) -> Vec<Incident> {
        rows.iter().for_each(|row| self.sockets.listener(row, now, &self.vitals));
        rows.iter().for_each(|row| self.socket(row, None, now));
        self.settle(now);
        self.vitals.add(Vital::SocketRows, rows.len() as u64);
        self.happened()
    }

    /// Open connections that it did not show are as they were, or gone if it was a whole one. Returns what
    /// stands still.
    pub fn dump_ends(&mut self, now: Ktime) -> Vec<Incident> {
        let (Parts { sockets, .. }, around) = self.split(now);
        sockets.dump_ends(&around);
        self.topology.seen(now);
        self.happened()
    }

    /// Takes a whole dump of the UDP flows, and what was counted of all when it began.
    pub fn flows(&mut self, rows: &[FlowRow], totals: &FlowTotals, now: Ktime) -> Wishes {
        let (Parts { sockets, udp, .. }, mut around) = self.split(now);
        udp.rows(rows, totals, &mut sockets.places, &mut around);
        udp.take_wishes()
    }

    /// Forgets what is old, and what waited long enough waits no more. Call it a few times a second.
    pub fn tick(&mut self, now: Ktime) {
        let (Parts { sockets, .. }, mut around) = self.split(now);
        sockets.sweep(&mut around);
        self.udp.sweep(now);
        self.settle(now);
        self.topology.sweep(now);
        self.resolutions.sweep(now);
        self.traces.sweep(now, self.window);
        self.stalls.sweep(now);
        self.directory.sweep(now);
        self.statements.sweep(|tgid| self.directory.get(tgid).is_some());
    }

    #[must_use]
    pub fn edges(&self) -> Edges {
        self.topology.snapshot()
    }

    #[must_use]
    pub fn resolutions(&self) -> ResolutionSeries {
        self.resolutions.snapshot()
    }

    #[must_use]
    pub fn spans(&self) -> Vec<Batch> {
        self.traces.snapshot()
    }

    fn split(&mut self, now: Ktime) -> (Parts<'_>, Surroundings<'_>) {
        let dump_every = self.dump_every;
        let Self { directory, sockets, failures, udp, topology, requests, services, names, vitals, .. } =
            self;
        let around = Surroundings { directory, topology, requests, services, names, vitals, dump_every, now };
        (Parts { sockets, failures, udp }, around)
    }

    fn settle(&mut self, now: Ktime) {
        let (Parts { sockets, failures, udp }, mut around) = self.split(now);
        sockets.settle(&mut around);
        failures.settle(&sockets.places, &mut around);
        udp.settle(&sockets.places, &mut around);
        self.requests.settle(now, self.dump_every, &mut self.topology, &self.vitals);
    }

    fn socket(&mut self, row: &Row, closed: Option<Ktime>, now: Ktime) {
        let (Parts { sockets, .. }, mut around) = self.split(now);
        sockets.socket(row, closed, &mut around);
    }

    fn connect_failed(&mut self, record: &ConnectFailed, now: Ktime) {
        let client = self.knows(Tgid(record.row.state.tgid)).map(Arc::clone);
        let failure = ConnectFailure::new(record, client);
        let (Parts { sockets, failures, .. }, mut around) = self.split(now);
        failures.add(record, failure, &sockets.places, &mut around);
    }

    fn udp_owner(&mut self, record: &UdpOwner, now: Ktime) {
        let (Parts { sockets, udp, .. }, around) = self.split(now);
        udp.owner(record, &mut sockets.places, &around);
    }

    fn stray(&mut self, stray: &Stray, now: Ktime) {
        match stray.what {
            what::RST_UNMATCHED => self.vitals.add(Vital::ResetsUnmatched, stray.count - stray.count / 2),
            what::SYN_UNANSWERED => {
                let (Parts { sockets, .. }, mut around) = self.split(now);
                sockets.syn_unanswered(stray, &mut around);
            }
            _ => self.vitals.add(Vital::RecordsContradictory, 1),
        }
    }

    fn call(&mut self, call: &Call, now: Ktime) -> Option<Span> {
        let Some(known) = self.directory.get(Tgid(call.header.tgid)) else {
            self.vitals.add(Vital::SpansUnknownProcess, 1);
            return None;
        };
        let Some(span) = http::span(call, &known.process, &mut self.texts) else {
            self.vitals.add(Vital::RecordsContradictory, 1);
            return None;
        };
        self.vitals.add(Vital::SpansMade, 1);
        // A request that both ends saw is counted by its client; one that got no connection is on no edge.
        if call.joined_by != joined_by::CONNECTION && call.end != end::NO_CONNECTION {
            match request(call, &span) {
                Some(request) => self.requests.add(request, &self.vitals),
                None => self.vitals.add(Vital::RequestsWithoutEdge, 1),
            }
        }
        let span = self.dials.request(span, now)?;
        self.stalls.witness(span, call.netns, now, &self.vitals)
    }
}

/// What is made of what the sockets tell.
struct Parts<'a> {
    sockets: &'a mut Sockets,
    failures: &'a mut Failures,
    udp: &'a mut Udp,
}

/// `None` when its connection has no name.
fn request(call: &Call, span: &Span) -> Option<Request> {
    let own = address::socket(call.local, call.local_port)?;
    let other = address::socket(call.remote, call.remote_port)?;
    let (client, server) = if call.side == side::CLIENT { (own, other) } else { (other, own) };
    let tuple = Tuple::new(client, server, call.netns);
    let (lasted, is_error) = (span.duration(), span.is_error());
    Some(Request { tuple, lasted, is_error, protocol: span.protocol, ended: span.ended })
}
