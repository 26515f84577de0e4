//! Reads the memory of another process. It is read only: nothing here can write.

use std::io;

/// The memory of one process, as long as it lives.
#[derive(Clone, Copy, Debug)]
pub struct TargetMemory {
    pid: libc::pid_t,
}

impl TargetMemory {
    pub fn new(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(Self { pid })
    }

    /// Fills all of `buffer`, or fails.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.read_some(address, buffer)? == buffer.len() {
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Fills the front of `buffer` as far as the memory is readable and returns how much that is.
    pub fn read_some(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let remote_base = usize::try_from(address).map_err(|_| io::ErrorKind::InvalidInput)?;
        let remote = libc::iovec { iov_base: remote_base as *mut libc::c_void, iov_len: buffer.len() };
        // SAFETY: `local` covers `buffer`, which is borrowed for the whole call; the kernel checks `remote`.
        let n_read =
            unsafe { libc::process_vm_readv(self.pid, &raw const local, 1, &raw const remote, 1, 0) };
        usize::try_from(n_read).map_err(|_| io::Error::last_os_error())
    }

    pub fn read_u64(&self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_process() {
        let memory = TargetMemory::new(std::process::id()).unwrap();
        let words: [u64; 2] = [7, u64::MAX - 1];
        let address = words.as_ptr() as u64;
        assert_eq!(memory.read_u64(address).unwrap(), 7);
        assert_eq!(memory.read_u64(address + 8).unwrap(), u64::MAX - 1);
    }

    #[test]
    fn what_is_not_mapped_is_an_error() {
        let memory = TargetMemory::new(std::process::id()).unwrap();
        for address in [0, 8, u64::MAX, u64::MAX - 7, 1 << 63] {
            assert!(memory.read_u64(address).is_err(), "{address:#x}");
        }
    }

    #[test]
    fn a_process_that_has_ended_is_an_error() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let memory = TargetMemory::new(child.id()).unwrap();
        child.wait().unwrap();
        assert_eq!(memory.read_u64(0x40_0000).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert!(TargetMemory::new(u32::MAX).is_err());
    }
}
