//! The thread that owns the kernel half: drains, dumps, attaches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use agent_common::{counter, event::udp::FlowKey};

use super::{
    RunError,
    dumps::Dumps,
    error,
    message::{Attached, ToKernel, ToOwner},
    outbox::Outbox,
    threads::Thread,
    watching::Watching,
};
use crate::{
    assemble::state::DumpKind,
    clock::{self, Ktime},
    config::settings::{Settings, XdpMode},
    decode::{self, Decoded},
    export::throttle::Throttle,
    kernel::{AttachedFile, DumpPart, Hooked, Interfaces, Kernel, KernelError, Outcome, PushedIn},
    targets::{plan::Plan, process::Tgid},
    vitals::{Part, Vital, Vitals},
};

/// A new process is seen this late at most; the ring holds several times as much.
pub const DRAIN_EVERY: Duration = Duration::from_millis(50);
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Less than it takes until the owner of a UDP socket is forgotten.
const SEED_EVERY: Duration = Duration::from_secs(240);
/// When somebody asks: not sooner than this, and at most this part of a core.
const SEED_AGAIN: Duration = Duration::from_millis(500);
const SEED_SHARE: u32 = 200;
/// After the start, however many interfaces wait for their programs.
const CALIBRATE_WITHIN: Duration = Duration::from_secs(2);
/// How long the owner may take for a part of a dump, and how many times that in a row.
const PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSES: u32 = 400;
/// Records that are handed on at once, and how many times that in a row.
const PART_RECORDS: usize = 16 << 10;
const MAX_PARTS: usize = 16;

/// What it is told.
pub(super) struct Inputs {
    pub(super) inbox: mpsc::Receiver<ToKernel>,
    /// Not a message: it must not wait behind plans.
    pub(super) stop: Arc<AtomicBool>,
}

pub(super) struct KernelThread {
    kernel: Kernel,
    outbox: Outbox,
    vitals: Arc<Vitals>,
    watching: Watching<AttachedFile>,
    /// `None`: nothing is put on interfaces, or nobody tells of them.
    interfaces: Option<Interfaces>,
    is_told_of_missing: bool,
    /// When it is calibrated at the latest; `None`: it is, or nobody wants to know.
    calibrate_by: Option<Ktime>,
    dumps: Dumps,
    dump_warnings: Throttle,
    next_count: Ktime,
    next_seed: Ktime,
    /// Before that it would be too dear.
    seed_again: Ktime,
}

impl KernelThread {
    pub(super) fn start(
        kernel: Kernel,
        inputs: Inputs,
        owner: mpsc::SyncSender<ToOwner>,
        settings: &Settings,
        vitals: &Arc<Vitals>,
    ) -> Result<Thread, RunError> {
        let mut thread = Self {
            kernel,
            outbox: Outbox::new(owner, vitals),
            vitals: Arc::clone(vitals),
            watching: Watching::default(),
            interfaces: None,
            is_told_of_missing: false,
            calibrate_by: settings.http_spans.then(|| clock::now().plus(CALIBRATE_WITHIN)),
            dumps: Dumps::default(),
            dump_warnings: Throttle::default(),
            next_count: Ktime(0),
            next_seed: Ktime(0),
            seed_again: Ktime(0),
        };
        let (wish, named) = (settings.xdp, settings.interfaces.clone());
        Thread::start("kernel", move || {
            thread.follow_interfaces(wish, &named);
            thread.turn();
            thread.run(&inputs);
        })
    }

    fn run(&mut self, inputs: &Inputs) {
        // Plans that still wait when the agent stops are not worth attaching for.
        while !inputs.stop.load(Ordering::Relaxed) {
            match inputs.inbox.recv_timeout(DRAIN_EVERY) {
                Ok(ToKernel::Watch(plan)) => self.watch(&plan),
                Ok(ToKernel::Unwatch(tgid)) => self.unwatch(tgid),
                Ok(ToKernel::EndFlows(flows)) => self.end_flows(flows),
                Ok(ToKernel::FindOwners) => self.next_seed = self.next_seed.min(self.seed_again),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            self.turn();
            self.calibrate_when_due();
        }
        // The last figures of what is open, then everything leaves the kernel.
        self.dumps.hurry();
        self.next_count = Ktime(0);
        self.turn();
        if let Some(interfaces) = self.interfaces.take() {
            interfaces.leave_to_the_end();
        }
    }

    /// Whatever is due. The dump comes before the drain: sockets that ended meanwhile say so after it.
    fn turn(&mut self) {
        let now = clock::now();
        if self.next_seed <= now {
            self.seed(now);
        }
        if self.dumps.are_due(now) {
            // What an address is called is told before the connection to it.
            self.drain();
            self.dump(now);
        }
        self.attach_packets(now);
        self.outbox.retry();
        self.drain();
        if self.next_count <= now {
            self.next_count = now.plus(COUNT_EVERY);
            self.count();
        }
    }

    fn seed(&mut self, now: Ktime) {
        let before = clock::thread_cpu_time();
        if let Err(error) = self.kernel.seed() {
            tracing::warn!(error = %error::chain(&error), "Owners of older sockets are not known.");
        }
        let took = clock::thread_cpu_time().saturating_sub(before);
        self.seed_again = now.plus(SEED_AGAIN.max(took.saturating_mul(SEED_SHARE)));
        self.next_seed = self.seed_again.max(now.plus(SEED_EVERY));
    }

    fn dump(&mut self, now: Ktime) {
        let kind = self.dumps.kind(now, self.losses());
        // CPU time: a busy machine makes a dump last longer, but not dearer.
        let mut took = Duration::ZERO;
        let is_handed_on = self.hand_on_dump(kind, &mut took);
        let before = clock::thread_cpu_time();
        let mut flows = Vec::new();
        let flows_read = self.kernel.flows(|row| flows.push(row));
        took += clock::thread_cpu_time().saturating_sub(before);
        let next_in = self.dumps.took(now, kind, took);
        match is_handed_on {
            Ok(true) if self.outbox.deliver(ToOwner::DumpEnds { next_in }) => self.dumps.heard(kind),
            Ok(_) => self.dumps.broken(),
            Err(error) => {
                self.dumps.broken();
                self.warn_of_dump(now, &error);
            }
        }
        match flows_read {
            // What is not delivered loses nothing: figures are cumulative.
            Ok(Some(totals)) => self.outbox.cumulative(ToOwner::Flows { rows: flows, totals }),
            Ok(None) => {}
            Err(error) => self.warn_of_dump(now, &error),
        }
    }

    /// In parts, with a drain after each: the ring does not wait for very many sockets. False when the owner
    /// does not hear all of it.
    fn hand_on_dump(&mut self, kind: DumpKind, took: &mut Duration) -> Result<bool, KernelError> {
        let dump = match kind {
            DumpKind::Whole => self.kernel.begin_dump()?,
            DumpKind::News => self.kernel.begin_news()?,
        };
        let Some(mut dump) = dump else {
            return Ok(false);
        };
        let mut is_heard = self.outbox.deliver(ToOwner::DumpBegins(kind));
        while is_heard && self.wait_for_room() {
            // Nothing is drained until they are handed on: a record of an end that overtakes the row of its
            // socket would open the connection again.
            let mut rows = Vec::new();
            let before = clock::thread_cpu_time();
            let part = self.kernel.dump_part(&mut dump, |row| rows.push(row))?;
            *took += clock::thread_cpu_time().saturating_sub(before);
            is_heard = self.outbox.rows(rows);
            if part == DumpPart::Last {
                return Ok(is_heard);
            }
            self.drain();
        }
        Ok(false)
    }

    /// Until the owner has taken most of what is under way. False when it takes too long.
    fn wait_for_room(&mut self) -> bool {
        for _ in 0..MAX_PAUSES {
            if self.outbox.has_room_for_rows() {
                return true;
            }
            thread::sleep(PAUSE);
            self.drain();
        }
        false
    }

    /// Of records that may have told of the end of a socket.
    fn losses(&self) -> u64 {
        let here = [Vital::EventsQueueFull, Vital::EventsUndecodable, Vital::ProgramsSkipped];
        let here = here.map(|it| self.vitals.get(it));
        self.vitals.kernel(counter::SOCK_RING_FULL) + here.iter().sum::<u64>()
    }

    fn warn_of_dump(&mut self, now: Ktime, error: &KernelError) {
        if let Some(left_out) = self.dump_warnings.pass(now) {
            let error = error::chain(error);
            tracing::warn!(%error, left_out, "Open connections or UDP flows cannot be read.");
        }
    }

    fn end_flows(&mut self, flows: Vec<FlowKey>) {
        for flow in flows {
            if let Err(error) = self.kernel.end_flow(flow) {
                tracing::debug!(error = %error::chain(&error), "A UDP flow stays in the map.");
            }
        }
    }

    fn drain(&mut self) {
        self.hand_on_records();
        // After it: what was made is never less than what was delivered.
        for (slot, value) in self.kernel.counters().into_iter().enumerate() {
            self.vitals.set_kernel(u32::try_from(slot).unwrap_or(u32::MAX), value);
        }
        self.vitals.adopt_kernel();
        self.vitals.beat(Part::Kernel);
    }

    fn hand_on_records(&mut self) {
        let vitals = &self.vitals;
        // Not for ever: a flood must not keep us from all the rest.
        for _ in 0..MAX_PARTS {
            let (mut events, mut messages, mut statements) = (Vec::new(), Vec::new(), Vec::new());
            let take = |bytes: &[u8]| match decode::record(bytes, vitals) {
                Some(Decoded::Event(event)) => events.push(event),
                Some(Decoded::Dns(message)) => messages.push(message),
                Some(Decoded::Statement(statement)) => statements.push(statement),
                None => {}
            };
            let n_records = self.kernel.drain(PART_RECORDS, take);
            vitals.add(Vital::EventsDrained, n_records as u64);
            self.outbox.messages(messages);
            self.outbox.events(events);
            self.outbox.statements(statements);
            if n_records < PART_RECORDS {
                return;
            }
        }
    }

    fn count(&mut self) {
        self.vitals.set(Vital::MapBytes, self.kernel.map_bytes());
        self.vitals.set(Vital::ProgramsSkipped, self.kernel.skipped());
        self.vitals.set(Vital::Targets, self.watching.processes().len() as u64);
        if let Some(interfaces) = &self.interfaces {
            self.vitals.set(Vital::Interfaces, interfaces.n_hooked());
            self.vitals.set(Vital::InterfacesUnknown, interfaces.n_unknown());
            self.vitals.set(Vital::InterfacesBehind, interfaces.n_behind());
            self.vitals.set(Vital::InterfacesClsact, interfaces.n_with_filters());
            self.vitals.set(Vital::InterfacesVanished, interfaces.n_vanished());
            self.vitals.set(Vital::LinkMessagesUnreadable, interfaces.n_unreadable());
        }
        let hits = |tgid: Tgid| Some((tgid, self.kernel.hits(tgid)?));
        let hits: Vec<_> = self.watching.processes().filter_map(hits).collect();
        if !hits.is_empty() {
            self.outbox.cumulative(ToOwner::Hits(hits));
        }
    }

    /// It takes some 0.3 s, in which no interface gets its program: so those come first, as far as they are there.
    fn calibrate_when_due(&mut self) {
        let Some(by) = self.calibrate_by else {
            return;
        };
        let is_settled = self.interfaces.as_ref().is_none_or(Interfaces::is_settled);
        if is_settled || by <= clock::now() {
            self.calibrate_by = None;
            self.calibrate();
        }
    }

    fn calibrate(&mut self) {
        match self.kernel.calibrate() {
            Ok(prices) => {
                tracing::info!(?prices, "Probes are calibrated.");
                self.outbox.once(ToOwner::Prices(prices));
            }
            Err(error) => {
                tracing::warn!(error = %error::chain(&error), "No uprobes here, so no spans.");
            }
        }
    }

    fn follow_interfaces(&mut self, wish: XdpMode, named: &[String]) {
        if wish == XdpMode::Off {
            return;
        }
        match Interfaces::follow(wish, named) {
            Ok(interfaces) => self.interfaces = Some(interfaces),
            Err(error) => tracing::warn!(%error, "Interfaces are not known, and packets not looked at."),
        }
    }

    fn attach_packets(&mut self, now: Ktime) {
        let Some(interfaces) = &mut self.interfaces else {
            return;
        };
        match interfaces.turn(&mut self.kernel, now) {
            Ok(attached) => attached.iter().for_each(tell),
            Err(error) => tracing::warn!(%error, "Interfaces that come from now on are not seen."),
        }
        interfaces.look(&mut self.kernel, now).iter().for_each(tell_of_others);
        if interfaces.is_settled() && !std::mem::replace(&mut self.is_told_of_missing, true) {
            for missing in interfaces.missing() {
                tracing::warn!(interface = missing, "There is no such interface.");
            }
        }
    }

    fn watch(&mut self, plan: &Plan) {
        if !plan.holds() {
            // It ended, or executed something else, for which there will be a plan of its own.
            return self.unwatch(plan.tgid);
        }
        let (kernel, mut points) = (&mut self.kernel, Vec::new());
        let mut refused: Vec<(String, String)> = Vec::new();
        let is_watched = self.watching.enter(plan.tgid, &plan.file, |probes: &mut AttachedFile| {
            kernel.attach_file(&plan.exe, &plan.binary.points, probes);
            let reason = |error| error::chain(error).to_string();
            refused.extend(probes.refused.iter().map(|(it, error)| (it.name().to_owned(), reason(error))));
            let given_up = probes.given_up.iter();
            refused.extend(given_up.map(|it| (it.subject.to_string(), it.reason.to_string())));
            points = probes.attached();
            if points.is_empty() {
                return false;
            }
            kernel
                .watch(plan.tgid, plan.process)
                .inspect_err(|error| refused.push(("all".to_owned(), error::chain(error).to_string())))
                .is_ok()
        });
        if !is_watched {
            // What it was watched as before.
            self.kernel.unwatch(plan.tgid);
        }
        let binary = Arc::clone(&plan.binary);
        let sql = Arc::clone(&plan.sql);
        self.outbox.once(ToOwner::Attached(Attached { tgid: plan.tgid, binary, sql, points, refused }));
    }

    fn unwatch(&mut self, tgid: Tgid) {
        self.kernel.unwatch(tgid);
        self.watching.leave(tgid);
    }
}

fn tell(hooked: &Hooked) {
    let Hooked { interface, hooks, refused } = hooked;
    if !hooks.is_empty() {
        tracing::info!(interface, hooks = hooks.join("; "), "Packets are looked at.");
    }
    for error in refused {
        tracing::warn!(interface, error = %error::chain(error), "Packets are not looked at here.");
    }
}

/// Which they are `bpftool prog show id ID` tells.
fn tell_of_others(PushedIn { interface, hook, programs, outcome }: &PushedIn) {
    match outcome {
        Outcome::First => {
            tracing::warn!(
                interface,
                hook,
                ?programs,
                "Programs of others came before ours, which is first again."
            );
        }
        Outcome::Behind => tracing::warn!(
            interface,
            hook,
            ?programs,
            "Programs of others insist on being before ours: packets that they do not hand on are not seen."
        ),
        Outcome::Gone => {
            tracing::warn!(
                interface,
                hook,
                ?programs,
                "Our program was taken off, and packets are not seen any more."
            );
        }
        Outcome::Lost(error) => {
            let error = error::chain(error);
            tracing::warn!(interface, hook, ?programs, %error, "Our program cannot be put first, and is off.");
        }
    }
}
