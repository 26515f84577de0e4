//! The state that the agent makes of what a test observes.

use std::{mem, net::IpAddr, sync::Arc, time::Duration};

use agent::{
    assemble::{
        edge::Edge,
        services::{Answer, Question},
        state::{State, Wishes},
    },
    clock::{self, Clock},
    detect::{Detectors, Input, finding::Finding},
    targets::{proc, process::Tgid},
    vitals::{Vital, Vitals},
};
use agent_common::event::Event;

use crate::Observer;

/// The state as the agent assembles it, when it knows only these processes.
pub struct Assembled {
    state: State,
    detectors: Detectors,
    vitals: Arc<Vitals>,
}

impl Assembled {
    #[track_caller]
    pub fn new(pids: &[u32]) -> Self {
        let vitals = Arc::new(Vitals::new());
        let mut state = State::new(Arc::clone(&vitals), Duration::from_secs(60));
        let clock = Clock::new();
        for pid in pids {
            let process = proc::read(Tgid(*pid), &clock).unwrap_or_else(|error| panic!("{error}"));
            state.process(Arc::new(process));
        }
        Self { state, detectors: Detectors::new(Arc::clone(&vitals)), vitals }
    }

    /// The namespace that the agent would be in.
    pub fn within(&mut self, netns: u32, addresses: impl IntoIterator<Item = IpAddr>) {
        self.state.local_addresses(netns, addresses);
    }

    /// Takes a dump of the sockets and of the UDP flows, and what was reported meanwhile, as far as `pids` own it.
    #[track_caller]
    pub fn take(&mut self, observer: &mut Observer, pids: &[u32]) {
        let mut rows = observer.rows();
        rows.retain(|row| pids.contains(&row.state.tgid));
        observer.drain();
        let mut events = mem::take(&mut observer.events);
        events.retain(|event| match event {
            Event::Closed(it) => pids.contains(&it.row.state.tgid),
            Event::ConnectFailed(it) => pids.contains(&it.row.state.tgid),
            Event::RtoEnded(it) => pids.contains(&it.tgid),
            Event::DnsPacket(_) | Event::Statement(_) => false,
            _ => true,
        });
        let now = clock::now();
        let of_rows = self.state.rows(&rows, now);
        let output = self.state.events(&events, now);
        for incident in of_rows.iter().chain(&output.incidents) {
            self.detectors.input(Input::Incident(incident));
        }
        let mut flows = Vec::new();
        let totals = observer.kernel.flows(|row| flows.push(row)).unwrap_or_else(|error| panic!("{error:?}"));
        if let Some(totals) = totals {
            let Wishes { ended, owners } = self.state.flows(&flows, &totals, now);
            for flow in ended {
                observer.kernel.end_flow(flow).unwrap_or_else(|error| panic!("{error:?}"));
            }
            if owners {
                observer.kernel.seed().unwrap_or_else(|error| panic!("{error:?}"));
            }
        }
    }

    /// From now on questions for servers are answered, by [`Assembled::answers`].
    pub fn servers_are_known(&mut self) {
        self.state.servers_are_known();
    }

    /// Answers what was asked; returns how much that was.
    pub fn answers(&mut self, mut answer: impl FnMut(&Question) -> Answer) -> usize {
        let answers: Vec<_> = self.state.questions().into_iter().map(|it| (it, answer(&it))).collect();
        self.state.answers(&answers, clock::now());
        answers.len()
    }

    /// Lets time pass.
    pub fn later(&mut self, by: Duration) {
        self.state.tick(clock::now().plus(by));
    }

    pub fn vital(&self, vital: Vital) -> u64 {
        self.vitals.get(vital)
    }

    /// What the detectors say of what happened to connections.
    pub fn findings(&self) -> Vec<Finding> {
        self.detectors.findings()
    }

    /// The edges to a server's port.
    pub fn edges(&self, port: u16) -> Vec<Arc<Edge>> {
        self.state.edges().iter().filter(|edge| edge.server_port == port).map(Arc::clone).collect()
    }
}
