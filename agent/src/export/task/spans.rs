//! Spans: durations, queue, one request at a time.

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
    assemble::span::{Batch, Span},
    clock::{self, Clock},
    export::{
        deliver::Courier,
        http_durations::HttpDurations,
        node::Node,
        otlp::spans::request,
        sender::{Sender, Signal},
        throttle::Throttle,
    },
    vitals::{Part, Vital, Vitals},
};

const ACCOUNT: Account = Account {
    part: Part::SpanExport,
    queued: Vital::SpansQueued,
    queue_full: Vital::SpansQueueFull,
    sent: Vital::SpansSent,
    refused: Vital::SpansRefused,
    lost_at_shutdown: Vital::SpansLostAtShutdown,
};

/// What [`run_spans`] needs.
pub struct SpanExport {
    pub sender: Sender,
    pub node: Arc<Node>,
    /// `Settings::export_queue`.
    pub capacity: usize,
    pub spans: mpsc::Receiver<Batch>,
    /// Read by [`super::metrics::run_metrics`], which waits for its end before it sends the last metrics.
    pub durations: watch::Sender<Arc<HttpDurations>>,
    pub vitals: Arc<Vitals>,
    pub shutdown: watch::Receiver<bool>,
    pub pace: Pace,
}

/// Runs until `shutdown` says true or nobody sends spans any more; then sends what is left.
pub async fn run_spans(export: SpanExport) {
    let SpanExport { sender, node, capacity, mut spans, durations, vitals, mut shutdown, pace } = export;
    let courier = Courier {
        sender,
        signal: Signal::Traces,
        pace,
        vitals,
        warnings: Arc::new(Throttle::default()),
        shutdown: shutdown.clone(),
    };
    let mut worker = Worker {
        shipper: Shipper::new(courier, &ACCOUNT, capacity),
        node,
        clock: Clock::new(),
        durations: HttpDurations::default(),
        is_changed: false,
        published: durations,
    };
    let mut ship = interval(pace.ship_every);
    let mut beat = interval(BEAT);
    for it in [&mut ship, &mut beat] {
        it.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            spans = spans.recv() => match spans {
                Some(spans) => worker.take_in(spans),
                None => break,
            },
            answer = worker.shipper.landing() => worker.shipper.land(answer),
            _ = ship.tick() => worker.shipper.due(),
            _ = beat.tick() => worker.beat(),
        }
        worker.launch();
    }
    spans.close();
    while let Ok(spans) = spans.try_recv() {
        worker.take_in(spans);
    }
    worker.finish().await;
}

struct Worker {
    shipper: Shipper<Span>,
    node: Arc<Node>,
    clock: Clock,
    durations: HttpDurations,
    /// Recorded since the last publication.
    is_changed: bool,
    published: watch::Sender<Arc<HttpDurations>>,
}

impl Worker {
    fn take_in(&mut self, spans: Batch) {
        for span in spans.iter() {
            self.durations.record(span);
        }
        self.is_changed = true;
        self.shipper.push(spans);
    }

    fn beat(&mut self) {
        self.shipper.beat();
        self.clock.resync();
        self.publish();
    }

    fn publish(&mut self) {
        if std::mem::take(&mut self.is_changed) {
            self.durations.forget_idle(clock::now());
            self.published.send_replace(Arc::new(self.durations.clone()));
        }
    }

    fn launch(&mut self) {
        self.shipper.launch(|spans| request(spans, &self.node, &self.clock));
    }

    async fn finish(mut self) {
        self.publish();
        // The end of `durations` is what the metrics wait for.
        drop(self.published);
        self.shipper.finish(|spans| request(spans, &self.node, &self.clock)).await;
    }
}
