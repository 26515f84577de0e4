//! Messages of DNS, whole and cut: the first byte says which.

#![no_main]

use agent::decode::dns::{Body, message};
use agent_common::{Wire as _, event::dns::DnsPacket};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((is_cut, payload)) = bytes.split_first() else {
        return;
    };
    let copied_bytes = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let wire_bytes = copied_bytes.saturating_add(u16::from(is_cut & 1));
    let packet = DnsPacket { copied_bytes, wire_bytes, ..DnsPacket::zeroed() };
    let Ok(message) = message(&packet, payload) else {
        return;
    };
    let question = match message.body {
        Body::Query(question) => Some(question),
        Body::Answer { question, addresses, .. } => {
            assert!(addresses.len() <= 64);
            question
        }
        Body::Malformed => None,
    };
    assert!(question.is_none_or(|it| !it.name.is_empty() && it.name.len() <= 255));
});
