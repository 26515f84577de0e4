//! The thread that owns the state. All inputs come through one queue, in order.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
    time::Duration,
};

use agent_common::event::{Event, proc::Exec, sock::Row};
use tokio::sync::{mpsc as async_mpsc, watch};

use super::{
    RunError, error,
    loads::Load,
    message::{Attached, ToKernel, ToOwner, ToPlanner},
    probes::Probes,
    publish,
    threads::Thread,
};
use crate::{
    assemble::{
        edge::Edges,
        incident::Incident,
        network_event::NetworkEvent,
        resolutions::ResolutionSeries,
        services::{Answer, Question},
        span::Batch,
        state::{State, Told, Wishes},
    },
    clock::{self, Clock, Ktime},
    config::settings::Settings,
    decode::{dns::DnsMessage, sql::StatementText},
    detect::{Detectors, Input},
    kernel::give_back,
    query::snapshot::Snapshot,
    targets::{
        golang::GoVersion,
        plan::PlanError,
        proc::{self, ProcessError},
        process::{Process, Runtime, Tgid},
        select::Selector,
    },
    vitals::{Part, Vital, Vitals},
};

const TICK: Duration = Duration::from_millis(250);
/// After so many events and rows the allocator may keep much that was freed.
const MUCH: usize = 10_000;
const GIVE_BACK_EVERY: Duration = Duration::from_secs(10);
/// Processes whose record of exec or exit was lost are found, or let go, this late.
const RESCAN_EVERY: Duration = Duration::from_secs(30);

/// Where results go.
pub(super) struct Outlets {
    pub(super) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(super) edges: watch::Sender<Edges>,
    pub(super) resolutions: watch::Sender<ResolutionSeries>,
    /// `None`: nothing is exported.
    pub(super) spans: Option<async_mpsc::Sender<Batch>>,
    /// `None`: nobody is told.
    pub(super) events: Option<async_mpsc::Sender<Vec<NetworkEvent>>>,
    pub(super) planner: mpsc::SyncSender<ToPlanner>,
    pub(super) kernel: mpsc::SyncSender<ToKernel>,
    pub(super) servers: mpsc::SyncSender<Question>,
}

pub(super) struct Owner {
    settings: Arc<Settings>,
    vitals: Arc<Vitals>,
    outlets: Outlets,
    selector: Selector,
    state: State,
    detectors: Detectors,
    probes: Probes,
    clock: Clock,
    load: Load,
    next_tick: Ktime,
    next_rescan: Ktime,
    /// Events and rows since memory was given back.
    n_taken: usize,
    next_give_back: Ktime,
    /// First threads that ended; whether others go on is looked up a tick later.
    ending: BTreeSet<Tgid>,
    /// The planner was too busy to be asked about them; the rescan asks again.
    unplanned: BTreeSet<Tgid>,
}

impl Owner {
    pub(super) fn new(
        settings: Arc<Settings>,
        vitals: Arc<Vitals>,
        outlets: Outlets,
    ) -> Result<Self, RunError> {
        let selector = Selector::new(&settings.selection, std::process::id())?;
        let mut state = State::new(Arc::clone(&vitals), settings.window);
        match if_addrs::get_if_addrs() {
            Ok(interfaces) => {
                let netns = proc::own_netns().unwrap_or_default();
                state.local_addresses(netns, interfaces.iter().map(if_addrs::Interface::ip));
            }
            Err(error) => tracing::warn!(%error, "The node's own addresses are not known."),
        }
        Ok(Self {
            detectors: Detectors::new(Arc::clone(&vitals)),
            settings,
            vitals,
            outlets,
            selector,
            state,
            probes: Probes::default(),
            clock: Clock::new(),
            load: Load::new(),
            next_tick: Ktime(0),
            next_rescan: Ktime(0),
            n_taken: 0,
            next_give_back: Ktime(0),
            ending: BTreeSet::new(),
            unplanned: BTreeSet::new(),
        })
    }

    pub(super) fn start(mut self, inbox: mpsc::Receiver<ToOwner>) -> Result<Thread, RunError> {
        Thread::start("owner", move || self.run(&inbox))
    }

    fn run(&mut self, inbox: &mpsc::Receiver<ToOwner>) {
        loop {
            let patience = self.next_tick.since(clock::now());
            match inbox.recv_timeout(patience) {
                Ok(ToOwner::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.take(message),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            self.ask();
            let now = clock::now();
            if self.next_tick <= now {
                self.next_tick = now.plus(TICK);
                self.tick(now);
            }
            let told = self.state.told(now);
            self.tell(told);
        }
        let told = self.state.last_told(clock::now());
        self.tell(told);
        self.publish(clock::now());
    }

    fn take(&mut self, message: ToOwner) {
        match message {
            ToOwner::Events(events, _room) => self.events(&events),
            ToOwner::Messages(messages, _room) => self.messages(&messages),
            ToOwner::Statements(statements, _room) => self.statements(&statements),
            ToOwner::DumpBegins(kind) => self.state.dump_begins(kind),
            ToOwner::Rows(rows, _room) => self.rows(&rows),
            ToOwner::DumpEnds { next_in } => {
                self.state.dumps_every(next_in);
                let incidents = self.state.dump_ends(clock::now());
                self.happened(&incidents);
            }
            ToOwner::Flows { rows, totals } => {
                let Wishes { ended, owners } = self.state.flows(&rows, &totals, clock::now());
                let ended = (!ended.is_empty()).then_some(ToKernel::EndFlows(ended));
                // Whoever is not told hears of them again with the next dump.
                for wish in ended.into_iter().chain(owners.then_some(ToKernel::FindOwners)) {
                    if self.outlets.kernel.try_send(wish).is_err() {
                        tracing::debug!("The kernel thread is busy.");
                    }
                }
            }
            ToOwner::Attached(attached) => self.attached(attached),
            ToOwner::NotWatched(tgid, error) => self.not_watched(tgid, &error),
            ToOwner::Hits(hits) => self.probes.hits(hits),
            ToOwner::Prices(prices) => self.probes.prices(prices),
            ToOwner::ServersAreKnown => self.state.servers_are_known(),
            ToOwner::Servers(answers) => self.state.answers(&answers, clock::now()),
            ToOwner::Stop => {}
        }
    }

    fn events(&mut self, events: &[Event]) {
        self.n_taken += events.len();
        for event in events {
            match event {
                Event::Exec(exec) => self.executed(exec),
                Event::Exit(exit) => drop(self.ending.insert(Tgid(exit.header.tgid))),
                _ => {}
            }
        }
        let strangers = self.state.strangers(events);
        self.introduce(strangers);
        let output = self.state.events(events, clock::now());
        self.spans(output.spans);
        self.happened(&output.incidents);
    }

    fn rows(&mut self, rows: &[Row]) {
        self.n_taken += rows.len();
        let strangers = self.state.strangers_of_rows(rows);
        self.introduce(strangers);
        let incidents = self.state.dump_part(rows, clock::now());
        self.happened(&incidents);
    }

    fn happened(&mut self, incidents: &[Incident]) {
        incidents.iter().for_each(|it| self.detectors.input(Input::Incident(it)));
    }

    fn tell(&mut self, Told { spans, failures, mut events }: Told) {
        failures.iter().for_each(|it| self.detectors.input(Input::Failure(it)));
        self.spans(spans);
        let Some(outlet) = &self.outlets.events else {
            return;
        };
        // While the collector is away we fail, too: to tell of that there are our own numbers.
        let is_ours = |it: &NetworkEvent| it.owner().is_some_and(|it| it.tgid.0 == std::process::id());
        events.retain(|it| !is_ours(it));
        let n_events = events.len() as u64;
        if n_events != 0 && outlet.try_send(events).is_err() {
            self.vitals.add(Vital::LogsNotTold, n_events);
        }
    }

    fn messages(&mut self, messages: &[DnsMessage]) {
        let strangers = self.state.strangers_of_messages(messages);
        self.introduce(strangers);
        let lookups = self.state.messages(messages, clock::now());
        lookups.iter().for_each(|it| self.detectors.input(Input::Lookup(it)));
    }

    fn statements(&mut self, statements: &[StatementText]) {
        self.n_taken += statements.len();
        let strangers = self.state.strangers_of_statements(statements);
        self.introduce(strangers);
        let spans = self.state.statements(statements);
        self.spans(spans);
    }

    /// The queue has room for all that may be under way; who answers may hang all the same.
    fn ask(&mut self) {
        for question in self.state.questions() {
            if self.outlets.servers.try_send(question).is_err() {
                self.vitals.add(Vital::ServersNotAsked, 1);
                self.state.answers(&[(question, Answer::Unknown)], clock::now());
            }
        }
    }

    fn spans(&mut self, spans: Batch) {
        spans.iter().for_each(|it| self.detectors.input(Input::Span(it)));
        let Some(outlet) = &self.outlets.spans else {
            return;
        };
        let n_spans = spans.len() as u64;
        if n_spans != 0 && outlet.try_send(spans).is_err() {
            self.vitals.add(Vital::SpansQueueFull, n_spans);
        }
    }

    /// What a process was before it executed something else is over.
    fn executed(&mut self, exec: &Exec) {
        let tgid = Tgid(exec.header.tgid);
        self.forget(tgid);
        match proc::read(tgid, &self.clock) {
            Ok(process) => self.meet(process),
            Err(_) => {
                let filename = exec.filename.split(|byte| *byte == 0).next().unwrap_or_default();
                let exe = String::from_utf8_lossy(filename);
                let at = Ktime(exec.header.ktime_ns);
                self.state.process(Arc::new(proc::remembered(tgid, &exe, at, &self.clock)));
            }
        }
    }

    fn introduce(&mut self, strangers: BTreeSet<Tgid>) {
        for tgid in strangers {
            match proc::read(tgid, &self.clock) {
                Ok(process) => self.meet(process),
                Err(ProcessError::Gone(_) | ProcessError::KernelThread(_)) => {}
                Err(error) => tracing::debug!(error = %error::chain(&error), "A process is not known."),
            }
        }
    }

    fn meet(&mut self, process: Process) {
        let tgid = process.tgid;
        let wanted = self.settings.http_spans && self.selector.wants(&process);
        self.state.process(Arc::new(process));
        if wanted {
            self.plan(tgid);
        }
    }

    fn plan(&mut self, tgid: Tgid) {
        if self.outlets.planner.try_send(ToPlanner::Plan(tgid)).is_err() {
            tracing::debug!(pid = tgid.0, "The planner is busy.");
            self.unplanned.insert(tgid);
        }
    }

    fn forget(&mut self, tgid: Tgid) {
        self.unplanned.remove(&tgid);
        self.probes.forget(tgid);
        if self.outlets.kernel.send(ToKernel::Unwatch(tgid)).is_err() {
            tracing::debug!("The kernel thread has stopped.");
        }
    }

    fn attached(&mut self, attached: Attached) {
        self.is_go(attached.tgid, &attached.binary.version);
        self.state.sql_types(attached.tgid, Arc::clone(&attached.sql));
        self.probes.attached(attached);
    }

    fn is_go(&mut self, tgid: Tgid, version: &GoVersion) {
        if let Some(process) = self.state.knows(tgid) {
            let runtime = Runtime::Go(version.to_string());
            self.state.process(Arc::new(Process { runtime, ..Process::clone(process) }));
        }
    }

    fn not_watched(&mut self, tgid: Tgid, error: &PlanError) {
        let exe = self.state.knows(tgid).map_or("", |process| process.exe.as_str());
        tracing::info!(pid = tgid.0, exe, reason = %error::chain(error), "Not watched.");
        if let Some(version) = error.go_version() {
            self.is_go(tgid, version);
        }
        self.probes.not_watched(tgid, error);
    }

    fn tick(&mut self, now: Ktime) {
        self.clock.resync();
        for tgid in std::mem::take(&mut self.ending) {
            if !proc::is_alive(tgid) {
                self.end(tgid, now);
            }
        }
        if self.next_rescan <= now {
            self.next_rescan = now.plus(RESCAN_EVERY);
            self.rescan(now);
        }
        self.state.tick(now);
        self.state.unanswered(now).iter().for_each(|it| self.detectors.input(Input::Lookup(it)));
        self.detectors.sweep(now, self.settings.window);
        if MUCH <= self.n_taken && self.next_give_back <= now {
            self.n_taken = 0;
            self.next_give_back = now.plus(GIVE_BACK_EVERY);
            give_back();
        }
        self.publish(now);
        self.vitals.beat(Part::State);
    }

    /// Meets who is not known yet, and lets go of who is not there any more.
    fn rescan(&mut self, now: Ktime) {
        let there: BTreeSet<Tgid> = proc::all().into_iter().collect();
        let known: BTreeSet<Tgid> = self.state.alive().into_iter().collect();
        for tgid in known.difference(&there).copied().filter(|tgid| !proc::is_alive(*tgid)) {
            self.end(tgid, now);
        }
        let again = |tgid: &Tgid| known.contains(tgid) && self.is_another(*tgid);
        let again: Vec<Tgid> = there.iter().copied().filter(again).collect();
        again.iter().for_each(|tgid| self.end(*tgid, now));
        let new = there.difference(&known).copied().chain(again).collect();
        for tgid in std::mem::take(&mut self.unplanned) {
            self.plan(tgid);
        }
        self.introduce(new);
    }

    /// Whether the tgid was used again without a record of the end: to the kernel a tgid is a number.
    fn is_another(&self, tgid: Tgid) -> bool {
        let known = self.state.knows(tgid).map(|process| process.start_ticks);
        let ticks = proc::start_ticks(tgid);
        ticks.is_some() && known.is_some_and(|known| known != ticks)
    }

    fn end(&mut self, tgid: Tgid, now: Ktime) {
        self.forget(tgid);
        self.state.process_ended(tgid, now);
    }

    fn publish(&mut self, now: Ktime) {
        let snapshot = publish::snapshot(&publish::Sources {
            settings: &self.settings,
            state: &self.state,
            detectors: &self.detectors,
            probes: &self.probes,
            vitals: &self.vitals,
            clock: self.clock,
            now,
            cpu_ratio: self.load.cpu_ratio(),
        });
        self.outlets.edges.send_replace(Arc::clone(&snapshot.edges));
        self.outlets.resolutions.send_replace(self.state.resolutions());
        self.outlets.snapshots.send_replace(Arc::new(snapshot));
    }
}
