//! From the kernel thread to the owner. Never waits: a stalled owner must not stop the drain.
//!
//! Events that find no room are lost and counted. What is said only once, such as which probes a
//! process has, is kept and said again. Everything else is said anew before long, and simply left out.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use agent_common::{
    event::{Event, sock::Row},
    limits::WATCHED_PROCESSES,
};

use super::message::ToOwner;
use crate::{
    decode::{dns::DnsMessage, sql::StatementText},
    vitals::{Vital, Vitals},
};

/// Events under way to the owner: as many as the ring can hold, some 40 MB.
const MAX_QUEUED_EVENTS: usize = 128 << 10;
/// Rows of a dump under way to the owner when another part is read: 2 MB.
const MAX_QUEUED_ROWS: usize = 8 << 10;
/// One for each process that can be watched.
const MAX_KEPT: usize = WATCHED_PROCESSES as usize;

pub(super) struct Outbox {
    owner: mpsc::SyncSender<ToOwner>,
    queued_events: Arc<AtomicUsize>,
    queued_rows: Arc<AtomicUsize>,
    kept: VecDeque<ToOwner>,
    vitals: Arc<Vitals>,
}

/// Room in the queue for some events or rows, given back when the owner is done with them.
#[derive(Debug)]
pub(super) struct Room {
    queued: Arc<AtomicUsize>,
    n_taken: usize,
}

impl Room {
    /// With how many are queued then.
    fn take(queued: &Arc<AtomicUsize>, n_taken: usize) -> (Self, usize) {
        let before = queued.fetch_add(n_taken, Ordering::Relaxed);
        (Self { queued: Arc::clone(queued), n_taken }, before + n_taken)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.n_taken, Ordering::Relaxed);
    }
}

impl Outbox {
    pub(super) fn new(owner: mpsc::SyncSender<ToOwner>, vitals: &Arc<Vitals>) -> Self {
        let (queued_events, queued_rows, kept) = (Arc::default(), Arc::default(), VecDeque::new());
        Self { owner, queued_events, queued_rows, kept, vitals: Arc::clone(vitals) }
    }

    pub(super) fn events(&self, events: Vec<Event>) {
        self.counted(events.len(), |room| ToOwner::Events(events, room));
    }

    pub(super) fn messages(&self, messages: Vec<DnsMessage>) {
        self.counted(messages.len(), |room| ToOwner::Messages(messages, room));
    }

    pub(super) fn statements(&self, statements: Vec<StatementText>) {
        self.counted(statements.len(), |room| ToOwner::Statements(statements, room));
    }

    fn counted(&self, n_events: usize, message: impl FnOnce(Room) -> ToOwner) {
        if n_events == 0 {
            return;
        }
        let (room, n_queued) = Room::take(&self.queued_events, n_events);
        if MAX_QUEUED_EVENTS < n_queued || self.owner.try_send(message(room)).is_err() {
            self.vitals.add(Vital::EventsQueueFull, n_events as u64);
        }
    }

    /// Whether another part of a dump may be handed on.
    pub(super) fn has_room_for_rows(&self) -> bool {
        self.queued_rows.load(Ordering::Relaxed) < MAX_QUEUED_ROWS
    }

    /// A part of a dump; false when it is not delivered, and the dump is none.
    pub(super) fn rows(&self, rows: Vec<Row>) -> bool {
        let (room, _) = Room::take(&self.queued_rows, rows.len());
        self.deliver(ToOwner::Rows(rows, room))
    }

    /// False when there is no room.
    pub(super) fn deliver(&self, message: ToOwner) -> bool {
        self.owner.try_send(message).is_ok()
    }

    /// What is not delivered is left out: the next one tells all that this one did.
    pub(super) fn cumulative(&self, message: ToOwner) {
        if !self.deliver(message) {
            tracing::debug!("The owner is busy; it will hear the next figures.");
        }
    }

    /// What would not be said again.
    pub(super) fn once(&mut self, message: ToOwner) {
        if MAX_KEPT <= self.kept.len() {
            self.kept.pop_front();
            tracing::warn!("The owner hears nothing for long; the probes of a process will not be shown.");
        }
        self.kept.push_back(message);
        self.retry();
    }

    /// Says what is kept, as far as there is room, in order.
    pub(super) fn retry(&mut self) {
        while let Some(message) = self.kept.pop_front() {
            match self.owner.try_send(message) {
                Ok(()) => {}
                Err(mpsc::TrySendError::Full(message) | mpsc::TrySendError::Disconnected(message)) => {
                    return self.kept.push_front(message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_common::{Wire as _, event::proc::Exit};

    use super::*;
    use crate::{run::message::ToOwner, targets::process::Tgid};

    #[test]
    fn what_is_said_once_waits_for_room_and_keeps_its_order() {
        let vitals = Arc::new(Vitals::new());
        let (to_owner, inbox) = mpsc::sync_channel(1);
        let mut outbox = Outbox::new(to_owner, &vitals);
        for tgid in 1..=3 {
            outbox.once(ToOwner::Hits(vec![(Tgid(tgid), [0; _])]));
        }
        outbox.cumulative(ToOwner::Hits(Vec::new()));
        let mut got = Vec::new();
        while let Ok(ToOwner::Hits(hits)) = inbox.try_recv() {
            got.extend(hits.iter().map(|(tgid, _)| tgid.0));
            outbox.retry();
        }
        assert_eq!(got, [1, 2, 3]);
    }

    /// The queue is bounded by what is in it, not by how it is cut.
    #[test]
    fn events_that_find_no_room_are_counted() {
        let vitals = Arc::new(Vitals::new());
        let (to_owner, inbox) = mpsc::sync_channel(8);
        let outbox = Outbox::new(to_owner, &vitals);
        let half = || vec![Event::Exit(Exit::zeroed()); MAX_QUEUED_EVENTS / 2];
        for _ in 0..3 {
            outbox.events(half());
        }
        assert_eq!(vitals.get(Vital::EventsQueueFull), half().len() as u64);
        drop(inbox.try_recv());
        outbox.events(half());
        assert_eq!(vitals.get(Vital::EventsQueueFull), half().len() as u64);
    }
}
