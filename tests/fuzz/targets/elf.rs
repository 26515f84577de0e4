#![no_main]

use agent::targets::golang::GoBinary;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(binary) = GoBinary::parse(bytes) else {
        return;
    };
    for point in binary.points {
        assert!(point.file_offset < bytes.len() as u64, "{point:?} is outside of the file");
    }
});
