//! Tries until the collector has taken a request or refused it for good.

use std::sync::Arc;

use prost::bytes::Bytes;
use tokio::{sync::watch, time::sleep};
use tracing::warn;

use super::{
    backoff::{Backoff, random},
    sender::{Accepted, Failure, Sender, Signal},
    task::{Pace, is_stopped, stopped},
    throttle::Throttle,
};
use crate::{
    causes, clock,
    vitals::{Vital, Vitals},
};

/// What every delivery of a task needs.
#[derive(Clone)]
pub(super) struct Courier {
    pub(super) sender: Sender,
    pub(super) signal: Signal,
    pub(super) pace: Pace,
    pub(super) vitals: Arc<Vitals>,
    pub(super) warnings: Arc<Throttle>,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// The collector refused it for good; said in the log already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Courier {
    /// Ends only with an answer: who cannot wait drops the future.
    ///
    /// An answer that was lost on its way means that the request is sent twice: OTLP has no way to
    /// tell.
    pub(super) async fn deliver(mut self, body: Bytes) -> Result<Accepted, Refused> {
        let mut backoff = Backoff::new(self.pace.backoff_first, self.pace.backoff_max);
        loop {
            let failure = match self.sender.send(self.signal, body.clone()).await {
                Ok(accepted) => {
                    self.warn_of_partial(&accepted);
                    return Ok(accepted);
                }
                Err(failure) => failure,
            };
            self.warn_of(&failure);
            if failure.is_permanent {
                return Err(Refused);
            }
            self.vitals.add(Vital::ExportRetries, 1);
            self.wait(backoff.next(failure.retry_after, random())).await;
        }
    }

    /// At the end there is no time for long waits: a shutdown cuts this one and those after it short.
    async fn wait(&mut self, wait: std::time::Duration) {
        if is_stopped(&self.shutdown) {
            return sleep(wait.min(self.pace.backoff_first)).await;
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = stopped(&mut self.shutdown) => {}
        }
    }

    fn warn_of(&self, failure: &Failure) {
        if let Some(left_out) = self.warnings.pass(clock::now()) {
            let (signal, error) = (self.signal, causes::chain(&failure.cause));
            match failure.is_permanent {
                true => warn!(?signal, %error, left_out, "The collector refused a request."),
                false => warn!(?signal, %error, left_out, "Cannot export, trying again."),
            }
        }
    }

    fn warn_of_partial(&self, accepted: &Accepted) {
        let Accepted { rejected, message } = accepted;
        if *rejected == 0 && message.is_empty() {
            return;
        }
        if let Some(left_out) = self.warnings.pass(clock::now()) {
            warn!(signal = ?self.signal, rejected, %message, left_out, "The collector took a request in part.");
        }
    }
}
