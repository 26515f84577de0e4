#![no_main]

use agent_common::pure::{
    glance::{Plain, bytes_of, glance},
    packet::{TCP, UDP, digest, parse},
};
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
        match glance(&frame) {
            _ if tags % 3 != 0 => {}
            Plain::Tcp(it) => assert_eq!((headers.protocol, headers.flags), (TCP, it.flags)),
            Plain::Udp(it) => {
                let (source, destination) = (bytes_of(it.source), bytes_of(it.destination));
                assert_eq!(
                    (headers.protocol, headers.source, headers.destination),
                    (UDP, source, destination)
                );
                assert_eq!((headers.payload_at, headers.end), (it.payload_at, it.end));
            }
            Plain::Unsaid => {}
        }
    }
});
