//! Network events: digest, queue, one request at a time.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    BEAT, Pace,
    shipper::{Account, Shipper},
    stopped,
};
use crate::{
    assemble::network_event::NetworkEvent,
    clock::{self, Clock},
    export::{
        deliver::Courier,
        digest::{Digest, Told, TooMany},
        node::Node,
        otlp::logs::request,
        sender::{Sender, Signal},
        throttle::Throttle,
    },
    vitals::{Part, Vital, Vitals},
};

const ACCOUNT: Account = Account {
    part: Part::LogExport,
    queued: Vital::LogsQueued,
    queue_full: Vital::LogsQueueFull,
    sent: Vital::LogsSent,
    refused: Vital::LogsRefused,
    lost_at_shutdown: Vital::LogsLostAtShutdown,
};

/// Events that wait for the collector. Half a kilobyte each.
pub const LOG_QUEUE: usize = 4096;

/// What [`run_logs`] needs.
pub struct LogExport {
    pub sender: Sender,
    pub node: Arc<Node>,
    pub capacity: usize,
    pub events: mpsc::Receiver<Vec<NetworkEvent>>,
    pub vitals: Arc<Vitals>,
    pub shutdown: watch::Receiver<bool>,
    pub pace: Pace,
}

/// Runs until `shutdown` says true or nobody sends events any more; then sends what is left.
pub async fn run_logs(export: LogExport) {
    let LogExport { sender, node, capacity, mut events, vitals, mut shutdown, pace } = export;
    let courier = Courier {
        sender,
        signal: Signal::Logs,
        pace,
        vitals: Arc::clone(&vitals),
        warnings: Arc::new(Throttle::default()),
        shutdown: shutdown.clone(),
    };
    let shipper = Shipper::new(courier, &ACCOUNT, capacity);
    let mut worker = Worker { shipper, vitals, node, clock: Clock::new(), digest: Digest::default() };
    let mut ship = interval(pace.ship_every);
    let mut beat = interval(BEAT);
    for it in [&mut ship, &mut beat] {
        it.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            events = events.recv() => match events {
                Some(events) => worker.take_in(events),
                None => break,
            },
            answer = worker.shipper.landing() => worker.shipper.land(answer),
            _ = ship.tick() => worker.look_back(),
            _ = beat.tick() => worker.beat(),
        }
        worker.launch();
    }
    events.close();
    while let Ok(events) = events.try_recv() {
        worker.take_in(events);
    }
    worker.finish().await;
}

struct Worker {
    shipper: Shipper<Told>,
    vitals: Arc<Vitals>,
    node: Arc<Node>,
    clock: Clock,
    digest: Digest,
}

impl Worker {
    fn take_in(&mut self, events: Vec<NetworkEvent>) {
        let now = clock::now();
        let mut told = Vec::new();
        for event in events {
            match self.digest.record(event, now) {
                Ok(at_once) => told.extend(at_once),
                Err(TooMany) => self.vitals.add(Vital::LogsTooMany, 1),
            }
        }
        self.push(told);
    }

    fn look_back(&mut self) {
        let told = self.digest.due(clock::now());
        self.push(told);
        self.shipper.due();
    }

    fn push(&mut self, told: Vec<Told>) {
        self.vitals.add(Vital::LogsMade, told.len() as u64);
        if !told.is_empty() {
            self.shipper.push(Arc::new(told));
        }
    }

    fn beat(&mut self) {
        self.shipper.beat();
        self.clock.resync();
    }

    fn launch(&mut self) {
        let now = clock::now();
        self.shipper.launch(|told| request(told, &self.node, &self.clock, now));
    }

    async fn finish(mut self) {
        let told = self.digest.rest();
        self.push(told);
        let now = clock::now();
        self.shipper.finish(|told| request(told, &self.node, &self.clock, now)).await;
    }
}
