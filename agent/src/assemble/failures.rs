//! Connects that came to nothing, on their way to an edge, and to those who tell of them.
//!
//! failed --it is known where the server is, or nobody can know--> on an edge
//! failed --asked--> waits --answer, or none in time--> on an edge
//!
//! The kernel forgets at once which server refused a connection through a service's address: then it is the
//! one that served before, if there was only one. Else the service itself is the end.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use agent_common::event::sock::{ConnectFailed, flag};
use ahash::AHashMap;

use super::{
    address,
    edge::{BothWays, Confidence, Connections, Transport, Vip},
    failure::{ConnectFailure, FailureClass},
    places::Places,
    recent::{Outcome, Recent},
    routes::{behind, party, server_at},
    services::{Answer, Behind, Knowledge, PATIENCE, Question, Subject},
    sockets::Surroundings,
    topology::Route,
};
use crate::{clock::Ktime, targets::process::Tgid, vitals::Vital};

#[derive(Debug)]
struct Failed {
    client: Tgid,
    netns: u32,
    local: (IpAddr, u16),
    /// A reset came in: somebody took the connect and refused it.
    is_answered: bool,
    failure: ConnectFailure,
}

/// Those that wait for an answer: as many as may be asked for at once.
#[derive(Debug, Default)]
pub(super) struct Failures {
    waiting: AHashMap<Question, (Ktime, Failed)>,
    accounted: Vec<ConnectFailure>,
}

impl Failures {
    pub(super) fn add(
        &mut self,
        record: &ConnectFailed,
        failure: ConnectFailure,
        places: &Places,
        around: &mut Surroundings<'_>,
    ) {
        let state = &record.row.state;
        let failed = Failed {
            client: Tgid(state.tgid),
            netns: state.netns,
            local: (address::ip(state.local), state.local_port),
            is_answered: state.flags & flag::RST_IN != 0,
            failure,
        };
        let Some(question) = failed.question(places) else {
            return self.account(failed, Answer::Unknown, places, around);
        };
        match around.services.ask(Subject::Failure, question, around.now) {
            Knowledge::Known(answer) => self.account(failed, answer, places, around),
            Knowledge::Asked(at) => {
                // The same ports again, within a second.
                if let Some((_, before)) = self.waiting.insert(question, (at, failed)) {
                    self.account(before, Answer::Unknown, places, around);
                }
            }
            Knowledge::NotAsked => {
                around.vitals.add(Vital::ServersNotAsked, 1);
                self.account(failed, Answer::Unknown, places, around);
            }
        }
    }

    pub(super) fn answered(
        &mut self,
        question: &Question,
        answer: Answer,
        places: &Places,
        around: &mut Surroundings<'_>,
    ) {
        if let Some((_, failed)) = self.waiting.remove(question) {
            self.account(failed, answer, places, around);
        }
    }

    /// Those go on that have waited long enough.
    pub(super) fn settle(&mut self, places: &Places, around: &mut Surroundings<'_>) {
        self.give_up(PATIENCE, places, around);
    }

    /// As [`Failures::settle`], when there is no time to wait any more.
    pub(super) fn settle_all(&mut self, places: &Places, around: &mut Surroundings<'_>) {
        self.give_up(Duration::ZERO, places, around);
    }

    fn give_up(&mut self, patience: Duration, places: &Places, around: &mut Surroundings<'_>) {
        let now = around.now;
        let late: Vec<_> = self.waiting.extract_if(|_, (at, _)| patience <= now.since(*at)).collect();
        for (_, (_, failed)) in late {
            around.vitals.add(Vital::ServersNotAsked, 1);
            self.account(failed, Answer::Unknown, places, around);
        }
    }

    /// Those that were put on an edge since the last time.
    pub(super) fn take(&mut self) -> Vec<ConnectFailure> {
        std::mem::take(&mut self.accounted)
    }

    fn account(&mut self, failed: Failed, answer: Answer, places: &Places, around: &mut Surroundings<'_>) {
        self.accounted.push(failed.account(answer, places, around));
    }
}

impl Failed {
    /// `None`: there is nothing to ask.
    fn question(&self, places: &Places) -> Option<Question> {
        let server = self.server();
        // A reset that is the only answer ends the entry of connection tracking with it.
        let is_forgotten = self.failure.class == FailureClass::Refused && self.is_answered;
        let is_known = places.is_here(server.0) || places.listener(self.netns, server).is_some();
        let can_be_asked = self.local.1 != 0 && !is_forgotten && !is_known;
        can_be_asked.then(|| Question::new(Transport::Tcp, self.local, server))
    }

    /// As the client knows it.
    fn server(&self) -> (IpAddr, u16) {
        (self.failure.server.ip(), self.failure.server.port())
    }

    /// Where the server is, if that is another place than its client was told; and the service's address, if it is
    /// known to be one.
    fn place(&self, answer: Answer, around: &Surroundings<'_>) -> (Option<(IpAddr, u16)>, Option<Vip>) {
        let server = match answer {
            Answer::Same => None,
            Answer::Other { server, .. } => Some(server),
            Answer::Unknown => {
                match around.services.behind(Transport::Tcp, self.failure.server, around.now) {
                    Behind::Nobody => None,
                    Behind::One(server) if self.reached_a_server() => Some(server),
                    Behind::One(server) => return (None, Some(self.vip(server.port()))),
                    Behind::Several { port } => return (None, Some(self.vip(port))),
                }
            }
        };
        (server.map(|it| (it.ip(), it.port())), server.map(|it| self.vip(it.port())))
    }

    /// What is refused without a reset, or unreachable, may have been turned away on its way.
    fn reached_a_server(&self) -> bool {
        match self.failure.class {
            FailureClass::Refused => self.is_answered,
            FailureClass::TimedOut | FailureClass::Abandoned | FailureClass::Reset => true,
            FailureClass::Unreachable | FailureClass::Other => false,
        }
    }

    fn vip(&self, backend_port: u16) -> Vip {
        Vip { ip: self.failure.server.ip(), backend_port }
    }

    fn account(self, answer: Answer, places: &Places, around: &mut Surroundings<'_>) -> ConnectFailure {
        let (backend, vip) = self.place(answer, around);
        let asked_for = self.server();
        let server = match backend {
            Some(backend) => behind(backend, places, around.directory),
            None => server_at(asked_for, self.netns, places, around.directory),
        };
        let route = Route {
            client: party(self.client, self.local.0, around.directory),
            server,
            port: asked_for.1,
            transport: Transport::Tcp,
            vip,
            confidence: Confidence::Exact,
        };
        let at = backend.unwrap_or(asked_for);
        let (key, edge) = around.topology.edge(&route, around.now, around.vitals);
        edge.addresses = Some([self.local.0, at.0]);
        around.names.name(edge, (self.netns, self.local.0), places, around.now);
        count(&mut edge.connections, self.failure.class);
        around.topology.remember(key, self.recent(at), around.now);
        ConnectFailure { behind: backend.map(SocketAddr::from), ..self.failure }
    }

    fn recent(&self, server: (IpAddr, u16)) -> Recent {
        let failure = &self.failure;
        Recent {
            client: self.local,
            server,
            client_tgid: self.client,
            server_tgid: Tgid(0),
            began: failure.lasted.map(|lasted| failure.at.minus(lasted)),
            ended: failure.at,
            bytes: BothWays::default(),
            retransmits: failure.syns.saturating_sub(1).into(),
            rtt: None,
            outcome: Outcome::Failed(failure.class),
        }
    }
}

fn count(connections: &mut Connections, class: FailureClass) {
    connections.failed += 1;
    match class {
        FailureClass::Refused => connections.refused += 1,
        FailureClass::TimedOut => connections.timed_out += 1,
        FailureClass::Abandoned => connections.abandoned += 1,
        FailureClass::Unreachable => connections.unreachable += 1,
        FailureClass::Reset => connections.connect_reset += 1,
        FailureClass::Other => connections.other += 1,
    }
}
