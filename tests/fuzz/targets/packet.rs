#![no_main]

use agent_common::pure::packet::{digest, parse, plain_tcp_flags};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((tags, frame)) = bytes.split_first() else {
        return;
    };
    let answer = parse(&frame, usize::from(tags % 3));
    assert_eq!(digest(&answer) >> 31 == 1, answer.is_ok());
    if let Ok(headers) = answer {
        let n_bytes = u32::try_from(frame.len()).expect("libFuzzer's inputs are small");
        assert!(headers.payload_bytes(n_bytes) <= n_bytes);
        if let (0, Some(flags)) = (tags % 3, plain_tcp_flags(&frame)) {
            assert_eq!(headers.flags, flags);
        }
    }
});
