//! Messages of DNS, whole and cut, over UDP and over TCP: the first byte says which.

#![no_main]

use agent::decode::dns::{Body, message};
use agent_common::{
    Wire as _,
    event::dns::DnsPacket,
    pure::packet::{TCP, UDP},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, payload)) = bytes.split_first() else {
        return;
    };
    let protocol = if how & 2 == 0 { UDP } else { TCP };
    let copied_bytes = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let wire_bytes = copied_bytes.saturating_add(u16::from(how & 1));
    let packet = DnsPacket { copied_bytes, wire_bytes, protocol, ..DnsPacket::zeroed() };
    let Ok(message) = message(&packet, payload) else {
        return;
    };
    assert_eq!(message.is_tcp, protocol == TCP);
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
