//! Bounds that both halves rely on.

/// Bytes of the ring buffer. At 30,000 short connections a second, both ends local, 100 ms make 1.7 MB.
pub const RING_BYTES: u32 = 4 << 20;
/// Bytes of the ring that a dump of sockets goes through, in parts of some 1,900. For each the kernel walks from the
/// beginning of half of all sockets to where it was.
pub const ROWS_BYTES: u32 = 512 << 10;
/// Processes that can be watched at once.
pub const WATCHED_PROCESSES: u32 = 2048;
/// Requests under way, on each side; and of servers, connections that had one. An LRU: the oldest give way, and are
/// counted by their end if they were under way.
pub const OPEN_CALLS: u32 = 8192;
/// Statements under way, as [`OPEN_CALLS`].
pub const OPEN_STATEMENTS: u32 = 2048;
/// Calls of gRPC that are remembered for a moment when they have ended.
pub const ENDED_CALLS: u32 = 256;
/// HTTP connections whose identity is kept. An LRU: one that was evicted is looked up again.
pub const HTTP_CONNECTIONS: u32 = 8192;
/// Remote addresses and ports that the packet program remembers. An LRU.
pub const PACKET_PEERS: u32 = 8192;

/// Peers that the packet program begins to remember in about a second, on each CPU: a flood has new ones
/// with every packet, and must fill neither the map nor the ring.
pub const NEW_PEERS_PER_SECOND: u64 = 512;
/// UDP flows from outside that are begun to be counted in about a second, on each CPU. Those of workloads have no limit
/// but the map's.
pub const NEW_FLOWS_PER_SECOND: u64 = 1024;
/// DNS messages of each direction that are copied in about a second, on each CPU: a flood must not fill the ring.
pub const DNS_MESSAGES_PER_SECOND: u64 = 500;
/// Entries of an LRU map for each CPU, at least: the kernel keeps 128 free ones at hand there, and in a map
/// that is not much larger it evicts those in use.
pub const LRU_ENTRIES_PER_CPU: u32 = 512;
/// UDP flows that are counted at once, one way each. An LRU: what it lets go unread is counted.
pub const FLOWS: u32 = 16384;

/// Bytes of a request's path that are copied; longer ones are cut.
pub const PATH_BYTES: usize = 96;
/// Bytes of a request's host that are copied; longer ones are cut.
pub const HOST_BYTES: usize = 48;
/// Bytes of the pattern that a request matched; of longer ones nothing is copied: cut, it would be another one's.
pub const ROUTE_BYTES: usize = 79;
/// The longest method of the HTTP conventions is CONNECT or OPTIONS.
pub const METHOD_BYTES: usize = 8;
/// Bytes of a DNS message that are copied: what fits into one without extensions.
pub const DNS_BYTES: usize = 512;
/// Bytes of a statement's text that are copied; longer ones are cut.
pub const STATEMENT_BYTES: usize = 256;
/// `*crypto/tls.Conn` can have more than one itab in a process.
pub const TLS_ITABS: usize = 4;
/// Bytes of an executed file's name; longer ones are cut.
pub const FILENAME_BYTES: usize = 128;
