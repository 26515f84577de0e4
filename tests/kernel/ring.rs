//! Loss is a number: what does not fit into the ring is counted, what fits arrives.

use agent_common::counter::{
    EVENTS_SUBMITTED, HTTP_RING_FULL, PACKET_RING_FULL, PROC_RING_FULL, SOCK_RING_FULL,
};
use tests::{Observer, Target, eventually, paths::built, require_bpf};

const CONNECTIONS: usize = 500;

#[test]
fn a_full_ring_is_counted() {
    require_bpf!();
    let server = Target::spawn(built("prefork"), ["-q", "-w", "4", "-l", "127.0.0.1:0"]);
    let at = server.address();
    let mut client = Target::spawn(built("target-conn"), [""; 0]);
    // They see the same, but what others on this machine do between two lines here.
    let mut large = Observer::load();
    let mut small = Observer::with_ring(4096);
    assert_eq!(client.ask(&format!("short {CONNECTIONS} {at}"))["done"], CONNECTIONS);

    large.closed(2 * CONNECTIONS, at.port());
    let made = small.counter(EVENTS_SUBMITTED) + lost(&small);
    let drained = drain(&mut large);
    let lost_here = small.counter(SOCK_RING_FULL);
    assert!(2 * CONNECTIONS as u64 <= made && made <= drained, "{made} of {drained}");
    assert_eq!(lost(&large), 0);
    assert!(0 < lost_here, "4096 bytes cannot hold {CONNECTIONS} records");
    let drained_here = drain(&mut small);
    println!("made {made}: lost {lost_here}, drained {drained_here}; without loss {drained}");
}

/// All that was submitted comes out.
#[track_caller]
fn drain(observer: &mut Observer) -> u64 {
    // Others on this machine open connections, too.
    eventually("as many records as were submitted", || {
        observer.drain();
        let drained = observer.events.len() as u64;
        (observer.counter(EVENTS_SUBMITTED) == drained).then_some(drained)
    })
}

/// Records of every kind that found no room.
fn lost(observer: &Observer) -> u64 {
    let slots = [PROC_RING_FULL, SOCK_RING_FULL, PACKET_RING_FULL, HTTP_RING_FULL];
    slots.into_iter().map(|it| observer.counter(it)).sum()
}
