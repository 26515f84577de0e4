//! Method tables in a target's memory: here that of this very process, in which the input lies.

#![no_main]

use agent::targets::{
    golang::{GoVersion, find_itabs},
    memory::TargetMemory,
};
use libfuzzer_sys::fuzz_target;

/// As far as the module data is read.
const LEAST_WORDS: usize = 64;
const MAX_ITABS: usize = 20_000;

fuzz_target!(|bytes: &[u8]| {
    let Some((layout, words)) = bytes.split_first() else {
        return;
    };
    let mut image: Vec<u64> =
        words.chunks_exact(8).map(|it| u64::from_le_bytes(it.try_into().expect("8 bytes"))).collect();
    if image.len() < LEAST_WORDS {
        return;
    }
    let (base, n_bytes) = (image.as_ptr() as u64, image.len() as u64 * 8);
    // What could be an offset of a word becomes its address: else no pointer would ever lead anywhere.
    for word in image.iter_mut().filter(|it| **it < n_bytes && it.is_multiple_of(8)) {
        *word += base;
    }
    let raw = ["go1.21.13", "go1.26.8", "go1.27.4"][usize::from(layout % 3)];
    let version = GoVersion::parse(raw).expect("it is one");
    let memory = TargetMemory::new(std::process::id()).expect("the process runs");
    if let Ok(found) = find_itabs(&memory, base, &version) {
        assert!(found.conns.tcp.len() + found.conns.tls.len() <= MAX_ITABS);
    }
});
