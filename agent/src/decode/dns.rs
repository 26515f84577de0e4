//! DNS messages, as anybody may have written them: who asks whom for what, and what came of it.
//!
//! Bounds: [`MAX_ANSWERS`] records, names of [`MAX_NAME_BYTES`]; and a pointer leads backwards only, so that
//! no name goes round in circles. An address counts when the chain of aliases leads from the question to it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use agent_common::{event::dns, pure::packet::TCP};
use domain::{
    base::{
        ParsedName, ParsedRecord,
        iana::{Class, Opcode, Rtype},
        message::{Message, RecordSection},
        wire::ParseError,
    },
    rdata::{A, Aaaa, Cname},
};

use crate::{clock::Ktime, targets::process::Tgid};

const MAX_ANSWERS: usize = 64;
/// Of its text, in which what is not printable takes four bytes.
const MAX_NAME_BYTES: usize = 255;

/// What somebody asks: the name in lower case, without the last dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub name: Arc<str>,
    pub kind: RecordKind,
}

/// A, AAAA and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordKind(pub u16);

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Rtype::from_int(self.0).fmt(f)
    }
}

/// How a resolver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResponseCode(pub u8);

impl ResponseCode {
    pub const NO_ERROR: Self = Self(0);
    pub const SERVER_FAILURE: Self = Self(2);
    pub const NO_SUCH_NAME: Self = Self(3);

    /// As resolvers and their tools write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            _ => "OTHER",
        }
    }
}

/// A message, with the end that asks and the end that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsMessage {
    pub at: Ktime,
    /// Who asks; 0 where the hook could not tell.
    pub asker: Tgid,
    /// Of the socket that sent it; 0 where the packet does not point to it.
    pub cookie: u64,
    pub client: SocketAddr,
    pub resolver: SocketAddr,
    pub is_tcp: bool,
    pub id: u16,
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Query(Question),
    Answer {
        /// Resolvers leave it out when they did not understand it.
        question: Option<Question>,
        code: ResponseCode,
        addresses: Vec<(IpAddr, Duration)>,
    },
    /// An answer that cannot be understood.
    Malformed,
}

/// Why bytes are no message of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLookup {
    Malformed,
    /// An update, a notification.
    OtherOperation,
}

/// Total, in time and in memory in proportion to the payload.
///
/// # Errors
///
/// When there is nothing to say of it. A malformed answer is a message as long as it has an id.
pub fn message(record: &dns::DnsPacket, payload: &[u8]) -> Result<DnsMessage, NoLookup> {
    let is_cut = record.copied_bytes < record.wire_bytes;
    let [id_high, id_low, flags, ..] = payload else {
        return Err(NoLookup::Malformed);
    };
    const IS_ANSWER: u8 = 0x80;
    let source = SocketAddr::new(address(record.source), record.source_port);
    let destination = SocketAddr::new(address(record.destination), record.destination_port);
    let is_answer = flags & IS_ANSWER != 0;
    let body = match body(payload, is_cut) {
        Ok(body) => body,
        Err(NoLookup::Malformed) if is_answer => Body::Malformed,
        Err(reason) => return Err(reason),
    };
    let (client, resolver) = if is_answer { (destination, source) } else { (source, destination) };
    Ok(DnsMessage {
        at: Ktime(record.header.ktime_ns),
        asker: Tgid(record.header.tgid),
        cookie: record.cookie,
        client,
        resolver,
        is_tcp: record.protocol == TCP,
        id: u16::from_be_bytes([*id_high, *id_low]),
        body,
    })
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

impl From<ParseError> for NoLookup {
    fn from(_: ParseError) -> Self {
        Self::Malformed
    }
}

/// `is_cut`: more followed, so that it may end anywhere after the question.
fn body(payload: &[u8], is_cut: bool) -> Result<Body, NoLookup> {
    let message = Message::from_slice(payload).map_err(|_| NoLookup::Malformed)?;
    let header = message.header();
    if header.opcode() != Opcode::QUERY {
        return Err(NoLookup::OtherOperation);
    }
    let mut questions = message.question();
    let asked = match message.header_counts().qdcount() {
        0 => None,
        1 => questions.next().transpose()?,
        _ => return Err(NoLookup::Malformed),
    };
    let name = asked.map(|it| *it.qname());
    let question = asked
        .map(|it| {
            Ok::<_, NoLookup>(Question { name: text(it.qname())?, kind: RecordKind(it.qtype().to_int()) })
        })
        .transpose()?;
    if !header.qr() {
        return question.map(Body::Query).ok_or(NoLookup::Malformed);
    }
    let records = questions.next_section()?;
    let addresses = match name {
        Some(name) => addresses(name, records, is_cut)?,
        None => Vec::new(),
    };
    Ok(Body::Answer { question, code: ResponseCode(header.rcode().to_int()), addresses })
}

type Name<'a> = ParsedName<&'a [u8]>;

/// Resolvers give a chain in its order.
fn addresses<'a>(
    asked: Name<'a>,
    records: RecordSection<'a, [u8]>,
    is_cut: bool,
) -> Result<Vec<(IpAddr, Duration)>, NoLookup> {
    let mut wanted = asked;
    let mut found = Vec::new();
    for record in records.take(MAX_ANSWERS) {
        let record = match record {
            Ok(record) => record,
            Err(_) if is_cut => break,
            Err(error) => return Err(error.into()),
        };
        if record.class() != Class::IN || record.owner() != wanted {
            continue;
        }
        let ttl = Duration::from_secs(record.ttl().as_secs().into());
        match record.rtype() {
            Rtype::CNAME => wanted = alias(&record)?.unwrap_or(wanted),
            Rtype::A => {
                let data = record.to_record::<A>()?;
                found.extend(data.map(|it| (IpAddr::V4(it.data().addr()), ttl)));
            }
            Rtype::AAAA => {
                let data = record.to_record::<Aaaa>()?;
                found.extend(data.map(|it| (IpAddr::V6(it.data().addr()).to_canonical(), ttl)));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn alias<'a>(record: &ParsedRecord<'a, [u8]>) -> Result<Option<Name<'a>>, ParseError> {
    let record = record.to_record::<Cname<Name<'a>>>()?;
    Ok(record.map(|it| *it.data().cname()))
}

fn text(name: &Name<'_>) -> Result<Arc<str>, NoLookup> {
    if name.is_root() {
        return Ok(".".into());
    }
    let text = name.to_string().to_ascii_lowercase();
    if MAX_NAME_BYTES < text.len() { Err(NoLookup::Malformed) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests;
