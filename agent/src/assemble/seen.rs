//! A socket, as one row tells of it.

use std::{num::NonZeroU32, time::Duration};

use agent_common::event::sock::{Row, class, flag, role as kernel_role};

use super::{
    address,
    addresses::At,
    edge::Confidence,
    faults::{Cause, Own},
    places::Listeners,
    role::{self, Role},
};
use crate::{clock::Ktime, targets::process::Tgid};

/// One end of a connection: who and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub tgid: Tgid,
    pub netns: u32,
    pub role: Role,
    pub confidence: Confidence,
    pub local: At,
    pub remote: At,
    /// Its handshake was completed under observation.
    pub opened: bool,
}

/// What a socket counted, since the agent knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub segments_out: u32,
    pub segments_in: u32,
    /// Moves when the peer answers. Of the kernel's count the low half.
    pub acked: u32,
    /// At ESTABLISHED; 0: that was not seen.
    pub handshake_rtt_us: u32,
    /// As [`Seen::connect_took`].
    pub connect_us: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub cookie: u64,
    pub end: End,
    pub figures: Figures,
    /// Segments, by the socket's own count, and by cause.
    pub retransmits: u32,
    /// 0: before the first sample.
    pub srtt_us: u32,
    pub faults: Own,
    /// 0: before the agent came.
    pub opened_at: Ktime,
    /// From connect() to ESTABLISHED; `None`: it did not connect, or before the agent came.
    pub connect_took: Option<Duration>,
    pub closed: Option<Ktime>,
    /// SYNs and SYN-ACKs that were repeated before that.
    pub handshake_repeats: u32,
    /// Means something once it is closed, or died.
    pub cause: Cause,
    /// Number of the whole dump that shows it, or of the last one.
    pub dump: u32,
}

impl Seen {
    #[must_use]
    pub(super) fn new(row: &Row, closed: Option<Ktime>, dump: u32, listeners: &Listeners) -> Self {
        let Row { cookie, state, figures } = row;
        let (role, confidence) = role::decide(state, listeners);
        let is_seeded = state.flags & flag::SEEDED != 0;
        let opened_at = Ktime(state.opened_ktime_ns);
        let connects = state.role == kernel_role::CLIENT && state.opened_ktime_ns != 0;
        let took = Ktime(state.established_ktime_ns).since(opened_at);
        let connect_took = (connects && state.established_ktime_ns != 0).then_some(took);
        Self {
            cookie: *cookie,
            end: End {
                tgid: Tgid(state.tgid),
                netns: state.netns,
                role,
                confidence,
                local: (address::ip(state.local), state.local_port),
                remote: (address::ip(state.remote), state.remote_port),
                opened: !is_seeded,
            },
            figures: Figures {
                sent_bytes: figures.sent_bytes.saturating_sub(state.base_sent_bytes),
                received_bytes: figures.received_bytes.saturating_sub(state.base_received_bytes),
                segments_out: figures.segments_out.saturating_sub(state.base_segments_out),
                segments_in: figures.segments_in.saturating_sub(state.base_segments_in),
                acked: figures.acked_bytes as u32,
                handshake_rtt_us: state.handshake_rtt_us,
                connect_us: connect_took.map(micros),
            },
            retransmits: figures.retransmits.saturating_sub(state.base_retransmits),
            srtt_us: figures.srtt_us,
            faults: Own::of(state),
            opened_at,
            connect_took,
            closed,
            handshake_repeats: if is_seeded { 0 } else { state.retransmits[class::SYN] },
            cause: Cause::of(state),
            dump,
        }
    }
}

/// Less than one is not none.
fn micros(duration: Duration) -> NonZeroU32 {
    let us = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    NonZeroU32::new(us).unwrap_or(NonZeroU32::MIN)
}
