//! Memory that nobody needs again.

/// Gives what was freed back to the system. The allocator would keep for ever the 25 MiB that reading the
/// kernel's type information takes for a moment, and what very many sockets took that are gone.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called by any thread at any time.
    let _released = unsafe { libc::malloc_trim(0) };
}
