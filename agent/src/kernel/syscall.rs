//! The system call bpf(), for what aya does not offer.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// `attributes`: the member of `union bpf_attr` that belongs to the command; the kernel may answer in it.
pub(super) fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    let address = std::ptr::from_mut(attributes);
    // SAFETY: `attributes` is as long as is said; what it points to lives until the call returns.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, address, size_of::<T>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Of commands that return a new descriptor.
pub(super) fn new_descriptor<T>(command: libc::c_long, mut attributes: T) -> io::Result<OwnedFd> {
    let fd = bpf(command, &mut attributes)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the kernel just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// As it stands in attributes.
pub(super) fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}
