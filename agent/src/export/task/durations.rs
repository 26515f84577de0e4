//! Durations of requests where nobody wants the spans: all that [`super::spans`] does but send.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{BEAT, stopped};
use crate::{
    assemble::span::Batch,
    clock,
    export::http_durations::HttpDurations,
    vitals::{Part, Vitals},
};

/// What [`run_durations`] needs.
pub struct DurationExport {
    pub spans: mpsc::Receiver<Batch>,
    /// Read by [`super::metrics::run_metrics`], which waits for its end before it sends the last metrics.
    pub durations: watch::Sender<Arc<HttpDurations>>,
    pub vitals: Arc<Vitals>,
    pub shutdown: watch::Receiver<bool>,
}

/// Runs until `shutdown` says true or nobody sends spans any more.
pub async fn run_durations(export: DurationExport) {
    let DurationExport { mut spans, durations: published, vitals, mut shutdown } = export;
    let mut durations = HttpDurations::default();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            spans = spans.recv() => match spans {
                Some(spans) => spans.iter().for_each(|it| durations.record(it)),
                None => break,
            },
            _ = beat.tick() => {
                vitals.beat(Part::SpanExport);
                durations.forget_idle(clock::now());
                published.send_replace(Arc::new(durations.clone()));
            }
        }
    }
    spans.close();
    while let Ok(spans) = spans.try_recv() {
        spans.iter().for_each(|it| durations.record(it));
    }
    published.send_replace(Arc::new(durations));
}
