//! Messages are built by hand, byte by byte, so that what is wrong with one is in sight.

use agent_common::Wire as _;

use super::*;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
/// Points to the name of the question.
const ASKED: [u8; 2] = [0xc0, 12];

#[test]
fn a_query_is_a_question() {
    check(&query("Shop.Example", A), "10.0.0.1:40000 asks 10.0.0.53:53 shop.example A");
    check(&query("shop.example", AAAA), "10.0.0.1:40000 asks 10.0.0.53:53 shop.example AAAA");
    check(&query("", 65_280), "10.0.0.1:40000 asks 10.0.0.53:53 . TYPE65280");
}

#[test]
fn no_one_and_many_addresses() {
    check(&answer("a.example", A, &[]), "a.example NOERROR");
    check(&answer("a.example", A, &[a(&ASKED, 7, 1)]), "a.example NOERROR 192.0.2.1/7");
    let many: Vec<_> = (0..64).map(|n| a(&ASKED, 7, n)).collect();
    let want: Vec<_> = (0..64).map(|n| format!(" 192.0.2.{n}/7")).collect();
    check(&answer("a.example", A, &many), &format!("a.example NOERROR{}", want.concat()));
    // The bound.
    let more: Vec<_> = (0..200).map(|n| a(&ASKED, 7, n)).collect();
    check(&answer("a.example", A, &more), &format!("a.example NOERROR{}", want.concat()));
}

#[test]
fn addresses_of_ipv6() {
    let ip = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let records = [record(&ASKED, AAAA, 300, &ip)];
    check(&answer("a.example", AAAA, &records), "a.example NOERROR 2001:db8::1/300");
}

#[test]
fn a_chain_of_aliases_leads_to_the_question() {
    let records = [
        record(&ASKED, CNAME, 60, &name("b.example")),
        record(&name("B.example"), CNAME, 60, &name("c.example")),
        a(&name("c.example"), 5, 9),
    ];
    check(&answer("a.example", A, &records), "a.example NOERROR 192.0.2.9/5");
}

/// A resolver that lies, or was lied to: addresses for something that nobody asked for.
#[test]
fn addresses_of_other_names_do_not_count() {
    let records = [a(&name("bank.example"), 5, 9), a(&ASKED, 5, 1)];
    check(&answer("a.example", A, &records), "a.example NOERROR 192.0.2.1/5");
    let records =
        [record(&name("bank.example"), CNAME, 5, &name("a.example")), a(&name("bank.example"), 5, 9)];
    check(&answer("a.example", A, &records), "a.example NOERROR");
    let mut chaos = a(&ASKED, 5, 9);
    chaos[5] = 3;
    check(&answer("a.example", A, &[chaos]), "a.example NOERROR");
}

#[test]
fn aliases_in_a_circle_lead_nowhere() {
    let records = [
        record(&ASKED, CNAME, 60, &name("b.example")),
        record(&name("b.example"), CNAME, 60, &name("a.example")),
    ];
    check(&answer("a.example", A, &records), "a.example NOERROR");
}

#[test]
fn results_have_names() {
    for (code, want) in [(2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED"), (9, "OTHER")] {
        let mut message = answer("a.example", A, &[]);
        message[3] |= code;
        check(&message, &format!("a.example {want}"));
    }
}

#[test]
fn a_resolver_that_did_not_understand_leaves_the_question_out() {
    check(&[0, 7, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0], "- FORMERR");
}

/// More followed than was copied: what is whole counts.
#[test]
fn a_copy_may_end_anywhere() {
    let records: Vec<_> = (0..3).map(|n| a(&ASKED, 7, n)).collect();
    let whole = answer("a.example", A, &records);
    for len in 0..whole.len() {
        let got = line(&whole[..len], whole.len());
        let want = match len {
            0..3 => "no lookup: Malformed".to_owned(),
            3..27 => "malformed".to_owned(),
            _ => {
                let n_records = (len - 27) / 16;
                let addresses: Vec<_> = (0..n_records).map(|n| format!(" 192.0.2.{n}/7")).collect();
                format!("a.example NOERROR{}", addresses.concat())
            }
        };
        assert_eq!(got, want, "{len} of {}", whole.len());
        // When nothing followed it is no copy, but a lie.
        let got = line(&whole[..len], len);
        assert!(matches!(got.as_str(), "malformed" | "no lookup: Malformed"), "{len}: {got}");
    }
}

#[test]
fn lies_are_malformed() {
    let whole = answer("a.example", A, &[a(&ASKED, 7, 1)]);
    let with = |at: usize, bytes: &[u8]| {
        let mut message = whole.clone();
        message[at..at + bytes.len()].copy_from_slice(bytes);
        message
    };
    // 65,535 answers, of which there is one; two questions; a length of 64 KiB; an address of three bytes.
    for (at, bytes) in [(6, [0xff, 0xff]), (4, [0, 2]), (37, [0xff, 0xff]), (37, [0, 3])] {
        check(&with(at, &bytes), "malformed");
    }
    // A name that points to itself, ahead, outside; a label of a kind that does not exist.
    for pointer in [[0xc0, 27], [0xc0, 28], [0xff, 0xff], [0x80, 1]] {
        check(&with(27, &pointer), "malformed");
    }
    check(&with(12, &[0xc0, 12]), "malformed");
    // Into the header, where a zero is the name of the root.
    check(&with(27, &[0xc0, 0]), "a.example NOERROR");
}

#[test]
fn long_names_are_malformed() {
    let labels = |n: usize| vec!["a".repeat(63); n].join(".");
    check(&answer(&labels(3), A, &[]), &format!("{} NOERROR", labels(3)));
    check(&answer(&labels(4), A, &[]), "malformed");
    // Short on the wire, long as a text.
    let mut message = answer(&labels(2), A, &[]);
    message[13..76].fill(0xff);
    check(&message, "malformed");
    // By pointers: each of them is fine.
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut at = 12 + 2 + 61 + 4 + 10;
    for _ in 0..9 {
        let mut target = vec![60];
        target.extend([b'x'; 60]);
        target.extend([0xc0 | u8::try_from(at >> 8).unwrap(), at as u8]);
        at += target.len() + 12;
        records.push(record(&ASKED, CNAME, 60, &target));
    }
    check(&answer(&"x".repeat(60), A, &records), "malformed");
}

#[test]
fn what_is_no_lookup_is_left_out() {
    let mut update = query("a.example", A);
    update[2] = 5 << 3;
    check(&update, "no lookup: OtherOperation");
    check(&[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "no lookup: Malformed");
    check(b"GET / HTTP/1.1\r\n\r\n", "no lookup: OtherOperation");
}

/// No time is worth measuring here, but none may be without bound: each pointer of the longest chain leads
/// to the one before, and each record to the whole chain.
#[test]
fn pointers_to_pointers_end() {
    let mut message = answer("", A, &[]);
    message[7] = 20;
    let mut last = 12_u16;
    let mut chain: Vec<u8> = Vec::new();
    let begin = message.len() + 10 + 1;
    while begin + chain.len() + 2 < 512 - 20 * 12 {
        chain.extend((0xc000 | last).to_be_bytes());
        last = u16::try_from(begin + chain.len() - 2).unwrap();
    }
    message.extend(record(&[0], 16, 1, &chain));
    for _ in 0..19 {
        message.extend(record(&(0xc000 | last).to_be_bytes(), A, 1, &[192, 0, 2, 1]));
    }
    let want = " 192.0.2.1/1".repeat(19);
    check(&message, &format!(". NOERROR{want}"));
    println!("19 names of {} pointers each in {} bytes", chain.len() / 2, message.len());
}

/// Besides the fuzz target, which has more time.
#[test]
fn no_bytes_break_it() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let records =
        [record(&ASKED, CNAME, 60, &name("b.example")), a(&name("b.example"), 5, 9), a(&ASKED, 5, 1)];
    let whole = answer("a.example", A, &records);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..100_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            bytes[at] = u8::try_from(random(256)).unwrap();
        }
        let line = line(&bytes, bytes.len() + random(2));
        let kind = if line.contains(':') || line == "malformed" { line } else { "read".to_owned() };
        *counts.entry(kind).or_insert(0) += 1;
    }
    println!("{counts:?}");
    assert!(1000 < counts["malformed"] && 1000 < counts["read"], "{counts:?}");
}

fn query(asked: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(name(asked));
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

fn answer(asked: &str, kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = query(asked, kind);
    (message[2], message[3]) = (0x81, 0x80);
    message[7] = u8::try_from(records.len()).unwrap();
    message.extend(records.concat());
    message
}

/// Without compression.
fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|it| !it.is_empty());
    let mut bytes: Vec<u8> =
        labels.flat_map(|it| [&[u8::try_from(it.len()).unwrap()], it.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}

fn a(owner: &[u8], ttl: u32, last: u8) -> Vec<u8> {
    record(owner, A, ttl, &[192, 0, 2, last])
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    [owner, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &len.to_be_bytes(), data].concat()
}

#[track_caller]
fn check(payload: &[u8], want: &str) {
    assert_eq!(line(payload, payload.len()), want);
}

/// A message of `wire_bytes` bytes, of which these were copied.
fn line(payload: &[u8], wire_bytes: usize) -> String {
    let mapped = |ip: [u8; 4]| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets();
    let is_answer = payload.get(2).is_some_and(|it| it & 0x80 != 0);
    let client = (mapped([10, 0, 0, 1]), 40_000);
    let resolver = (mapped([10, 0, 0, 53]), 53);
    let (source, destination) = if is_answer { (resolver, client) } else { (client, resolver) };
    let record = dns::DnsPacket {
        source: source.0,
        source_port: source.1,
        destination: destination.0,
        destination_port: destination.1,
        wire_bytes: u16::try_from(wire_bytes).unwrap(),
        copied_bytes: u16::try_from(payload.len()).unwrap(),
        ..dns::DnsPacket::zeroed()
    };
    let message = match message(&record, payload) {
        Ok(message) => message,
        Err(reason) => return format!("no lookup: {reason:?}"),
    };
    let DnsMessage { client, resolver, id, body, .. } = message;
    assert_eq!(
        (client.port(), resolver.port(), id),
        (40_000, 53, u16::from_be_bytes([payload[0], payload[1]]))
    );
    match body {
        Body::Query(Question { name, kind }) => format!("{client} asks {resolver} {name} {kind}"),
        Body::Answer { question, code, addresses } => {
            let name = question.map_or_else(|| "-".to_owned(), |it| it.name.to_string());
            let addresses: Vec<_> =
                addresses.iter().map(|(ip, ttl)| format!(" {ip}/{}", ttl.as_secs())).collect();
            format!("{name} {}{}", code.name(), addresses.concat())
        }
        Body::Malformed => "malformed".to_owned(),
    }
}
