//! Processes that begin and end.

use super::Header;
use crate::limits::FILENAME_BYTES;

wire! {
    /// A process replaced its image: `sched_process_exec`.
    ///
    /// It may be gone before anybody reads more about it, so what it executes comes along.
    pub struct Exec: 152 bytes {
        pub header: Header,
        /// `bprm->filename`: as given to execve(), cut, ended by a zero unless it is that long.
        pub filename: [u8; FILENAME_BYTES],
    }
}

wire! {
    /// The first thread of a process ends: `sched_process_exit`. Others may go on.
    pub struct Exit: 24 bytes {
        pub header: Header,
    }
}
