//! Sends what waits in a queue, one request at a time.
//!
//! Idle --a full batch waits, or a second is over--> In flight --taken or refused--> Idle
//!
//! While a request is tried again, the rest waits; when the queue is full the oldest go. Each item ends in
//! exactly one counter: sent, queue full, refused, lost at shutdown.

use std::sync::Arc;

use tokio::time::timeout;

use super::{Boxed, landing};
use crate::{
    export::{
        deliver::{Courier, Refused},
        otlp::fit::{MAX_BYTES, fit},
        queue::Queue,
        sender::Accepted,
    },
    vitals::{Part, Vital},
};

/// Where the items of a signal are counted, and whose heart beats.
pub(super) struct Account {
    pub(super) part: Part,
    pub(super) queued: Vital,
    pub(super) queue_full: Vital,
    pub(super) sent: Vital,
    pub(super) refused: Vital,
    pub(super) lost_at_shutdown: Vital,
}

pub(super) struct Shipper<T> {
    courier: Courier,
    account: &'static Account,
    queue: Queue<T>,
    /// Send even a small batch.
    is_due: bool,
    in_flight: Option<InFlight>,
}

struct InFlight {
    n_items: u64,
    delivery: Boxed<Result<Accepted, Refused>>,
}

impl<T> Shipper<T> {
    pub(super) fn new(courier: Courier, account: &'static Account, capacity: usize) -> Self {
        Self { courier, account, queue: Queue::new(capacity), is_due: false, in_flight: None }
    }

    pub(super) fn push(&mut self, items: Arc<Vec<T>>) {
        let gone = self.queue.push(items);
        self.courier.vitals.add(self.account.queue_full, gone);
    }

    /// What waits has waited long enough.
    pub(super) fn due(&mut self) {
        self.is_due = true;
    }

    pub(super) fn beat(&self) {
        self.courier.vitals.beat(self.account.part);
        self.courier.vitals.set(self.account.queued, self.waiting());
    }

    /// Begins a request if there is reason for one and none is under way.
    pub(super) fn launch(&mut self, encode: impl Fn(&[&T]) -> Vec<u8>) {
        let batch = self.courier.pace.batch;
        let enough = if self.is_due { 1 } else { batch };
        if self.in_flight.is_some() || self.queue.len() < enough.max(1) {
            return;
        }
        self.is_due = false;
        let items = self.queue.oldest(batch);
        let (n_fit, body) = fit(&items, MAX_BYTES, encode);
        // The rest has waited as long.
        self.is_due = n_fit < items.len();
        self.queue.remove(n_fit);
        let delivery = Box::pin(self.courier.clone().deliver(body));
        self.in_flight = Some(InFlight { n_items: n_fit as u64, delivery });
    }

    /// The answer to what is under way; never, if nothing is.
    pub(super) async fn landing(&mut self) -> Result<Accepted, Refused> {
        landing(self.in_flight.as_mut().map(|it| &mut it.delivery)).await
    }

    pub(super) fn land(&mut self, answer: Result<Accepted, Refused>) {
        let Some(InFlight { n_items, .. }) = self.in_flight.take() else {
            return;
        };
        let refused = match answer {
            Ok(Accepted { rejected, .. }) => rejected.min(n_items),
            Err(Refused) => n_items,
        };
        self.courier.vitals.add(self.account.refused, refused);
        self.courier.vitals.add(self.account.sent, n_items - refused);
    }

    /// Sends what is left, as far as there is time.
    pub(super) async fn finish(mut self, encode: impl Fn(&[&T]) -> Vec<u8>) {
        let drain = self.courier.pace.drain;
        // What is left after it is counted.
        drop(timeout(drain, self.drain(encode)).await);
        let lost = self.waiting();
        self.courier.vitals.add(self.account.lost_at_shutdown, lost);
        // Nobody can ask any more.
        if lost != 0 {
            let signal = self.courier.signal;
            tracing::warn!(?signal, items = lost, "These were not sent before the end.");
        }
        self.courier.vitals.set(self.account.queued, 0);
    }

    async fn drain(&mut self, encode: impl Fn(&[&T]) -> Vec<u8>) {
        loop {
            self.is_due = true;
            self.launch(&encode);
            let Some(in_flight) = &mut self.in_flight else {
                return;
            };
            let answer = (&mut in_flight.delivery).await;
            self.land(answer);
            self.courier.vitals.beat(self.account.part);
        }
    }

    fn waiting(&self) -> u64 {
        self.queue.len() as u64 + self.in_flight.as_ref().map_or(0, |it| it.n_items)
    }
}
