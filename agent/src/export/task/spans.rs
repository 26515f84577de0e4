//! Spans: durations, queue, one request at a time.
//!
//! Idle --2048 wait, or a second is over--> In flight --taken or refused--> Idle
//!
//! While a request is tried again, spans wait in the queue; when it is full the oldest go. Each span
//! ends in exactly one counter: sent, queue full, refused, lost at shutdown.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{BEAT, Boxed, Pace, landing, stopped};
use crate::{
    assemble::span::Batch,
    clock::{self, Clock},
    export::{
        deliver::{Courier, Refused},
        http_durations::HttpDurations,
        node::Node,
        otlp::{
            fit::{MAX_BYTES, fit},
            spans::request,
        },
        queue::Queue,
        sender::{Accepted, Sender, Signal},
        throttle::Throttle,
    },
    vitals::{Part, Vital, Vitals},
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
        vitals: Arc::clone(&vitals),
        warnings: Arc::new(Throttle::default()),
        shutdown: shutdown.clone(),
    };
    let mut worker = Worker::new(courier, node, capacity, durations);
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
            answer = landing(worker.in_flight.as_mut().map(|it| &mut it.delivery)) => worker.land(answer),
            _ = ship.tick() => worker.is_due = true,
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
    courier: Courier,
    vitals: Arc<Vitals>,
    node: Arc<Node>,
    clock: Clock,
    queue: Queue,
    /// Send even a small batch.
    is_due: bool,
    in_flight: Option<InFlight>,
    durations: HttpDurations,
    /// Recorded since the last publication.
    is_changed: bool,
    published: watch::Sender<Arc<HttpDurations>>,
}

struct InFlight {
    n_spans: u64,
    delivery: Boxed<Result<Accepted, Refused>>,
}

impl Worker {
    fn new(
        courier: Courier,
        node: Arc<Node>,
        capacity: usize,
        published: watch::Sender<Arc<HttpDurations>>,
    ) -> Self {
        Self {
            vitals: Arc::clone(&courier.vitals),
            courier,
            node,
            clock: Clock::new(),
            queue: Queue::new(capacity),
            is_due: false,
            in_flight: None,
            durations: HttpDurations::default(),
            is_changed: false,
            published,
        }
    }

    fn take_in(&mut self, spans: Batch) {
        for span in spans.iter() {
            self.durations.record(span);
        }
        self.is_changed = true;
        let gone = self.queue.push(spans);
        self.vitals.add(Vital::SpansQueueFull, gone);
    }

    fn beat(&mut self) {
        self.vitals.beat(Part::SpanExport);
        self.vitals.set(Vital::SpansQueued, self.waiting());
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
        let enough = if self.is_due { 1 } else { self.courier.pace.batch };
        if self.in_flight.is_some() || self.queue.len() < enough.max(1) {
            return;
        }
        self.is_due = false;
        let spans = self.queue.oldest(self.courier.pace.batch);
        let (n_fit, body) = fit(&spans, MAX_BYTES, |spans| request(spans, &self.node, &self.clock));
        // The rest has waited as long.
        self.is_due = n_fit < spans.len();
        self.queue.remove(n_fit);
        let delivery = Box::pin(self.courier.clone().deliver(body));
        self.in_flight = Some(InFlight { n_spans: n_fit as u64, delivery });
    }

    fn land(&mut self, answer: Result<Accepted, Refused>) {
        let Some(InFlight { n_spans, .. }) = self.in_flight.take() else {
            return;
        };
        let refused = match answer {
            Ok(Accepted { rejected, .. }) => rejected.min(n_spans),
            Err(Refused) => n_spans,
        };
        self.vitals.add(Vital::SpansRefused, refused);
        self.vitals.add(Vital::SpansSent, n_spans - refused);
    }

    async fn finish(mut self) {
        self.publish();
        // The end of `durations` is what the metrics wait for.
        self.published = watch::channel(Arc::default()).0;
        let drain = self.courier.pace.drain;
        // What is left after it is counted.
        drop(timeout(drain, self.drain()).await);
        let lost = self.waiting();
        self.vitals.add(Vital::SpansLostAtShutdown, lost);
        // Nobody can ask any more.
        if lost != 0 {
            tracing::warn!(spans = lost, "These were not sent before the end.");
        }
        self.vitals.set(Vital::SpansQueued, 0);
    }

    async fn drain(&mut self) {
        loop {
            self.is_due = true;
            self.launch();
            let Some(in_flight) = &mut self.in_flight else {
                return;
            };
            let answer = (&mut in_flight.delivery).await;
            self.land(answer);
            self.vitals.beat(Part::SpanExport);
        }
    }

    fn waiting(&self) -> u64 {
        self.queue.len() as u64 + self.in_flight.as_ref().map_or(0, |it| it.n_spans)
    }
}
