//! The thread that reads binaries: slow work that nobody must wait for.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    RunError,
    message::{ToKernel, ToOwner, ToPlanner},
    threads::Thread,
};
use crate::{
    clock::{self, Ktime},
    targets::{
        golang::{GoError, SelfCheckError},
        plan::{Plan, PlanError, Planner},
        process::Tgid,
    },
    vitals::{Part, Vital, Vitals},
};

/// A process that was just executed has no goroutines yet.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);
const MAX_TRIES: u32 = 100;
const BEAT: Duration = Duration::from_secs(1);

pub(super) fn start(
    inbox: mpsc::Receiver<ToPlanner>,
    kernel: mpsc::SyncSender<ToKernel>,
    owner: mpsc::SyncSender<ToOwner>,
    vitals: &Arc<Vitals>,
    stopped: watch::Receiver<bool>,
) -> Result<Thread, RunError> {
    let vitals = Arc::clone(vitals);
    let mut work = Work { planner: Planner::default(), later: VecDeque::new(), kernel, owner, vitals };
    Thread::start("planner", move || work.run(&inbox, &stopped))
}

struct Work {
    planner: Planner,
    /// When to try again, who, and how often it was tried.
    later: VecDeque<(Ktime, Tgid, u32)>,
    kernel: mpsc::SyncSender<ToKernel>,
    owner: mpsc::SyncSender<ToOwner>,
    vitals: Arc<Vitals>,
}

impl Work {
    /// Until nobody asks any more, or the agent stops: then many may still be asked for.
    fn run(&mut self, inbox: &mpsc::Receiver<ToPlanner>, stopped: &watch::Receiver<bool>) {
        while !*stopped.borrow() {
            self.vitals.beat(Part::Targets);
            match inbox.recv_timeout(self.patience()) {
                Ok(ToPlanner::Plan(tgid)) => self.plan(tgid, 0),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            while let Some((at, tgid, tries)) = self.later.front().copied()
                && at <= clock::now()
            {
                self.later.pop_front();
                self.plan(tgid, tries);
            }
        }
    }

    fn patience(&self) -> Duration {
        self.later.front().map_or(BEAT, |(at, _, _)| at.since(clock::now()).min(BEAT))
    }

    fn plan(&mut self, tgid: Tgid, tries: u32) {
        // A binary is foreign input; whatever it does to its reader, the others are still read.
        let planned = catch_unwind(AssertUnwindSafe(|| self.planner.plan(tgid)));
        match planned {
            Ok(Ok(plan)) => self.watch(plan),
            Ok(Err(error)) => self.refused(tgid, error, tries),
            Err(_) => {
                tracing::error!(pid = tgid.0, "Reading this program failed badly; it is left alone.");
                self.vitals.add(Vital::TargetsRefused, 1);
                self.planner = Planner::default();
            }
        }
    }

    fn watch(&self, plan: Plan) {
        if self.kernel.send(ToKernel::Watch(Box::new(plan))).is_err() {
            tracing::debug!("The kernel thread has stopped.");
        }
    }

    fn refused(&mut self, tgid: Tgid, error: PlanError, tries: u32) {
        match &error {
            PlanError::SelfCheck { source: SelfCheckError::NotStarted, .. } if tries < MAX_TRIES => {
                self.later.push_back((clock::now().plus(TRY_AGAIN_AFTER), tgid, tries + 1));
                return;
            }
            // Most processes are not written in Go, and many end while they are looked at.
            PlanError::Process(_) => return,
            PlanError::Binary(error) if matches!(**error, GoError::NotGo) => return,
            _ => {}
        }
        self.vitals.add(Vital::TargetsRefused, 1);
        if self.owner.send(ToOwner::NotWatched(tgid, error)).is_err() {
            tracing::debug!("The owner has stopped.");
        }
    }
}
