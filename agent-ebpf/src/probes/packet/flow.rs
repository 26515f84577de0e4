//! UDP flows: how much, and whose socket it was.

use agent_common::{
    Wire as _, counter,
    event::udp::{FlowCount, FlowKey, place},
    limits::NEW_FLOWS_PER_SECOND,
    pure::packet::{Fragment, Headers},
};

use super::budget;
use crate::{
    emit,
    maps::{FLOW_TOTALS, FLOWS},
};

/// What the headers do not tell.
pub(super) struct Packet {
    pub(super) frame_bytes: u32,
    pub(super) segments: u32,
    pub(super) ifindex: u32,
}

/// Adds a packet to its flow. `cookie`: the sender's socket, or 0.
#[inline(always)]
pub(super) fn count(
    headers: &Headers,
    place: u8,
    packet: &Packet,
    cookie: u64,
    cgroup_id: impl FnOnce() -> u64,
) {
    let key = FlowKey {
        source: headers.source,
        destination: headers.destination,
        source_port: headers.source_port,
        destination_port: headers.destination_port,
        protocol: headers.protocol,
        place,
        socket: if headers.fragment == Fragment::Later { cookie as u16 } else { 0 },
    };
    let bytes = u64::from(headers.payload_bytes(packet.frame_bytes));
    let packets = u64::from(packet.segments);
    let flow = match FLOWS.get_ptr_mut(key) {
        Some(flow) => flow,
        None if place == place::FROM_OUTSIDE && !budget::spend(budget::FLOWS, NEW_FLOWS_PER_SECOND) => {
            return emit::add(counter::FLOW_THROTTLED);
        }
        None => {
            insert(key, packet.ifindex, cgroup_id());
            match FLOWS.get_ptr_mut(key) {
                Some(flow) => flow,
                None => return emit::add(counter::FLOW_NOT_KEPT),
            }
        }
    };
    // SAFETY: the entry stays readable while the program runs, even when it is evicted meanwhile.
    let (to_bytes, to_packets) = unsafe { (&raw mut (*flow).bytes, &raw mut (*flow).packets) };
    emit::atomic_add(to_bytes, bytes);
    emit::atomic_add(to_packets, packets);
    // SAFETY: as above; of two sockets that send at once either may be the last.
    unsafe { (*flow).cookie = cookie };
    if let Some(totals) = FLOW_TOTALS.get_ptr_mut(0) {
        // Programs of packets do not nest on a CPU.
        //
        // SAFETY: the entry stays valid while the program runs, and is this CPU's.
        let totals = unsafe { &mut *totals };
        totals.bytes += bytes;
        totals.packets += packets;
    }
}

/// Refused, it is there by now, from another CPU, or there is no room.
#[inline(always)]
fn insert(key: FlowKey, ifindex: u32, cgroup_id: u64) {
    const IF_ABSENT: u64 = 1;
    let new = FlowCount { first_ktime_ns: emit::now(), cgroup_id, ifindex, ..FlowCount::zeroed() };
    if FLOWS.insert(key, new, IF_ABSENT).is_ok()
        && let Some(totals) = FLOW_TOTALS.get_ptr_mut(0)
    {
        // SAFETY: as in `count`.
        unsafe { (*totals).flows += 1 };
    }
}
