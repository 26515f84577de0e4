#![no_main]

use agent::kernel::Btf;
use libfuzzer_sys::fuzz_target;

// Names of one letter are found within a minute.
fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes) else {
        return;
    };
    for path in ["a.b", "a.b.c", "b.a.a.a"] {
        if let Some(offset) = btf.offset(path) {
            assert!(offset <= u32::MAX / 8, "{path} is at {offset}");
        }
    }
    btf.enumerator("a", "b");
    btf.arguments("a");
});
