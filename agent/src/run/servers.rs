//! The thread that asks connection tracking for servers behind translated addresses: nobody else waits for
//! the kernel.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use agent_common::pure::packet;

use super::{RunError, error, message::ToOwner, threads::Thread};
use crate::{
    assemble::{
        edge::Transport,
        services::{Answer, Question},
    },
    clock::{self, Ktime},
    kernel::{Conntrack, ConntrackError, Ends},
    vitals::{Part, Vitals},
};

/// As many as the state has under way.
const QUEUE: usize = 64;
const BEAT: Duration = Duration::from_secs(1);
/// A node may begin to track connections when its first service comes.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);

pub(super) fn start(
    owner: mpsc::SyncSender<ToOwner>,
    vitals: &Arc<Vitals>,
) -> Result<(Thread, mpsc::SyncSender<Question>), RunError> {
    let (questions, inbox) = mpsc::sync_channel(QUEUE);
    let vitals = Arc::clone(vitals);
    let mut work = Work { conntrack: None, next_try: Ktime(0), has_warned: false, owner, vitals };
    // Before the first dump is read: that there is somebody to ask is to be known by then.
    work.open();
    Ok((Thread::start("servers", move || work.run(&inbox))?, questions))
}

struct Work {
    conntrack: Option<Conntrack>,
    next_try: Ktime,
    has_warned: bool,
    owner: mpsc::SyncSender<ToOwner>,
    vitals: Arc<Vitals>,
}

impl Work {
    /// Until nobody asks any more.
    fn run(&mut self, inbox: &mpsc::Receiver<Question>) {
        loop {
            self.vitals.beat(Part::Servers);
            self.open();
            let first = match inbox.recv_timeout(BEAT) {
                Ok(question) => question,
                Err(mpsc::RecvTimeoutError::Timeout) => continue,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            let others = std::iter::from_fn(|| inbox.try_recv().ok()).take(QUEUE);
            let questions: Vec<_> = std::iter::once(first).chain(others).collect();
            let answers = questions.into_iter().map(|it| (it, self.answer(&it))).collect();
            if self.owner.send(ToOwner::Servers(answers)).is_err() {
                return;
            }
        }
    }

    fn open(&mut self) {
        let now = clock::now();
        if self.conntrack.is_some() || now < self.next_try {
            return;
        }
        self.next_try = now.plus(TRY_AGAIN_AFTER);
        match Conntrack::open() {
            Ok(conntrack) => {
                self.conntrack = Some(conntrack);
                if self.owner.send(ToOwner::ServersAreKnown).is_err() {
                    tracing::debug!("The owner has stopped.");
                }
            }
            Err(error) => self.warn(&error),
        }
    }

    fn answer(&mut self, question: &Question) -> Answer {
        let answer = self.conntrack.as_mut().map_or(Ok(Answer::Unknown), |it| answer(it, question));
        answer.unwrap_or_else(|error| {
            self.warn(&error);
            Answer::Unknown
        })
    }

    /// Once: it costs nothing but names.
    fn warn(&mut self, error: &ConntrackError) {
        if !std::mem::replace(&mut self.has_warned, true) {
            let error = error::chain(error);
            tracing::warn!(%error, "Services whose servers are elsewhere are shown by their own addresses.");
        }
    }
}

/// What connection tracking says of a question.
///
/// # Errors
///
/// When the kernel refuses to tell, or says what is not understood.
pub fn answer(conntrack: &mut Conntrack, question: &Question) -> Result<Answer, ConntrackError> {
    let protocol = match question.transport {
        Transport::Tcp => packet::TCP,
        Transport::Udp => packet::UDP,
    };
    let at_client = Ends { client: question.client, server: question.server };
    let at_server = conntrack.at_server(protocol, &at_client)?;
    Ok(match at_server {
        Some(Ends { server, .. }) if server == question.server => Answer::Same,
        Some(Ends { server, client }) => Answer::Other { server, client },
        None => Answer::Unknown,
    })
}
