//! taskscope's own numbers and the heartbeats of its parts.
//!
//! A number has one name, here. The parts add; `query` and `export` read.

#[cfg(test)]
mod document;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::{self, Ktime};

macro_rules! vitals {
    ($( $(#[doc = $doc:literal])* $vital:ident => $kind:ident($name:literal); )*) => {
        /// A number of the agent itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Vital { $( $(#[doc = $doc])* $vital, )* }

        impl Vital {
            pub const ALL: &[Self] = &[ $( Self::$vital, )* ];

            /// What it is: something made, something lost for a reason, or a level.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self { $( Self::$vital => Kind::$kind($name), )* }
            }

            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $( Self::$vital => concat!($($doc),*), )* }
            }
        }
    };
}

/// The kind of a [`Vital`], with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `taskscope_<name>_total`.
    Total(&'static str),
    /// `taskscope_lost_total{reason="<name>"}`: each thing that was made and not delivered.
    Lost(&'static str),
    /// `taskscope_<name>`: may fall.
    Level(&'static str),
}

vitals! {
    /// Records that the drain took from the ring.
    EventsDrained => Total("events_drained");
    /// Records that reached the state.
    EventsAssembled => Total("events_assembled");
    /// Records that were no records.
    EventsUndecodable => Lost("undecodable");
    /// Records that contradict themselves: requests that cannot be, packets of no kind.
    RecordsContradictory => Lost("contradictory");
    /// Records that found the queue to the state full.
    EventsQueueFull => Lost("state_queue_full");
    /// Hits of tracepoints that the kernel left out, because they came while the same program was running on that CPU.
    ProgramsSkipped => Lost("program_skipped");
    /// Rows of socket dumps.
    SocketRows => Total("socket_rows");
    /// Sockets that vanished between two dumps without a record of their end.
    SocketsVanished => Lost("socket_end_not_seen");
    /// Sockets that were not followed because too many were open. Counted when they close.
    SocketsNotFollowed => Lost("too_many_sockets");
    /// Sightings of addresses of this node that were not kept because there are too many.
    AddressesNotKept => Lost("too_many_addresses");
    /// Times that a process was met and not taken in because too many live.
    ProcessesNotKnown => Lost("too_many_processes");
    /// Edges that were folded into a wider address because there were too many.
    EdgesFolded => Lost("edges_folded");
    /// Connections whose two ends were joined by their sequence numbers although an address is translated between them.
    NatBySequence => Total("nat_resolved_by_sequence");
    /// Connections whose server connection tracking named: it is behind the address that the client used. With what goes to and fro over UDP, and with both ends of those that are older than the agent.
    NatByConntrack => Total("nat_resolved_by_conntrack");
    /// Connections of which nobody knows whether their server is the address that the client used, with what goes to and fro over UDP. Without connection tracking on the node that is every one to outside.
    NatUnresolved => Total("nat_unresolved");
    /// Connections, and connects that failed, whose server was not asked for, or not told in time, because too many were.
    ServersNotAsked => Lost("servers_not_asked");
    /// Sightings of what stands still that were not told because there is too much of it.
    StandstillsNotKept => Lost("too_many_standstills");
    /// Answers whose times were not kept because too many processes ask too many servers.
    AnswersNotKept => Lost("too_many_answers");
    /// Remote addresses seen by the packet program for the first time.
    PeersSeen => Total("peers_seen");
    /// SYNs from outside to ports that no socket of this host listens on.
    SynsUnanswered => Total("syns_unanswered");
    /// Client calls over HTTP/2 that are not seen as spans: a probe is refused, or attached only now.
    Http2Calls => Total("http2_calls");
    /// Requests served over HTTP/2 that are not seen as spans: a probe is refused, or attached only now.
    Http2Served => Total("http2_served");
    /// gRPC calls that were served by HTTP/2 of net/http: they are its requests.
    GrpcOverHttp2 => Total("grpc_over_http2");
    /// Packets that are not looked at: of other protocols, and fragments of TCP after the first.
    PacketsOther => Total("packets_other");
    /// Packets of tunnels that came in; what is inside is counted where it comes out.
    PacketsTunnel => Total("packets_tunnel");
    /// Packets whose headers the kernel had to put in one piece first.
    PacketsPulled => Total("packets_pulled");
    /// UDP flows that were counted, one way each.
    UdpFlows => Total("udp_flows");
    /// Payload of UDP flows that was counted.
    UdpBytes => Total("udp_bytes");
    /// Payload of UDP flows that was read.
    UdpBytesRead => Total("udp_bytes_read");
    /// Payload of UDP flows that was counted, and let go before it was read because there were too many flows.
    UdpBytesUnread => Lost("udp_bytes_unread");
    /// Sightings of UDP flows that were not followed because there are too many.
    UdpFlowsNotFollowed => Lost("too_many_udp_flows");
    /// Sightings of UDP sockets whose owners were not kept because there are too many.
    UdpSocketsNotKept => Lost("too_many_udp_sockets");
    /// Interfaces with a packet program.
    Interfaces => Level("interfaces");
    /// Interfaces of a kind that is not known or not supported, where nothing is attached.
    InterfacesUnknown => Level("interfaces_unknown");
    /// Interfaces where programs of others are before ours: packets that they do not hand on are not seen.
    InterfacesBehind => Level("interfaces_behind");
    /// Interfaces with filters of clsact, of which empty ones stay after a SIGKILL.
    InterfacesClsact => Level("interfaces_clsact");
    /// Interfaces that went away before a packet program was attached.
    InterfacesVanished => Total("interfaces_vanished");
    /// What the kernel said of interfaces and could not be read.
    LinkMessagesUnreadable => Lost("link_message_unreadable");
    /// RSTs for connections that do not exist here.
    ResetsUnmatched => Total("resets_unmatched");
    /// Messages of DNS that cannot be understood.
    DnsMalformed => Lost("dns_malformed");
    /// Answers of DNS to what nobody was seen to ask: repeated, forged, or the question was not copied.
    DnsAnswersUnasked => Total("dns_answers_unasked");
    /// Questions to resolvers that were not followed because too many were open.
    DnsQueriesNotFollowed => Lost("too_many_dns_queries");
    /// Questions to resolvers of which nothing is said, because what was lost may have been their answer.
    DnsQueriesUnjudged => Lost("dns_queries_unjudged");
    /// Pairs of a client and a resolver whose last lookups were forgotten because there are too many.
    DnsClientsForgotten => Lost("too_many_dns_clients");
    /// Spans that were made of request records.
    SpansMade => Total("spans_made");
    /// Request records of processes that are not known any more.
    SpansUnknownProcess => Lost("span_of_unknown_process");
    /// Requests whose connection is not known in time; their spans are exported all the same.
    RequestsWithoutEdge => Lost("request_without_edge");
    /// Episodes of retransmission time-outs that were forgotten before a request ended to which they happened, because there were too many.
    StallsNotKept => Lost("too_many_rto_episodes");
    /// Episodes of retransmission time-outs that are not on the span of their request because there are too many on it.
    StallsLeftOut => Lost("too_many_on_span");
    /// Spans accepted by the collector.
    SpansSent => Total("spans_sent");
    /// Spans that the bounded export queue let go, oldest first.
    SpansQueueFull => Lost("export_queue_full");
    /// Spans that the collector refused for good.
    SpansRefused => Lost("export_refused");
    /// Spans that were still waiting when the agent had to leave.
    SpansLostAtShutdown => Lost("shutdown");
    /// Spans waiting for export.
    SpansQueued => Level("spans_queued");
    /// Metric requests accepted by the collector.
    MetricsSent => Total("metric_requests_sent");
    /// Metric requests that were not accepted. Their values are cumulative: the next one carries them.
    MetricsFailed => Lost("metric_request_failed");
    /// Points of accepted metric requests that the collector threw away.
    MetricPointsRefused => Lost("metric_points_refused");
    /// Log events that were made: each stands for one or more network events.
    LogsMade => Total("log_events_made");
    /// Log events accepted by the collector.
    LogsSent => Total("log_events_sent");
    /// Network events that are in no log event, because the way there was full.
    LogsNotTold => Lost("log_way_full");
    /// Network events that are in no log event, because too many clients and servers fail at once.
    LogsTooMany => Lost("too_many_log_events");
    /// Log events that the bounded queue let go, oldest first.
    LogsQueueFull => Lost("log_queue_full");
    /// Log events that the collector refused for good.
    LogsRefused => Lost("log_refused");
    /// Log events that were still waiting when the agent had to leave.
    LogsLostAtShutdown => Lost("log_shutdown");
    /// Log events waiting for export.
    LogsQueued => Level("log_events_queued");
    /// Export requests that failed and were tried again.
    ExportRetries => Total("export_retries");
    /// Processes under watch.
    Targets => Level("targets");
    /// Processes or files that could not be looked at.
    TargetsRefused => Total("targets_refused");
    /// Queries answered.
    Queries => Total("queries");
    /// Bytes of kernel memory in our maps.
    MapBytes => Level("bpf_map_bytes");
    /// Findings made.
    Findings => Total("findings");
    /// Findings let go because there were too many, the least severe and oldest first.
    FindingsDropped => Lost("too_many_findings");
    /// Servers whose last seconds were forgotten because too many serve.
    ServersForgotten => Lost("too_many_servers");
    /// Detectors that panicked and were switched off.
    DetectorsOff => Total("detectors_off");
}

/// A part of the agent that must beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Kernel,
    Targets,
    State,
    Servers,
    SpanExport,
    MetricExport,
    LogExport,
    Query,
}

impl Part {
    pub const ALL: &[Self] = &[
        Self::Kernel,
        Self::Targets,
        Self::State,
        Self::Servers,
        Self::SpanExport,
        Self::MetricExport,
        Self::LogExport,
        Self::Query,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Targets => "targets",
            Self::State => "state",
            Self::Servers => "servers",
            Self::SpanExport => "span_export",
            Self::MetricExport => "metric_export",
            Self::LogExport => "log_export",
            Self::Query => "query",
        }
    }
}

/// Shared by all parts. Atomics, because each number stands alone.
#[derive(Debug)]
pub struct Vitals {
    started: Ktime,
    numbers: [AtomicU64; Vital::ALL.len()],
    /// Losses and totals of the kernel half, by slot of [`agent_common::counter`].
    kernel: [AtomicU64; agent_common::counter::SLOTS],
    beats: [AtomicU64; Part::ALL.len()],
}

impl Default for Vitals {
    fn default() -> Self {
        Self::new()
    }
}

impl Vitals {
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: clock::now(),
            numbers: std::array::from_fn(|_| AtomicU64::new(0)),
            kernel: std::array::from_fn(|_| AtomicU64::new(0)),
            beats: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub fn add(&self, vital: Vital, n: u64) {
        self.numbers[vital as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub fn set(&self, vital: Vital, value: u64) {
        self.numbers[vital as usize].store(value, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self, vital: Vital) -> u64 {
        self.numbers[vital as usize].load(Ordering::Relaxed)
    }

    /// What the kernel half counted so far in `slot`. Slots out of range are ignored.
    pub fn set_kernel(&self, slot: u32, value: u64) {
        if let Some(number) = self.kernel.get(slot as usize) {
            number.store(value, Ordering::Relaxed);
        }
    }

    /// Numbers that the kernel half counts and users know by another name.
    pub fn adopt_kernel(&self) {
        use agent_common::counter::{
            GRPC_OTHER_TRANSPORT, HTTP2_CALLS, HTTP2_SERVED, PACKET_FRAGMENT, PACKET_NEW_PEERS, PACKET_OTHER,
            PACKET_PROTOCOL, PACKET_PULLED, PACKET_TUNNEL,
        };
        self.set(Vital::PeersSeen, self.kernel(PACKET_NEW_PEERS));
        self.set(Vital::Http2Calls, self.kernel(HTTP2_CALLS));
        self.set(Vital::Http2Served, self.kernel(HTTP2_SERVED));
        self.set(Vital::GrpcOverHttp2, self.kernel(GRPC_OTHER_TRANSPORT));
        let other = [PACKET_OTHER, PACKET_PROTOCOL, PACKET_FRAGMENT];
        self.set(Vital::PacketsOther, other.into_iter().map(|slot| self.kernel(slot)).sum());
        self.set(Vital::PacketsTunnel, self.kernel(PACKET_TUNNEL));
        self.set(Vital::PacketsPulled, self.kernel(PACKET_PULLED));
    }

    #[must_use]
    pub fn kernel(&self, slot: u32) -> u64 {
        self.kernel.get(slot as usize).map_or(0, |it| it.load(Ordering::Relaxed))
    }

    /// Every loss by reason: the kernel half's and our own.
    pub fn lost(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let kernel = agent_common::counter::TABLE
            .iter()
            .filter(|it| it.kind == agent_common::counter::Kind::Lost)
            .map(|it| (it.name, self.kernel(it.slot)));
        let own = Vital::ALL.iter().filter_map(|vital| match vital.kind() {
            Kind::Lost(reason) => Some((reason, self.get(*vital))),
            Kind::Total(_) | Kind::Level(_) => None,
        });
        kernel.chain(own)
    }

    pub fn beat(&self, part: Part) {
        self.beats[part as usize].store(clock::now().0, Ordering::Relaxed);
    }

    /// `None`: it has not begun.
    #[must_use]
    pub fn last_beat(&self, part: Part) -> Option<Ktime> {
        match self.beats[part as usize].load(Ordering::Relaxed) {
            0 => None,
            ktime_ns => Some(Ktime(ktime_ns)),
        }
    }

    #[must_use]
    pub fn uptime(&self) -> Duration {
        clock::now().since(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<String> = Vital::ALL.iter().map(|it| format!("{:?}", it.kind())).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Vital::ALL.len());
    }

    #[test]
    fn every_loss_has_its_own_reason() {
        let vitals = Vitals::new();
        vitals.add(Vital::SpansQueueFull, 3);
        vitals.set_kernel(agent_common::counter::HTTP_RING_FULL, 5);
        for seen in [agent_common::counter::EVENTS_SUBMITTED, agent_common::counter::PACKET_OTHER] {
            vitals.set_kernel(seen, 7);
        }
        let lost: Vec<_> = vitals.lost().filter(|(_, n)| *n != 0).collect();
        assert_eq!(lost, [("http_ring_full", 5), ("export_queue_full", 3)]);
    }

    #[test]
    fn a_part_that_never_ran_has_no_beat() {
        let vitals = Vitals::new();
        assert_eq!(vitals.last_beat(Part::Query), None);
        vitals.beat(Part::Query);
        assert!(vitals.last_beat(Part::Query).is_some());
    }
}
