//! Method and URI of a request: neighbours in Go's memory, so mostly one read for both.

use core::mem::offset_of;

use agent_common::{
    event::http::Call,
    limits::{METHOD_BYTES, PATH_BYTES},
};

use super::front::Front;
use crate::read::{self, GoString};

// One read writes into both.
const _: () = assert!(offset_of!(Call, method) + METHOD_BYTES == offset_of!(Call, path));

/// As the server parses it, the method ends one space before the URI (`parseRequestLine`,
/// net/http/request.go:1027, go1.26); what a handler before ours has put there is read on its own.
#[inline(always)]
pub(super) fn read<const WORDS: usize>(call: &mut Call, request: &Front<WORDS>, method_at: u16, uri_at: u16) {
    let method = request.field::<GoString>(method_at);
    let uri = request.field::<GoString>(uri_at);
    let (Some(method), Some(uri)) = (method, uri) else {
        return;
    };
    let [at, len] = method;
    if uri[0] == at + len + 1 && 0 < len && len < METHOD_BYTES as u64 {
        return together(call, at, len, uri[1]);
    }
    call.method_len = read::go_string(method, &mut call.method);
    call.path_len = read::go_string(uri, &mut call.path);
}

/// The URI where it belongs, the method before it; that moves to the left afterwards.
#[inline(always)]
fn together(call: &mut Call, at: u64, method_len: u64, uri_len: u64) {
    let uri_len = if uri_len > PATH_BYTES as u64 { PATH_BYTES as u64 } else { uri_len };
    let skipped = METHOD_BYTES as u64 - 1 - method_len;
    let first = call.method.as_mut_ptr().wrapping_add(skipped as usize);
    if !read::user_bytes(first, method_len + 1 + uri_len, at) {
        return;
    }
    let word = u64::from_le_bytes(call.method) >> (8 * skipped);
    call.method = (word & !(u64::MAX << (8 * method_len))).to_le_bytes();
    call.method_len = method_len as u8;
    call.path_len = uri_len as u8;
}
