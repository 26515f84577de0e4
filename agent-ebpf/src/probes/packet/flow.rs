//! UDP flows: how much, and whose socket it was.

use agent_common::{
    Wire as _, counter,
    event::udp::{FlowCount, FlowKey, place},
    limits::NEW_FLOWS_PER_SECOND,
    pure::{
        glance::{PlainUdp, bytes_of},
        packet::{Fragment, Headers, UDP},
    },
};

use super::budget;
use crate::{
    emit,
    maps::{FLOW_TOTALS, FLOWS, NEW_FLOW},
};

/// What the headers do not tell.
pub(super) struct Packet {
    pub(super) frame_bytes: u32,
    pub(super) segments: u32,
    pub(super) ifindex: u32,
}

/// A packet's flow, and how much of it the packet is.
pub(super) struct Flow {
    pub(super) key: FlowKey,
    bytes: u32,
    /// Its sender's socket is a part of the key.
    is_of_socket: bool,
}

impl Flow {
    #[inline(always)]
    pub(super) fn new(headers: &Headers, place: u8, frame_bytes: u32) -> Self {
        let key = FlowKey {
            source: headers.source,
            destination: headers.destination,
            source_port: headers.source_port,
            destination_port: headers.destination_port,
            protocol: headers.protocol,
            place,
            socket: 0,
        };
        let is_of_socket = headers.fragment == Fragment::Later;
        Self { key, bytes: headers.payload_bytes(frame_bytes), is_of_socket }
    }

    #[inline(always)]
    pub(super) fn plain(datagram: &PlainUdp, place: u8, frame_bytes: u32) -> Self {
        let key = FlowKey {
            source: bytes_of(datagram.source),
            destination: bytes_of(datagram.destination),
            source_port: datagram.source_port,
            destination_port: datagram.destination_port,
            protocol: UDP,
            place,
            socket: 0,
        };
        Self { key, bytes: datagram.payload_bytes(frame_bytes), is_of_socket: false }
    }
}

/// Adds a packet to its flow. `cookie`: the sender's socket, or 0.
#[inline(always)]
pub(super) fn count(flow: &Flow, packet: &Packet, cookie: u64, cgroup_id: impl FnOnce() -> u64) {
    let Flow { mut key, bytes, is_of_socket } = *flow;
    if is_of_socket {
        key.socket = cookie as u16;
    }
    // By reference all the way: a copy is made byte by byte.
    let key = &key;
    let bytes = u64::from(bytes);
    let packets = u64::from(packet.segments);
    let kept = match FLOWS.get_ptr_mut(key) {
        Some(kept) => kept,
        None if key.place == place::FROM_OUTSIDE && !budget::spend(budget::FLOWS, NEW_FLOWS_PER_SECOND) => {
            return emit::add(counter::FLOW_THROTTLED);
        }
        None => {
            insert(key, packet.ifindex, cgroup_id());
            match FLOWS.get_ptr_mut(key) {
                Some(kept) => kept,
                None => return emit::add(counter::FLOW_NOT_KEPT),
            }
        }
    };
    // SAFETY: the entry stays readable while the program runs, even when it is evicted meanwhile.
    let (to_bytes, to_packets) = unsafe { (&raw mut (*kept).bytes, &raw mut (*kept).packets) };
    emit::atomic_add(to_bytes, bytes);
    emit::atomic_add(to_packets, packets);
    // SAFETY: as above; of two sockets that send at once either may be the last.
    unsafe { (*kept).cookie = cookie };
    if let Some(totals) = FLOW_TOTALS.get_ptr_mut(0) {
        // Programs of packets do not nest on a CPU.
        //
        // SAFETY: the entry stays valid while the program runs, and is this CPU's.
        let totals = unsafe { &mut *totals };
        totals.bytes += bytes;
        totals.packets += packets;
    }
}

/// Refused, it is there by now, from another CPU, or there is no room. The value is too large for the stack.
#[inline(always)]
fn insert(key: &FlowKey, ifindex: u32, cgroup_id: u64) {
    const IF_ABSENT: u64 = 1;
    let (Some(new), Some(totals)) = (NEW_FLOW.get_ptr_mut(0), FLOW_TOTALS.get_ptr_mut(0)) else {
        return;
    };
    // SAFETY: the entry stays valid while the program runs, and is this CPU's.
    let new = unsafe { &mut *new };
    new.clear();
    (new.first_ktime_ns, new.cgroup_id, new.ifindex) = (emit::now(), cgroup_id, ifindex);
    let new: &FlowCount = new;
    if FLOWS.insert(key, new, IF_ABSENT).is_ok() {
        // SAFETY: as in `count`.
        unsafe { (*totals).flows += 1 };
    }
}
