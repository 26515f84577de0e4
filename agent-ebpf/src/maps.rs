//! Every map and every load-time constant, with its bound, who writes it and who removes from it.

use core::{ffi::c_void, ptr};

use agent_common::{
    counter::Counters,
    event::{
        http, sock, sql,
        udp::{FlowCount, FlowKey, FlowTotals},
    },
    layout::{ABSENT, FileLayout, GoProcess, KernelLayout, ResetReasons, TcpLayout, door},
    limits,
};
use aya_ebpf::{
    Global,
    helpers::generated::bpf_sk_storage_get,
    macros::map,
    maps::{Array, HashMap, LruHashMap, LruPerCpuHashMap, PerCpuArray, ProgramArray, RingBuf},
};

/// Kernel -> user.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(limits::RING_BYTES, 0);

/// Rows of a dump, which goes on when the user half has taken them out.
#[map]
pub(crate) static ROWS: RingBuf = RingBuf::with_byte_size(limits::ROWS_BYTES, 0);

/// Slots are named in `agent_common::counter`. One entry has them all: the user half reads them often, and with one call.
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// tgid -> what to know of a watched process. The user half writes and removes; `hits` is ours.
#[map]
pub(crate) static WATCHED: HashMap<u32, GoProcess> = HashMap::with_max_entries(limits::WATCHED_PROCESSES, 0);

/// A goroutine of a process: goids are never used again, so a late entry cannot mislead.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct CallKey {
    pub(crate) tgid: u64,
    pub(crate) goid: u64,
}

/// Server requests under way, and the room for the next one of a connection that has none. Removed when the
/// connection ends; an LRU for those that never end.
#[map]
pub(crate) static SERVED: LruHashMap<CallKey, http::Call> =
    LruHashMap::with_max_entries(limits::OPEN_CALLS, 0);

/// Client calls under way. Removed at their end; an LRU for those that never end.
#[map]
pub(crate) static SENT: LruHashMap<CallKey, http::Call> = LruHashMap::with_max_entries(limits::OPEN_CALLS, 0);

/// A statement under way, with the front of its text behind it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KeptStatement {
    pub(crate) statement: sql::Statement,
    pub(crate) text: [u8; limits::STATEMENT_BYTES],
}

/// Removed at their end; an LRU for those that never end.
#[map]
pub(crate) static STATEMENTS: LruHashMap<CallKey, KeptStatement> =
    LruHashMap::with_max_entries(limits::OPEN_STATEMENTS, 0);
/// Which calls of gRPC ended just now: they may end again. Written over by those that end later.
#[map]
pub(crate) static ENDED: Array<u64> = Array::with_max_entries(limits::ENDED_CALLS, 0);

/// What stands for a connection in a process: a client's `*http.persistConn`, and the goroutine (`*g`) that
/// a server has for each of its own.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ConnKey {
    pub(crate) tgid: u64,
    pub(crate) object: u64,
}

/// The socket behind a [`ConnKey`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Conn {
    /// Of the server's goroutine; a client's is 0.
    pub(crate) goid: u64,
    /// Address of the kernel's `struct sock`.
    pub(crate) sk: u64,
    pub(crate) local: [u8; 16],
    pub(crate) remote: [u8; 16],
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    /// Only for loopback addresses, which mean something else in each namespace; else 0.
    pub(crate) netns: u32,
    /// Initial sequence numbers, or the ones after them: both ends know both.
    pub(crate) local_isn: u32,
    pub(crate) remote_isn: u32,
}

/// Removed where the connection ends: heap addresses are used again within milliseconds.
#[map]
pub(crate) static CONNS: LruHashMap<ConnKey, Conn> =
    LruHashMap::with_max_entries(limits::HTTP_CONNECTIONS, 0);

/// A TCP connection as its client sees it, and a stream of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct JoinKey {
    pub(crate) client: [u8; 16],
    pub(crate) server: [u8; 16],
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
    pub(crate) netns: u32,
    /// 0 for HTTP/1: a Go client never pipelines, so there is only one call at a time.
    pub(crate) stream: u32,
}

/// The newest client call on a connection, or the one of a stream.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Context {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    /// `write_seq` before the call was sent. Of a stream, the client's initial sequence number.
    pub(crate) seq: u32,
    pub(crate) reserved: u32,
}

/// Written by the client's end, read by the server's, who removes those of streams. An LRU for those that no
/// watched server reads; checked by sequence number when read.
#[map]
pub(crate) static CONTEXTS: LruHashMap<JoinKey, Context> =
    LruHashMap::with_max_entries(limits::HTTP_CONNECTIONS, 0);

/// (remote address, local port, what) -> how many. An LRU; per CPU, so that who adds one knows the sum.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PeerKey {
    pub(crate) remote: [u8; 16],
    pub(crate) local_port: u16,
    pub(crate) what: u16,
}

#[map]
pub(crate) static PEERS: LruPerCpuHashMap<PeerKey, u64> =
    LruPerCpuHashMap::with_max_entries(limits::PACKET_PEERS, 0);

/// What was taken of what others decide to send, in a span of 2^30 ns.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) span: u64,
    pub(crate) spent: u64,
}

#[map]
pub(crate) static BUDGETS: PerCpuArray<Budget> = PerCpuArray::with_max_entries(4, 0);

/// UDP flows. The user half reads each second and removes what is idle; an LRU for when there are too many.
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, FlowCount> = LruHashMap::with_max_entries(limits::FLOWS, 0);

/// What was ever added to [`FLOWS`]: who has read all that is there knows how much went unread.
#[map]
pub(crate) static FLOW_TOTALS: PerCpuArray<FlowTotals> = PerCpuArray::with_max_entries(1, 0);

/// What begins a flow, while it is put together.
#[map]
pub(crate) static NEW_FLOW: PerCpuArray<FlowCount> = PerCpuArray::with_max_entries(1, 0);

/// What is behind each door. The user half writes; the kernel empties it when the user half is gone.
#[map]
pub(crate) static DOORS: ProgramArray = ProgramArray::with_max_entries(door::COUNT, 0);

/// Ends an entry. Not being there is no failure: the map may have evicted it.
#[inline(always)]
pub(crate) fn remove<K, V>(map: &LruHashMap<K, V>, key: K) {
    map.remove(key).ok();
}

/// An entry of [`WATCHED`], and where to count the hits of `point`.
#[inline(always)]
pub(crate) fn watched(tgid: u32, point: usize) -> Option<(&'static GoProcess, *mut u64)> {
    let process = WATCHED.get_ptr_mut(tgid)?;
    // SAFETY: the entry stays readable while the program runs, even when it is removed meanwhile.
    let hits = unsafe { &raw mut (*process).hits };
    // SAFETY: as above.
    Some((unsafe { &*process }, hits.cast::<u64>().wrapping_add(point)))
}

/// `BPF_SK_STORAGE_GET_F_CREATE`, include/uapi/linux/bpf.h.
const CREATE: u64 = 1;

/// Socket storage. aya-ebpf has a type for it, but with fixed flags and for socket-address programs
/// only; tracepoints need their own call, and a listener's entry must be cloned into its children.
#[repr(C)]
pub(crate) struct SockStorage<T: 'static> {
    r#type: *const [i32; 24],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    /// `BPF_F_NO_PREALLOC | BPF_F_CLONE`.
    map_flags: *const [i32; 0x201],
}

// SAFETY: the pointers are null and only their types matter, as BTF, to the loader.
unsafe impl<T> Sync for SockStorage<T> {}

impl<T> SockStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// The entry of `sk`; null when there is none.
    #[inline(always)]
    pub(crate) fn get(&self, sk: *mut c_void) -> *mut T {
        self.call(sk, ptr::null_mut(), 0)
    }

    /// The entry of `sk`, made of `initial` if there was none; null when the kernel has no memory.
    #[inline(always)]
    pub(crate) fn get_or_insert(&self, sk: *mut c_void, initial: &mut T) -> *mut T {
        self.call(sk, ptr::from_mut(initial), CREATE)
    }

    /// The entry of `sk`, zeroed if there was none; null when the kernel has no memory.
    #[inline(always)]
    pub(crate) fn get_or_zeroed(&self, sk: *mut c_void) -> *mut T {
        self.call(sk, ptr::null_mut(), CREATE)
    }

    #[inline(always)]
    fn call(&self, sk: *mut c_void, initial: *mut T, flags: u64) -> *mut T {
        let map = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: `self` is a map, and the verifier proves `sk` to be a socket.
        unsafe { bpf_sk_storage_get(map, sk, initial.cast(), flags) }.cast()
    }
}

/// socket -> what is known of it. No bound to choose: the kernel frees an entry with its socket.
#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "SOCKS")]
pub(crate) static SOCKS: SockStorage<sock::State> = SockStorage::new();

/// What was last said of a UDP socket's owner.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct UdpSeen {
    pub(crate) tgid: u32,
    /// When, in spans of about a minute.
    pub(crate) span: u16,
    /// How often it was another one within the span.
    pub(crate) changes: u16,
}

/// UDP socket -> what was said of its owner. As [`SOCKS`].
#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "UDP_SOCKS")]
pub(crate) static UDP_SOCKS: SockStorage<UdpSeen> = SockStorage::new();

// SAFETY: zero is a value of every record.
const NO_KERNEL_LAYOUT: KernelLayout = unsafe { core::mem::zeroed() };
// SAFETY: as above.
const NO_FILE_LAYOUT: FileLayout = unsafe { core::mem::zeroed() };

/// Set by the loader: whether XDP programs may copy bytes of a packet, as since Linux 5.18.
#[unsafe(no_mangle)]
pub(crate) static DNS_ON_XDP: Global<u8> = Global::new(0);

/// Set by the loader from the kernel's BTF.
#[unsafe(no_mangle)]
pub(crate) static KERNEL_LAYOUT: Global<KernelLayout> = Global::new(NO_KERNEL_LAYOUT);

/// Set by the loader from the kernel's BTF.
#[unsafe(no_mangle)]
pub(crate) static FILE_LAYOUT: Global<FileLayout> = Global::new(NO_FILE_LAYOUT);

// SAFETY: as above.
const NO_RESET_REASONS: ResetReasons = unsafe { core::mem::zeroed() };

/// Set by the loader from the kernel's BTF.
#[unsafe(no_mangle)]
pub(crate) static RESET_REASONS: Global<ResetReasons> = Global::new(NO_RESET_REASONS);

// SAFETY: as above.
const NO_TCP_LAYOUT: TcpLayout = unsafe { core::mem::zeroed() };

/// Set by the loader from the kernel's BTF.
#[unsafe(no_mangle)]
pub(crate) static TCP_LAYOUT: Global<TcpLayout> = Global::new(NO_TCP_LAYOUT);

/// Whether the running kernel has such a field.
#[inline(always)]
pub(crate) fn has(offset: usize) -> bool {
    offset != ABSENT as usize
}

/// An offset of [`KERNEL_LAYOUT`], [`TCP_LAYOUT`] or [`FILE_LAYOUT`], without copying the others.
macro_rules! offset {
    ($global:ident . $field:ident) => {{
        let layout = core::ptr::from_ref(&$crate::maps::$global).cast::<offset!(@type $global)>();
        // SAFETY: `Global` is transparent; volatile, because the loader overwrites what is compiled in.
        unsafe { core::ptr::read_volatile(&raw const (*layout).$field) as usize }
    }};
    (@type KERNEL_LAYOUT) => { agent_common::layout::KernelLayout };
    (@type FILE_LAYOUT) => { agent_common::layout::FileLayout };
    (@type TCP_LAYOUT) => { agent_common::layout::TcpLayout };
}
pub(crate) use offset;
