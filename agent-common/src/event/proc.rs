//! Processes that begin and end.

use super::Header;

wire! {
    /// A process replaced its image: `sched_process_exec`.
    pub struct Exec: 24 bytes {
        pub header: Header,
    }
}

wire! {
    /// The last thread of a process is gone: `sched_process_exit` of the group leader.
    pub struct Exit: 24 bytes {
        pub header: Header,
    }
}
