//! What stands still while it lasts, as one row of the dump tells: the kernel keeps the times itself, so
//! nothing has to be kept of connections that are well.

use std::time::Duration;

use agent_common::event::sock::{Figures, Row, tcp_state};

use super::role::Role;
use crate::clock::Ktime;

/// One lost segment is repeated within this many; so is its repetition, seldom.
const MIN_TIMEOUTS: u8 = 2;
/// The least that the kernel waits between two probes of a closed window: `TCP_RTO_MIN`.
const MIN_PROBE_MS: u64 = 200;
/// A reader may pause.
const CLOSED_FOR: Duration = Duration::from_secs(2);
/// What a server needs to read, or to answer, before anything is said.
const IDLE_FOR: Duration = Duration::from_secs(5);
/// Who speaks so soon after the other may only confirm what it heard: HTTP/2 does, and then both rest.
const REACTION_MS: u32 = 100;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standstill {
    /// What was sent is sent again and again, and not acknowledged.
    Network { timeouts: u8, unacked_bytes: u32 },
    /// The peer takes no more: its application does not read.
    Window { waiting_bytes: u32 },
    /// A client asked, and no answer comes. The longest that one took lately.
    Unanswered { longest: Duration },
    /// What a client sent lies here, and nobody reads it.
    Unread { bytes: u32 },
    /// Connections that nobody accepts; no more of them may wait.
    AcceptQueue { waiting: u32, most: u32 },
}

/// What a connection waits for that is the same whatever it carries, and for how long. `role`: if it is sure.
#[must_use]
pub(super) fn of(row: &Row, role: Option<Role>, now: Ktime) -> Option<(Standstill, Duration)> {
    let figures = &row.figures;
    let is_judged = match figures.tcp_state {
        tcp_state::ESTABLISHED | tcp_state::CLOSE_WAIT => true,
        // Its program is done with it; as long as more than its FIN is under way, somebody misses that.
        tcp_state::FIN_WAIT1 | tcp_state::CLOSING | tcp_state::LAST_ACK => 1 < figures.unacked_bytes,
        _ => false,
    };
    if !is_judged {
        return None;
    }
    network(row, now).or_else(|| window(figures)).or_else(|| unread(figures, role))
}

/// The queue of a listener. The kernel takes one connection more than it was told.
#[must_use]
pub(super) fn of_listener(figures: &Figures) -> Option<Standstill> {
    let (waiting, most) = (figures.accept_backlog, figures.accept_backlog_max);
    let is_full = figures.tcp_state == tcp_state::LISTEN && most < waiting;
    is_full.then_some(Standstill::AcceptQueue { waiting, most })
}

fn network(row: &Row, now: Ktime) -> Option<(Standstill, Duration)> {
    let figures = &row.figures;
    // It was doubled each time that it fired.
    let first_rto_ms = figures.rto_ms >> figures.backoff.min(31);
    let is_silent = figures.packets_out != 0
        && MIN_TIMEOUTS <= figures.pending_retransmits
        && first_rto_ms.saturating_mul(2) < figures.received_ms_ago;
    if !is_silent {
        return None;
    }
    let heard = millis(figures.received_ms_ago);
    let lasts = match Ktime(row.state.rto_since_ktime_ns) {
        // The timer fired before the agent came, or the kernel does not tell.
        Ktime(0) => heard,
        // Of what was under way then, something may have been acknowledged since.
        since => heard.min(now.since(since)),
    };
    let (timeouts, unacked_bytes) = (figures.pending_retransmits, figures.unacked_bytes);
    Some((Standstill::Network { timeouts, unacked_bytes }, lasts))
}

fn window(figures: &Figures) -> Option<(Standstill, Duration)> {
    let waits = figures.packets_out == 0 && figures.unacked_bytes != 0 && figures.send_window == 0;
    if !waits {
        return None;
    }
    // The window may have been closed for long before there was anything to send. Probes, which come in
    // doubling intervals, begin when there is.
    let doubled = (2_u64 << figures.backoff.min(31)) - 1;
    let probed = Duration::from_millis(MIN_PROBE_MS.max(figures.rto_ms.into()).saturating_mul(doubled));
    let lasts = probed.min(millis(figures.sent_ms_ago));
    let waiting_bytes = figures.unacked_bytes;
    (CLOSED_FOR <= lasts).then_some((Standstill::Window { waiting_bytes }, lasts))
}

/// A client may leave what nobody asked for until it asks itself; a server is there to read.
fn unread(figures: &Figures, role: Option<Role>) -> Option<(Standstill, Duration)> {
    let lasts = millis(figures.data_received_ms_ago);
    let is_open = figures.tcp_state == tcp_state::ESTABLISHED;
    let is_unread = is_open && role == Some(Role::Server) && figures.unread_bytes != 0 && IDLE_FOR <= lasts;
    is_unread.then_some((Standstill::Unread { bytes: figures.unread_bytes }, lasts))
}

/// How long ago a client has said the last word, if that is long ago and was of its own accord. It may wait for
/// an answer, or have nothing to ask: how servers answer is known to `dialogs`.
#[must_use]
pub(super) fn last_word(figures: &Figures) -> Option<Duration> {
    let said = millis(figures.sent_ms_ago);
    let is_first = figures.received_bytes == 0;
    let before_ms = figures.data_received_ms_ago.saturating_sub(figures.sent_ms_ago);
    let is_last = is_quiet(figures) && (is_first || REACTION_MS <= before_ms);
    (is_last && IDLE_FOR <= said).then_some(said)
}

/// How long after the client's last word the server's came, and how long ago, if that was within `lately`.
#[must_use]
pub(super) fn answered(figures: &Figures, lately: Duration) -> Option<(Duration, Duration)> {
    let (asked_ms, answered_ms) = (figures.sent_ms_ago, figures.data_received_ms_ago);
    let is_answer = figures.received_bytes != 0 && answered_ms <= asked_ms;
    let is_told = is_quiet(figures) && is_answer && millis(answered_ms) <= lately;
    is_told.then(|| (millis(asked_ms - answered_ms), millis(answered_ms)))
}

/// Both may speak, this end has, and all of it has arrived.
fn is_quiet(figures: &Figures) -> bool {
    let is_open = figures.tcp_state == tcp_state::ESTABLISHED;
    is_open && figures.sent_bytes != 0 && figures.packets_out == 0 && figures.unacked_bytes == 0
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}
