//! What is in the kernel, whoever holds it: by number, and without opening it.
//!
//! An array of programs is emptied when its last descriptor is closed, by a work that takes a reference. If it is
//! opened and closed once more before that work begins, Linux loses the second reference, and the empty array stays.

use std::io;

use super::syscall::bpf;

/// Lists of the kernel (`enum bpf_cmd`, include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    Programs = 11,
    Maps = 12,
    Links = 31,
}

impl Listed {
    /// Ids, in their order.
    ///
    /// # Errors
    ///
    /// When the caller may not ask.
    pub fn ids(self) -> io::Result<Vec<u32>> {
        /// Of `union bpf_attr`.
        #[repr(C)]
        struct NextId {
            start: u32,
            next: u32,
            flags: u32,
        }
        let mut attributes = NextId { start: 0, next: 0, flags: 0 };
        let mut ids = Vec::new();
        loop {
            match bpf(self as libc::c_long, &mut attributes) {
                Ok(_) => ids.push(attributes.next),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
                Err(error) => return Err(error),
            }
            attributes.start = attributes.next;
        }
    }
}
