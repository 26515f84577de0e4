//! More UDP flows than there is room for: what was not read is known to the byte.

use std::net::{SocketAddr, UdpSocket};

use agent::{kernel::Options, vitals::Vital};
use agent_common::event::udp::{FlowRow, FlowTotals};
use tests::{Assembled, Observer, Pods, pods::POD_B, require_admin, require_bpf};

const ROOM: u32 = 1024;
const FLOWS: u64 = 10_000;

#[test]
fn what_is_read_and_what_is_not_are_all() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    let mut observer = Observer::with(Options { flow_entries: ROOM, ..Options::default() });
    let _hooks = pods.hook(&mut observer);
    let mut assembled = Assembled::new(&[]);
    let (mut sent_bytes, mut sent_packets) = (0, 0);
    // Read now and then, as the agent does; in between flows come and go unseen.
    for part in 0..5 {
        pods.a.inside(|| {
            for n in 0..FLOWS / 5 {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                let port = 1000 + u16::try_from(part * (FLOWS / 5) + n).unwrap();
                for size in [1 + n as usize % 1000, 7] {
                    sent_bytes +=
                        socket.send_to(&vec![0; size], SocketAddr::from((POD_B, port))).unwrap() as u64;
                    sent_packets += 1;
                }
            }
        });
        assembled.take(&mut observer, &[]);
    }
    let (rows, totals) = flows(&mut observer);
    let (read, unread) = (assembled.vital(Vital::UdpBytes), assembled.vital(Vital::UdpBytesUnread));
    // Each packet is met twice: at its sender, and at the door of the pod that it is for.
    assert_eq!((totals.bytes, totals.packets), (sent_bytes * 2, sent_packets * 2));
    assert_eq!(read, totals.bytes);
    assert!(rows.len() <= ROOM as usize, "{}", rows.len());
    assert!(totals.bytes / 2 < unread && unread < totals.bytes, "{unread} of {}", totals.bytes);
    let followed = assembled.vital(Vital::UdpBytesRead);
    assert_eq!(followed + unread, totals.bytes);
    println!(
        "{} flows, room for {ROOM}, {} there: {followed} bytes read + {unread} unread = {}",
        totals.flows,
        rows.len(),
        totals.bytes
    );
}

#[track_caller]
fn flows(observer: &mut Observer) -> (Vec<FlowRow>, FlowTotals) {
    let mut rows = Vec::new();
    let totals = observer.kernel.flows(|row| rows.push(row)).unwrap().unwrap();
    (rows, totals)
}
