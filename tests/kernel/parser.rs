//! The parser gives the same answer in the kernel as here: the same frames, cut at each length.

use agent::kernel::Kernel;
use agent_common::{
    counter,
    names::PROG_FROM_WORKLOAD,
    pure::{
        glance::{Plain, glance},
        packet::{self, Refusal, UDP},
    },
};
use tests::{Observer, require_bpf};

const FRAMES: &str = include_str!("../../agent-common/src/pure/packets.txt");

/// The kernel runs no shorter ones: an Ethernet header, and that of the protocol that it names.
fn least_bytes(frame: &[u8]) -> usize {
    if frame[12..14] == [0x86, 0xdd] { 54 } else { 34 }
}

#[test]
fn frames_are_read_alike_in_both_halves() {
    require_bpf!();
    let mut observer = Observer::load();
    let (mut n_frames, mut n_cuts) = (0, 0);
    for (name, frame) in frames() {
        n_frames += 1;
        for len in least_bytes(&frame)..=frame.len() {
            let frame = &frame[..len];
            let here = packet::digest(&packet::parse(&frame, 0));
            let there =
                observer.kernel.parse(frame).unwrap_or_else(|error| panic!("{name}, {len}: {error:?}"));
            assert_eq!(there.returned, here, "{name}, {len} bytes: {:?}", packet::parse(&frame, 0));
            n_cuts += 1;
        }
    }
    println!("{n_frames} frames at {n_cuts} lengths");
}

/// The program that counts says so of each that it does not count.
#[test]
fn each_refusal_is_counted() {
    require_bpf!();
    let mut observer = Observer::load();
    // Some frames are messages of DNS, which are copied, or would be if they were whole.
    let counters = |kernel: &Kernel| {
        let mut counters = kernel.counters();
        for slot in [counter::EVENTS_SUBMITTED, counter::DNS_SHORT] {
            counters[slot as usize] = 0;
        }
        counters
    };
    let mut refused = [0; 6];
    for (name, frame) in frames() {
        let before = counters(&observer.kernel);
        let (flows_before, _) = flows(&mut observer);
        observer.kernel.run(PROG_FROM_WORKLOAD, &frame, 1).unwrap();
        let after = counters(&observer.kernel);
        let (flows_after, bytes) = flows(&mut observer);
        match packet::parse(&&frame[..], 0) {
            // Nobody looks further at what is TCP at a glance.
            Err(_) if matches!(glance(&&frame[..]), Plain::Tcp(_)) => assert_eq!(after, before, "{name}"),
            Err(refusal) => {
                let slot = refusal.counter() as usize;
                assert_eq!(after[slot], before[slot] + 1, "{name}");
                refused[refusal as usize] += 1;
                assert_eq!(flows_after, flows_before, "{name}");
            }
            Ok(headers) => {
                assert_eq!(after, before, "{name}");
                let want = flows_before + u64::from(headers.protocol == UDP);
                assert_eq!(flows_after, want, "{name}: {bytes} bytes");
            }
        }
    }
    assert!(refused.iter().all(|it| 0 < *it), "{refused:?}");
    let slots = [Refusal::Short, Refusal::Ethertype, Refusal::Tags].map(Refusal::counter);
    assert_eq!(slots, [counter::PACKET_SHORT, counter::PACKET_OTHER, counter::PACKET_TAGS]);
    println!("{refused:?} refused");
}

/// Packets and payload that were ever counted.
fn flows(observer: &mut Observer) -> (u64, u64) {
    let totals = observer.kernel.flows(|_| ()).unwrap().unwrap();
    (totals.packets, totals.bytes)
}

fn frames() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    FRAMES.lines().filter(|it| !it.starts_with('#')).map(|line| {
        let [name, _, hex] = line.split(" | ").collect::<Vec<_>>()[..] else { panic!("{line}") };
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (name, (0..hex.len()).step_by(2).map(byte).collect())
    })
}
