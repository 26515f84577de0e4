//! Edges and durations, each interval.
//!
//! Values are cumulative: what could not be sent is in the next request.

use std::{sync::Arc, time::Duration};

use prost::{Message as _, bytes::Bytes};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{BEAT, Boxed, Pace, landing, stopped};
use crate::{
    assemble::{edge::Edges, resolutions::ResolutionSeries},
    clock::{self, Clock},
    export::{
        deliver::Courier,
        http_durations::HttpDurations,
        node::Node,
        otlp::{durations, edges, fit::fit_all, lookups, point::Moment, service_graph::Spans},
        sender::{Accepted, Sender, Signal},
        throttle::Throttle,
    },
    vitals::{Part, Vital, Vitals},
};

/// The last durations come from the task of spans, at once unless it is dead.
const LAST_DURATIONS: Duration = Duration::from_millis(500);

/// What [`run_metrics`] needs.
pub struct MetricExport {
    pub sender: Sender,
    pub node: Arc<Node>,
    /// `Settings::metrics_interval`.
    pub interval: Duration,
    pub edges: watch::Receiver<Edges>,
    pub resolutions: watch::Receiver<ResolutionSeries>,
    pub durations: watch::Receiver<Arc<HttpDurations>>,
    /// Then whoever gets them knows the edges that they are on.
    pub spans_are_sent: bool,
    pub vitals: Arc<Vitals>,
    pub shutdown: watch::Receiver<bool>,
    pub pace: Pace,
}

/// Runs until `shutdown` says true; then sends the last values.
pub async fn run_metrics(export: MetricExport) {
    let MetricExport {
        sender,
        node,
        interval: every,
        edges,
        resolutions,
        durations,
        spans_are_sent,
        vitals,
        mut shutdown,
        pace,
    } = export;
    let courier = Courier {
        sender,
        signal: Signal::Metrics,
        pace,
        vitals,
        warnings: Arc::new(Throttle::default()),
        shutdown: shutdown.clone(),
    };
    let mut worker = Worker {
        courier,
        node,
        edges,
        resolutions,
        durations,
        spans: if spans_are_sent { Spans::Sent } else { Spans::Kept },
        starts: Clock::new(),
        in_flight: None,
        is_due: false,
    };
    let mut send = interval(every);
    let mut beat = interval(BEAT);
    for it in [&mut send, &mut beat] {
        it.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            () = landing(worker.in_flight.as_mut()) => worker.in_flight = None,
            _ = send.tick() => worker.is_due = true,
            _ = beat.tick() => worker.courier.vitals.beat(Part::MetricExport),
        }
        worker.launch(every);
    }
    worker.finish().await;
}

struct Worker {
    courier: Courier,
    node: Arc<Node>,
    edges: watch::Receiver<Edges>,
    resolutions: watch::Receiver<ResolutionSeries>,
    durations: watch::Receiver<Arc<HttpDurations>>,
    spans: Spans,
    /// Never set again, unlike others: see [`Moment`].
    starts: Clock,
    in_flight: Option<Boxed<()>>,
    /// An interval is over, and nothing was launched for it.
    is_due: bool,
}

impl Worker {
    /// A request that is still under way is not worth more than the next one: it ends with the interval.
    fn launch(&mut self, within: Duration) {
        if self.is_due && self.in_flight.is_none() {
            self.is_due = false;
            let bodies = self.bodies();
            self.in_flight = Some(Box::pin(send_all(self.courier.clone(), bodies, within)));
        }
    }

    fn bodies(&self) -> Vec<Bytes> {
        let node = &self.node;
        let moment = Moment::new(self.starts, Clock::new().wall(clock::now()));
        let edges = Arc::clone(&self.edges.borrow());
        let resolutions = Arc::clone(&self.resolutions.borrow());
        let durations = Arc::clone(&self.durations.borrow());
        let mut bodies = fit_all(&edges, |it| edges::request(it, self.spans, node, &moment).encode_to_vec());
        bodies.extend(fit_all(&resolutions, |it| lookups::request(it, node, &moment).encode_to_vec()));
        bodies.extend(fit_all(&durations.rows(), |it| durations::request(it, node, &moment).encode_to_vec()));
        bodies
    }

    async fn finish(mut self) {
        // What is under way is older than what is sent now.
        self.in_flight = None;
        let all = async { while self.durations.changed().await.is_ok() {} };
        // Without the last ones rather than not at all.
        drop(timeout(LAST_DURATIONS, all).await);
        let within = self.courier.pace.drain.saturating_sub(LAST_DURATIONS);
        let bodies = self.bodies();
        send_all(self.courier, bodies, within).await;
    }
}

/// Counts as failed what is not sent within the time, or when the future is dropped.
fn send_all(courier: Courier, bodies: Vec<Bytes>, within: Duration) -> impl Future<Output = ()> + use<> {
    let mut unsent = Unsent { n_bodies: bodies.len() as u64, vitals: Arc::clone(&courier.vitals) };
    async move {
        let all = async {
            for body in bodies {
                if let Ok(Accepted { rejected, .. }) = courier.clone().deliver(body).await {
                    unsent.n_bodies -= 1;
                    unsent.vitals.add(Vital::MetricsSent, 1);
                    unsent.vitals.add(Vital::MetricPointsRefused, rejected);
                }
            }
        };
        drop(timeout(within, all).await);
    }
}

struct Unsent {
    n_bodies: u64,
    vitals: Arc<Vitals>,
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.vitals.add(Vital::MetricsFailed, self.n_bodies);
    }
}
