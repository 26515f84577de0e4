//! Protobuf by hand, for spans alone: they are many, and as structs each costs dozens of allocations.
//!
//! Fields are written in the order of their numbers, so that the bytes are those that prost would make.

use prost::Message;

/// Wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;
const MAX_VARINT_BYTES: usize = 10;

/// Strings as well. Written even when empty: who wants the default leaves it out.
pub(super) fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

pub(super) fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

pub(super) fn fixed_64(out: &mut Vec<u8>, field: u64, value: u64) {
    key(out, field, FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn fixed_32(out: &mut Vec<u8>, field: u64, value: u32) {
    key(out, field, FIXED_32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// What `write` writes, as a message. Nearly all lengths fit into one byte.
pub(super) fn message(out: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    guessed::<1>(out, field, write);
}

/// The same, for messages whose length mostly takes two bytes: 128 to 16,383.
pub(super) fn long_message(out: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    guessed::<2>(out, field, write);
}

/// Keeps `N` bytes free for the length. If it takes another number of them, the message is moved, which
/// is cheaper than computing its length beforehand.
fn guessed<const N: usize>(out: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, LENGTH_DELIMITED);
    let place = out.len();
    out.extend_from_slice(&[0; N]);
    write(out);
    let mut length = out.len() - place - N;
    let mut bytes = [0; MAX_VARINT_BYTES];
    let mut n_bytes = 0;
    while 0x80 <= length {
        bytes[n_bytes] = length as u8 | 0x80;
        length >>= 7;
        n_bytes += 1;
    }
    bytes[n_bytes] = length as u8;
    let bytes = &bytes[..=n_bytes];
    if bytes.len() == N {
        out[place..place + N].copy_from_slice(bytes);
    } else {
        out.splice(place..place + N, bytes.iter().copied());
    }
}

pub(super) fn prost(out: &mut Vec<u8>, field: u64, value: &impl Message) {
    key(out, field, LENGTH_DELIMITED);
    varint(out, value.encoded_len() as u64);
    value.encode_raw(out);
}

fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while 0x80 <= value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        resource::v1::Resource,
        trace::v1::{Span, Status},
    };

    use super::*;

    #[test]
    fn prost_reads_what_we_write() {
        for n in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let text = "x".repeat(usize::try_from(n).unwrap_or(0).min(20_000));
            let mut out = Vec::new();
            bytes(&mut out, 5, text.as_bytes());
            fixed_64(&mut out, 7, n);
            number(&mut out, 10, n & 0xffff_ffff);
            message(&mut out, 15, |out| bytes(out, 2, text.as_bytes()));
            fixed_32(&mut out, 16, n as u32);
            let span = Span::decode(&out[..]).unwrap();
            let status = Some(Status { message: text.clone(), ..Status::default() });
            let dropped_attributes_count = n as u32;
            let want = Span {
                name: text,
                start_time_unix_nano: n,
                dropped_attributes_count,
                status,
                flags: n as u32,
                ..Span::default()
            };
            assert_eq!(span, want);
        }
    }

    #[test]
    fn a_wrong_guess_of_a_length_is_put_right() {
        for n in [0, 1, 120, 127, 128, 16_000, 16_383, 16_384] {
            let write = |out: &mut Vec<u8>| bytes(out, 2, &vec![b'x'; n]);
            let (mut short, mut long) = (Vec::new(), Vec::new());
            message(&mut short, 15, write);
            long_message(&mut long, 15, write);
            assert_eq!(short, long, "{n}");
        }
    }

    #[test]
    fn messages_of_prost_are_nested() {
        let resource = Resource { dropped_attributes_count: 300, ..Resource::default() };
        let mut out = Vec::new();
        prost(&mut out, 1, &resource);
        let mut want = Vec::new();
        message(&mut want, 1, |out| number(out, 2, 300));
        assert_eq!(out, want);
    }
}
