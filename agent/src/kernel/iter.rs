//! BPF iterators: walks over kernel objects, whose rows are read like a file.
//!
//! aya's `Iter::attach` takes no map, which the walk over a socket storage needs, so the link is made
//! here, by the system call.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::programs::ProgramFd;

use super::syscall::{new_descriptor, raw};

/// `enum bpf_cmd`, include/uapi/linux/bpf.h.
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
/// `enum bpf_attach_type`.
const BPF_TRACE_ITER: u32 = 28;

/// The `link_create` member of `union bpf_attr`, for iterators.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    reserved: u32,
}

/// The `iter_create` member of `union bpf_attr`.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

/// An attached iterator program; gone from the kernel when dropped.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

impl Link {
    /// `map`: the one whose elements are walked; `None` for walks over tasks.
    pub(super) fn create(program: &ProgramFd, map: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let map_fd = map.map(raw);
        let attributes = LinkCreate {
            prog_fd: raw(program.as_fd()),
            target_fd: 0,
            attach_type: BPF_TRACE_ITER,
            flags: 0,
            iter_info: map_fd.as_ref().map_or(0, |it| std::ptr::from_ref(it).expose_provenance() as u64),
            iter_info_len: map_fd.map_or(0, |_| size_of::<u32>() as u32),
            reserved: 0,
        };
        new_descriptor(BPF_LINK_CREATE, attributes).map(Self)
    }

    /// A new walk from the beginning.
    pub(super) fn walk(&self) -> io::Result<File> {
        let attributes = IterCreate { link_fd: raw(self.0.as_fd()), flags: 0 };
        new_descriptor(BPF_ITER_CREATE, attributes).map(File::from)
    }
}

/// The next bytes of a walk; 0 at its end.
///
/// A read stops with EAGAIN after a million objects that gave no bytes (kernel/bpf/bpf_iter.c,
/// `MAX_ITER_OBJECTS`), and the next one goes on from there.
pub(super) fn read(walk: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match walk.read(bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            read => return read,
        }
    }
}

/// How far a walk got that gives no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The program asked for it, or there were very many objects.
    Paused,
    Ended,
}

/// Goes on with a walk until it pauses, or ends.
pub(super) fn step(walk: &mut impl Read) -> io::Result<Step> {
    loop {
        match walk.read(&mut [0; 16]) {
            Ok(0) => return Ok(Step::Ended),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Paused),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script(Vec<io::Result<usize>>);

    impl Read for Script {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0.pop().unwrap_or(Ok(0))
        }
    }

    #[test]
    fn a_walk_pauses_and_ends() {
        let failed = |errno| Err(io::Error::from_raw_os_error(errno));
        let mut walk = Script(vec![failed(libc::EIO), Ok(0), failed(libc::EAGAIN), failed(libc::EINTR)]);
        assert_eq!(step(&mut walk).unwrap(), Step::Paused);
        assert_eq!(step(&mut walk).unwrap(), Step::Ended);
        assert_eq!(step(&mut walk).unwrap_err().raw_os_error(), Some(libc::EIO));
    }

    #[test]
    fn a_long_walk_without_bytes_is_no_failure() {
        let again = || Err(io::Error::from_raw_os_error(libc::EAGAIN));
        let mut walk =
            Script(vec![Err(io::Error::from_raw_os_error(libc::EIO)), again(), Ok(8), again(), again()]);
        assert_eq!(read(&mut walk, &mut [0; 8]).unwrap(), 8);
        assert_eq!(read(&mut walk, &mut [0; 8]).unwrap_err().raw_os_error(), Some(libc::EIO));
        assert_eq!(read(&mut walk, &mut [0; 8]).unwrap(), 0);
    }
}
