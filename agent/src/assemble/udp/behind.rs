//! Talks with servers behind translated addresses. They are met twice: as the client's socket has them, and as the
//! server's has them. Connection tracking tells which two are one; then the second is a half of the first.

use std::net::IpAddr;

use super::{
    Udp,
    talk::{At, EndFacts, TalkKey},
};
use crate::{
    assemble::{
        edge::{Transport, Vip},
        services::{Answer, Knowledge, Question, Subject},
        sockets::Surroundings,
    },
    vitals::Vital,
};

/// Of a talk whose server is not where its client sends to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    /// Which end of the talk is a service's address.
    end: usize,
    server: At,
    /// The talk, as the server's socket has it.
    half: TalkKey,
}

impl Behind {
    /// Where an end of the talk is, if it is the one that is somewhere else.
    #[must_use]
    pub(super) fn at(&self, end: usize) -> Option<At> {
        (self.end == end).then_some(self.server)
    }

    /// The service, if it is the talk's server.
    #[must_use]
    pub(super) fn vip(&self, key: &TalkKey, server: usize) -> Option<Vip> {
        let vip = || Vip { ip: key.ends[self.end].0, backend_port: self.server.1 };
        (self.end == server).then(vip)
    }

    #[must_use]
    pub(super) fn half(&self) -> TalkKey {
        self.half
    }

    /// An end of the half, as an end of the talk.
    fn end_of(&self, end_of_half: usize) -> usize {
        if self.half.ends[end_of_half] == self.server { self.end } else { 1 - self.end }
    }
}

impl Udp {
    /// Whether it is not known yet where the server of a talk is; asks for it. Only of a client that is here, and
    /// of an address that is not.
    pub(super) fn waits_for_answer(
        &mut self,
        key: &TalkKey,
        facts: &[EndFacts; 2],
        around: &mut Surroundings<'_>,
    ) -> bool {
        let grace = around.grace();
        let Some(talk) = self.talks.get_mut(key) else {
            return false;
        };
        let (client, server) = (talk.client(), 1 - talk.client());
        let at = key.ends[server];
        let is_answered_here = facts[server].is_here || talk.ways[server].sent.is_some();
        if talk.ways[client].sent.is_none() || is_answered_here || at.1 == 0 || is_for_many(at.0) {
            return false;
        }
        let about = (Subject::Talk(*key), Question::new(Transport::Udp, key.ends[client], at));
        let since = talk.first_seen.plus(grace);
        if around.services.waits(&mut talk.server, about, since, around.now, around.vitals) {
            return true;
        }
        if talk.server == Knowledge::Known(Answer::Unknown) && !std::mem::replace(&mut talk.is_told, true) {
            around.vitals.add(Vital::NatUnresolved, 1);
        }
        false
    }

    /// Where the server of a talk is was asked.
    pub(in crate::assemble) fn answered(
        &mut self,
        key: TalkKey,
        question: &Question,
        answer: Answer,
        around: &mut Surroundings<'_>,
    ) {
        let Some(talk) = self.talks.get_mut(&key) else {
            return;
        };
        talk.server = Knowledge::Known(answer);
        self.changed.push(key);
        let Answer::Other { server, client } = answer else {
            return;
        };
        let [service, server, client] = [question.server, server, client].map(|it| (it.ip(), it.port()));
        let (half, _) = TalkKey::new(server, client);
        let behind = Behind { end: usize::from(key.ends[1] == service), server, half };
        talk.behind = Some(behind);
        if !std::mem::replace(&mut talk.is_told, true) {
            around.vitals.add(Vital::NatByConntrack, 1);
        }
        self.halves.insert(half, key);
        self.join(key, &behind, around);
    }

    /// What was met of the half so far becomes a part of the talk.
    fn join(&mut self, key: TalkKey, behind: &Behind, around: &mut Surroundings<'_>) {
        let Some(half) = self.talks.remove(&behind.half) else {
            return;
        };
        if let Some(edge) = half.edge {
            around.topology.take_back(edge, &half.counted, around.now);
        }
        let Some(talk) = self.talks.get_mut(&key) else {
            return;
        };
        for (end, way) in half.ways.into_iter().enumerate() {
            talk.ways[behind.end_of(end)].join(way);
        }
        for row_key in half.rows {
            if let Some(row) = self.rows.get_mut(&row_key) {
                (row.talk, row.sender) = (key, behind.end_of(row.sender));
                talk.rows.push(row_key);
            }
        }
    }

    /// The talk that this one is a half of, if it is one.
    pub(super) fn whole(&self, (key, sender): (TalkKey, usize)) -> (TalkKey, usize) {
        let whole = self.halves.get(&key);
        let behind = whole.and_then(|whole| self.talks.get(whole)?.behind);
        match (whole, behind) {
            (Some(whole), Some(behind)) => (*whole, behind.end_of(sender)),
            _ => (key, sender),
        }
    }
}

/// Nobody is behind it.
fn is_for_many(ip: IpAddr) -> bool {
    ip.is_multicast() || ip.is_unspecified() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}
