//! The kernel half. Reading order: `maps`, `gate`, `read`, `emit`, then any file under `probes`.
//!
//! It reports and never decides; it never blocks and never drops a packet.
#![no_std]
#![no_main]
#![expect(internal_features, reason = "BPF has atomic add, but core has no stable name for it there")]
#![feature(core_intrinsics)]

mod emit;
mod gate;
mod maps;
mod probes;
mod read;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: a program with a path to here loops, and the verifier refuses it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
