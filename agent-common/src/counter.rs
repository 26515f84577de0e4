//! Slots of the per-CPU counter array. The kernel half only adds; the user half sums over CPUs.
//!
//! One table makes the slots, their names in metrics and their documentation.

macro_rules! counters {
    ($( $(#[doc = $doc:literal])* $slot:ident = $index:literal, $kind:ident, $name:literal; )*) => {
        $( $(#[doc = $doc])* pub const $slot: u32 = $index; )*

        /// All slots, in order.
        pub const TABLE: &[Counter] = &[ $(
            Counter { slot: $index, kind: counters!(@$kind), name: $name, doc: concat!($($doc),*) },
        )* ];
    };
    (@lost) => { Kind::Lost };
    (@seen) => { Kind::Seen };
}

/// A slot.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    pub slot: u32,
    pub kind: Kind,
    /// Of a loss: the `reason` in the agent's metrics.
    pub name: &'static str,
    pub doc: &'static str,
}

/// What a slot counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that should have been reported and was not, or not whole.
    Lost,
    /// Something that is as it should be.
    Seen,
}

counters! {
    /// Records that went into the ring.
    EVENTS_SUBMITTED = 0, seen, "submitted";
    /// Process records that found the ring full.
    PROC_RING_FULL = 1, lost, "proc_ring_full";
    /// Socket records that found the ring full.
    SOCK_RING_FULL = 2, lost, "sock_ring_full";
    /// Packet records that found the ring full.
    PACKET_RING_FULL = 3, lost, "packet_ring_full";
    /// Request records that found the ring full.
    HTTP_RING_FULL = 4, lost, "http_ring_full";
    /// Sockets for which the kernel gave no storage.
    SOCK_NO_STORAGE = 5, lost, "sock_no_storage";
    /// Reads of kernel memory that failed.
    KERNEL_READ_FAILED = 6, lost, "kernel_read_failed";
    /// Reads of a target's memory that failed.
    USER_READ_FAILED = 7, lost, "user_read_failed";
    /// Ends of requests whose begin was not seen: attached in mid-request, or evicted.
    HTTP_END_WITHOUT_BEGIN = 8, lost, "http_end_without_begin";
    /// Requests that could not be kept because the map refused them.
    HTTP_NOT_KEPT = 9, lost, "http_not_kept";
    /// Connections that are neither TCP nor TLS over TCP: no identity, not joined.
    HTTP_NO_IDENTITY = 10, lost, "http_no_identity";
    /// Client calls that went over HTTP/2 and are not seen as spans, because a probe of those is refused.
    HTTP2_CALLS = 11, seen, "http2_calls";
    /// Packets too short for their headers.
    PACKET_SHORT = 12, lost, "packet_short";
    /// Packets of another network protocol than IP.
    PACKET_OTHER = 13, seen, "packet_other";
    /// Fragments after the first, which carry no ports.
    PACKET_FRAGMENT = 14, seen, "packet_fragment";
    /// Remote addresses whose SYN was seen for the first time.
    PACKET_NEW_PEERS = 15, seen, "new_peers";
    /// SYNs and RSTs of peers that were not remembered, because too many new ones came within a second.
    PACKET_THROTTLED = 16, lost, "packet_throttled";
    /// Requests that came over HTTP/2 and are not seen as spans, because a probe of those is refused or the version of
    /// golang.org/x/net is not known.
    HTTP2_SERVED = 17, seen, "http2_served";
    /// Retransmits and time-outs that found the ring full. Their counts are in the sockets all the same.
    FAULT_RING_FULL = 18, lost, "fault_ring_full";
    /// Retransmits and time-outs of sockets that have no storage: on no edge.
    FAULT_NO_STORAGE = 19, lost, "fault_no_storage";
    /// Packets with more VLAN tags than are looked behind.
    PACKET_TAGS = 20, lost, "packet_tags";
    /// Packets with a header that contradicts itself.
    PACKET_HEADER = 21, lost, "packet_header";
    /// Packets with more IPv6 extension headers than are looked behind.
    PACKET_EXTENSIONS = 22, lost, "packet_extensions";
    /// Packets of another transport than TCP, UDP and ICMP.
    PACKET_PROTOCOL = 23, seen, "packet_protocol";
    /// Packets of tunnels that came in: what is inside is counted where it comes out.
    PACKET_TUNNEL = 24, seen, "packet_tunnel";
    /// Packets whose headers the kernel had to put in one piece first.
    PACKET_PULLED = 25, seen, "packet_pulled";
    /// UDP packets whose flow the map did not take.
    FLOW_NOT_KEPT = 26, lost, "flow_not_kept";
    /// Records of owners of UDP sockets that found the ring full.
    UDP_RING_FULL = 27, lost, "udp_ring_full";
    /// UDP sockets for which the kernel gave no storage.
    UDP_NO_STORAGE = 28, lost, "udp_no_storage";
    /// UDP packets from outside whose flow was not counted, because too many new ones came within a second.
    FLOW_THROTTLED = 29, lost, "flow_throttled";
    /// DNS messages that found the ring full.
    DNS_RING_FULL = 30, lost, "dns_ring_full";
    /// DNS messages that were not copied, because too many came within a second.
    DNS_THROTTLED = 31, lost, "dns_throttled";
    /// DNS messages that were shorter than their UDP header says.
    DNS_SHORT = 32, lost, "dns_short";
    /// Segments of DNS over TCP that were not read to their end: they do not begin with a message, or not with all of
    /// it that is copied, or more than one is in them.
    DNS_TCP_NOT_READ = 33, lost, "dns_tcp_not_read";
    /// Statement records that found the ring full.
    SQL_RING_FULL = 34, lost, "sql_ring_full";
    /// Ends of statements whose begin was not seen: attached in mid-statement, evicted, or tried again by a prepared one.
    SQL_END_WITHOUT_BEGIN = 35, lost, "sql_end_without_begin";
    /// Statements that could not be kept because the map refused them.
    SQL_NOT_KEPT = 36, lost, "sql_not_kept";
    /// Statements that had no end when their goroutine began another: the driver panicked, or was never asked.
    SQL_NOT_ENDED = 37, lost, "sql_not_ended";
    /// gRPC calls that were served by HTTP/2 of net/http: they are its requests.
    GRPC_OTHER_TRANSPORT = 38, seen, "grpc_other_transport";
    /// Names of gRPC methods that were longer than what is copied, and cut.
    GRPC_METHOD_CUT = 39, lost, "grpc_method_cut";
}

/// Of the array, with room for more.
pub const SLOTS: usize = 64;

/// All slots: on one CPU, or summed over all of them.
pub type Counters = [u64; SLOTS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_dense_and_fit() {
        for (n, counter) in TABLE.iter().enumerate() {
            assert_eq!(counter.slot as usize, n, "{}", counter.name);
            assert!(!counter.doc.is_empty(), "{}", counter.name);
        }
        assert!(TABLE.len() <= SLOTS);
    }
}
