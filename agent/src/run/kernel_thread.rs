//! The thread that owns the kernel half: drains, dumps, attaches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::{
    RunError, error,
    message::{Attached, ToKernel, ToOwner},
    outbox::Outbox,
    threads::Thread,
    watching::Watching,
};
use crate::{
    clock::{self, Ktime},
    config::settings::{Settings, XdpMode},
    decode,
    export::throttle::Throttle,
    kernel::{AttachedFile, Hook, Kernel, interfaces},
    targets::{plan::Plan, process::Tgid},
    vitals::{Part, Vital, Vitals},
};

/// A new process is seen this late at most; the ring holds several times as much.
pub const DRAIN_EVERY: Duration = Duration::from_millis(50);
const COUNT_EVERY: Duration = Duration::from_secs(1);
const SEED_EVERY: Duration = Duration::from_secs(600);
const DUMP_EVERY: Duration = Duration::from_secs(1);
/// A dump takes at most this part of a core: with many sockets they become rarer.
const DUMP_SHARE: u32 = 200;
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
    /// Kept: dropped, they are gone.
    hooks: Vec<Hook>,
    next_dump: Ktime,
    dump_warnings: Throttle,
    next_count: Ktime,
    next_seed: Ktime,
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
            hooks: Vec::new(),
            next_dump: Ktime(0),
            dump_warnings: Throttle::default(),
            next_count: Ktime(0),
            next_seed: Ktime(0),
        };
        let (wish, named, spans) = (settings.xdp, settings.interfaces.clone(), settings.http_spans);
        Thread::start("kernel", move || {
            thread.turn();
            if spans {
                thread.calibrate();
            }
            thread.attach_packets(wish, &named);
            thread.run(&inputs);
        })
    }

    fn run(&mut self, inputs: &Inputs) {
        // Plans that still wait when the agent stops are not worth attaching for.
        while !inputs.stop.load(Ordering::Relaxed) {
            match inputs.inbox.recv_timeout(DRAIN_EVERY) {
                Ok(ToKernel::Watch(plan)) => self.watch(&plan),
                Ok(ToKernel::Unwatch(tgid)) => self.unwatch(tgid),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            self.turn();
        }
        // The last figures of what is open, then everything leaves the kernel.
        self.next_dump = Ktime(0);
        self.next_count = Ktime(0);
        self.turn();
    }

    /// Whatever is due. The dump comes before the drain: sockets that ended meanwhile say so after it.
    fn turn(&mut self) {
        let now = clock::now();
        if self.next_seed <= now {
            self.next_seed = now.plus(SEED_EVERY);
            if let Err(error) = self.kernel.seed() {
                tracing::warn!(error = %error::chain(&error), "Owners of older connections are not known.");
            }
        }
        if self.next_dump <= now {
            self.dump(now);
        }
        self.outbox.retry();
        self.drain();
        // After the drain: what was made is never less than what was delivered.
        for (slot, value) in self.kernel.counters().into_iter().enumerate() {
            self.vitals.set_kernel(u32::try_from(slot).unwrap_or(u32::MAX), value);
        }
        self.vitals.adopt_kernel();
        if self.next_count <= now {
            self.next_count = now.plus(COUNT_EVERY);
            self.count();
        }
        self.vitals.beat(Part::Kernel);
    }

    fn dump(&mut self, now: Ktime) {
        let mut rows = Vec::new();
        // CPU time: a busy machine makes a dump last longer, but not dearer.
        let before = clock::thread_cpu_time();
        let read = self.kernel.dump(|row| rows.push(row));
        let took = clock::thread_cpu_time().saturating_sub(before);
        let next_in = DUMP_EVERY.max(took.saturating_mul(DUMP_SHARE));
        self.next_dump = now.plus(next_in);
        match read {
            // A dump that is not delivered loses nothing: figures are cumulative.
            Ok(_) => self.outbox.cumulative(ToOwner::Rows { rows, next_in }),
            // A part would be taken for all, and what is not in it for gone.
            Err(error) => {
                if let Some(left_out) = self.dump_warnings.pass(now) {
                    let error = error::chain(&error);
                    tracing::warn!(%error, left_out, "Open connections cannot be read.");
                }
            }
        }
    }

    fn drain(&mut self) {
        let vitals = &self.vitals;
        // Not for ever: a flood must not keep us from all the rest.
        for _ in 0..MAX_PARTS {
            let mut events = Vec::new();
            let take = |bytes: &[u8]| events.extend(decode::event(bytes, vitals));
            let n_records = self.kernel.drain(PART_RECORDS, take);
            vitals.add(Vital::EventsDrained, n_records as u64);
            self.outbox.events(events);
            if n_records < PART_RECORDS {
                return;
            }
        }
    }

    fn count(&mut self) {
        self.vitals.set(Vital::MapBytes, self.kernel.map_bytes());
        self.vitals.set(Vital::Targets, self.watching.processes().len() as u64);
        let hits = |tgid: Tgid| Some((tgid, self.kernel.hits(tgid)?));
        let hits: Vec<_> = self.watching.processes().filter_map(hits).collect();
        if !hits.is_empty() {
            self.outbox.cumulative(ToOwner::Hits(hits));
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

    fn attach_packets(&mut self, wish: XdpMode, named: &[String]) {
        let found = match interfaces(named) {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "Interfaces cannot be listed."),
        };
        for missing in named.iter().filter(|name| !found.iter().any(|it| it.name == **name)) {
            tracing::warn!(interface = missing, "There is no such interface.");
        }
        for interface in found.into_iter().filter(|it| it.is_physical || !named.is_empty()) {
            match self.kernel.attach_packets(&interface.name, wish) {
                Ok(Some(hook)) => {
                    tracing::info!(interface = interface.name, hook = hook.name(), "Packets are looked at.");
                    self.hooks.push(hook);
                }
                Ok(None) => {}
                Err(error) => {
                    let error = error::chain(&error);
                    tracing::warn!(interface = interface.name, %error, "Packets are not looked at here.");
                }
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
        self.outbox.once(ToOwner::Attached(Attached { tgid: plan.tgid, binary, points, refused }));
    }

    fn unwatch(&mut self, tgid: Tgid) {
        self.kernel.unwatch(tgid);
        self.watching.leave(tgid);
    }
}
