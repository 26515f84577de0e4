#![no_main]

use agent::targets::golang::{GoVersion, buildinfo};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(text) = buildinfo::version_text(bytes) else {
        return;
    };
    if let Some(version) = GoVersion::parse(text) {
        assert_eq!(version.raw, text);
    }
});
