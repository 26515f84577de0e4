//! DNS messages with known bytes, and a resolver that answers with them.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

pub const A: u16 = 1;
pub const CNAME: u16 = 5;
pub const AAAA: u16 = 28;

/// What `one.test` is.
pub const ONE: [u8; 4] = [192, 0, 2, 1];
/// What `six.test` is.
pub const SIX: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6];
/// How late the answer for `slow.test` is.
pub const SLOW: Duration = Duration::from_millis(250);

/// Its answer is too long for a datagram: whoever wants it asks again over TCP.
pub const LONG: &str = "long.test";

const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;
const TRUNCATED: u8 = 2;
/// Points to the name of the question.
const ASKED: [u8; 2] = [0xc0, 12];

/// A question for one name, as libc sends it.
pub fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = [id.to_be_bytes(), [1, 0], [0, 1], [0; 2], [0; 2], [0; 2]].concat();
    message.extend(labels(name));
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// The answer of [`serve`]; `None` when it stays silent.
pub fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let (name, end) = name_of(query)?;
    let question = query.get(..end + 4)?;
    let mut many = Vec::new();
    for n in 1..=64 {
        many.push(record(&ASKED, A, &[192, 0, 2, n]));
    }
    let (code, records) = match name.as_str() {
        "none.test" => (0, vec![]),
        "one.test" | "slow.test" => (0, vec![record(&ASKED, A, &ONE)]),
        "six.test" => (0, vec![record(&ASKED, AAAA, &SIX)]),
        "many.test" | LONG => (0, many),
        "chain.test" => (
            0,
            vec![
                record(&ASKED, CNAME, &labels("middle.test")),
                record(&labels("middle.test"), CNAME, &labels("end.test")),
                record(&labels("end.test"), A, &[192, 0, 2, 99]),
            ],
        ),
        "fail.test" => (SERVER_FAILURE, vec![]),
        "silent.test" => return None,
        // A pointer that leads to itself.
        "garbage.test" => (0, vec![record(&[0xc0, u8::try_from(end + 4).ok()?], A, &ONE)]),
        name => match name.strip_suffix(".at.test").and_then(|it| it.parse::<std::net::Ipv4Addr>().ok()) {
            Some(ip) => (0, vec![record(&ASKED, A, &ip.octets())]),
            None => (NO_SUCH_NAME, vec![]),
        },
    };
    let mut message = question.to_vec();
    (message[2], message[3]) = (0x81, 0x80 | code);
    (message[6], message[7]) = (0, u8::try_from(records.len()).ok()?);
    message[8..12].fill(0);
    message.extend(records.concat());
    Some(message)
}

/// Answers for ever, one after another.
pub fn serve(socket: &UdpSocket) -> io::Result<()> {
    let mut query = [0; 512];
    loop {
        let (len, from) = socket.recv_from(&mut query)?;
        if name_of(&query[..len]).is_some_and(|(name, _)| name == "slow.test") {
            thread::sleep(SLOW);
        }
        let is_long = name_of(&query[..len]).is_some_and(|(name, _)| name == LONG);
        if let Some(answer) = answer(&query[..len]) {
            socket.send_to(&if is_long { truncated(&answer) } else { answer }, from)?;
        }
    }
}

/// As [`serve`], over one connection after another.
pub fn serve_tcp(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // Who asks may be gone before the answer.
        while let Ok(query) = receive(&mut stream) {
            if let Some(answer) = answer(&query)
                && stream.write_all(&framed(&answer)).is_err()
            {
                break;
            }
        }
    }
}

/// A message as it goes over TCP.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("no message is longer");
    [&len.to_be_bytes(), message].concat()
}

/// The next message that comes over TCP.
pub fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Whether an answer says that it is not whole.
pub fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// The question, and that there is more.
fn truncated(answer: &[u8]) -> Vec<u8> {
    let mut message = answer[..name_of(answer).map_or(0, |(_, end)| end + 4)].to_vec();
    message[2] |= TRUNCATED;
    message[6..8].fill(0);
    message
}

/// The name that is asked for, and where it ends.
fn name_of(query: &[u8]) -> Option<(String, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    while let len @ 1.. = usize::from(*query.get(at)?) {
        labels.push(std::str::from_utf8(query.get(at + 1..at + 1 + len)?).ok()?.to_owned());
        at += 1 + len;
    }
    Some((labels.join("."), at + 1))
}

fn labels(name: &str) -> Vec<u8> {
    let labels = name.split('.').map(str::as_bytes);
    let mut bytes: Vec<u8> = labels.flat_map(|it| [&[it.len() as u8], it].concat()).collect();
    bytes.push(0);
    bytes
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    const TTL: [u8; 4] = [0, 0, 0, 30];
    [owner, &kind.to_be_bytes(), &[0, 1], &TTL, &(data.len() as u16).to_be_bytes(), data].concat()
}
