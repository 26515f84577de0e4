//! Records of the ring: whatever the bytes are, an event or an error.

#![no_main]

use agent_common::event::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _event = decode(bytes);
});
