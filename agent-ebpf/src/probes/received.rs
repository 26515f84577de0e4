//! Who reads from a socket. Every recv() of every socket passes here, so it is one program for all of them.

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use super::{
    sock::{self, IPPROTO_TCP, IPPROTO_UDP, internet_protocol},
    udp,
};

/// After the call: of TCP those that copied data, of UDP whatever came of it.
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_received(ctx: BtfTracePointContext) -> i32 {
    let sk: *mut c_void = ctx.arg(0);
    let n_bytes: i32 = ctx.arg(1);
    match internet_protocol(sk) {
        IPPROTO_TCP if 0 < n_bytes => sock::reads(sk),
        IPPROTO_UDP => udp::received(sk),
        _ => {}
    }
    0
}
