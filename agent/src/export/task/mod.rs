//! The tasks of export. Each owns its state and beats while a request hangs.

use std::{future::pending, pin::Pin, time::Duration};

use tokio::sync::watch;

pub(super) mod durations;
pub(super) mod logs;
pub(super) mod metrics;
mod shipper;
pub(super) mod spans;
#[cfg(test)]
mod tests;

/// How fast, how much at once, how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Spans or log events in a request at most; as soon as so many wait they are sent. Large, because each request
    /// has a price of its own: headers, a compressor, some wake-ups.
    pub batch: usize,
    /// One waits no longer than this for others: backends ignore late ones in part.
    pub ship_every: Duration,
    pub backoff_first: Duration,
    pub backoff_max: Duration,
    /// How long the last ones and the last metrics may take at shutdown.
    pub drain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch: 2048,
            ship_every: Duration::from_secs(1),
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            drain: Duration::from_millis(3500),
        }
    }
}

/// How often a task shows that it is alive.
const BEAT: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Never, if nothing is under way.
async fn landing<T>(delivery: Option<&mut Boxed<T>>) -> T {
    match delivery {
        Some(delivery) => delivery.await,
        None => pending().await,
    }
}

/// Ends when the agent is to stop, or when nobody is left who could say so.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|it| *it).await);
}

pub(super) fn is_stopped(shutdown: &watch::Receiver<bool>) -> bool {
    *shutdown.borrow() || shutdown.has_changed().is_err()
}
