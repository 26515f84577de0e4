//! Bytes of the ring become events and messages. Total: what is no record is counted and left out.

pub mod dns;
pub mod sql;

use agent_common::event::{self, Event};

use self::{
    dns::{DnsMessage, NoLookup},
    sql::StatementText,
};
use crate::vitals::{Vital, Vitals};

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and a box for each event would not be free"
)]
pub enum Decoded {
    Event(Event),
    /// Apart from events: it is of any length, and most events are small.
    Dns(DnsMessage),
    /// As above.
    Statement(StatementText),
}

/// What is in `bytes`, if there is something.
#[must_use]
pub fn record(bytes: &[u8], vitals: &Vitals) -> Option<Decoded> {
    match event::decode(bytes) {
        Ok(Event::DnsPacket(record)) => {
            let message = dns_message(&record, bytes, vitals);
            if message.is_none() {
                // It has come as far as it goes.
                vitals.add(Vital::EventsAssembled, 1);
            }
            message.map(Decoded::Dns)
        }
        Ok(Event::Statement(record)) => {
            let Some(text) = record.text(bytes) else {
                vitals.add(Vital::RecordsContradictory, 1);
                vitals.add(Vital::EventsAssembled, 1);
                return None;
            };
            Some(Decoded::Statement(StatementText { record, text: text.into() }))
        }
        Ok(event) => Some(Decoded::Event(event)),
        Err(error) => {
            tracing::debug!(?error, "The kernel half sent something unknown.");
            vitals.add(Vital::EventsUndecodable, 1);
            None
        }
    }
}

fn dns_message(record: &event::dns::DnsPacket, bytes: &[u8], vitals: &Vitals) -> Option<DnsMessage> {
    let Some(payload) = record.payload(bytes) else {
        vitals.add(Vital::RecordsContradictory, 1);
        return None;
    };
    let message = dns::message(record, payload);
    let is_malformed = |it: &DnsMessage| it.body == dns::Body::Malformed;
    if message.as_ref().map_or_else(|it| *it == NoLookup::Malformed, is_malformed) {
        vitals.add(Vital::DnsMalformed, 1);
    }
    message.ok()
}

#[cfg(test)]
mod tests {
    use agent_common::{Wire as _, event::Record as _};

    use super::*;

    #[test]
    fn what_is_no_record_is_counted() {
        let vitals = Vitals::new();
        assert_eq!(record(&[7; 40], &vitals), None);
        assert_eq!(record(&[], &vitals), None);
        assert_eq!(vitals.get(Vital::EventsUndecodable), 2);
    }

    #[test]
    fn a_statement_comes_with_its_text_or_not_at_all() {
        let vitals = Vitals::new();
        let header = event::Header { kind: event::sql::Statement::KIND, ..event::Header::zeroed() };
        let statement = event::sql::Statement {
            header,
            text_bytes: 300,
            copied_bytes: 6,
            ..event::sql::Statement::zeroed()
        };
        let mut bytes = statement.as_bytes().to_vec();
        bytes.extend(b"COMMI");
        assert_eq!(record(&bytes, &vitals), None);
        let counted = [Vital::RecordsContradictory, Vital::EventsAssembled].map(|it| vitals.get(it));
        assert_eq!(counted, [1, 1]);
        bytes.push(b'T');
        let Some(Decoded::Statement(got)) = record(&bytes, &vitals) else { panic!() };
        assert_eq!((&*got.text, got.is_cut()), (&b"COMMIT"[..], true));
        assert!(!format!("{got:?}").contains("COMMIT"), "a text is private");
    }

    #[test]
    fn a_message_shorter_than_its_record_says_is_counted() {
        let vitals = Vitals::new();
        let header = event::Header { kind: event::dns::DnsPacket::KIND, ..event::Header::zeroed() };
        let message = event::dns::DnsPacket { header, copied_bytes: 12, ..event::dns::DnsPacket::zeroed() };
        let mut bytes = message.as_bytes().to_vec();
        bytes.extend([0; 11]);
        assert_eq!(record(&bytes, &vitals), None);
        assert_eq!(vitals.get(Vital::RecordsContradictory), 1);
        bytes.push(0);
        assert_eq!(record(&bytes, &vitals), None, "a query without a question");
        assert_eq!((vitals.get(Vital::DnsMalformed), vitals.get(Vital::EventsAssembled)), (1, 2));
    }
}
