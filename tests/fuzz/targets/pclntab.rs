#![no_main]

use agent::targets::golang::pclntab::Pclntab;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = Pclntab::parse(bytes) else {
        return;
    };
    // One entry takes eight bytes: a table cannot hold more functions than that.
    assert!(table.functions().count() <= bytes.len() / 8);
    table.text_size();
});
