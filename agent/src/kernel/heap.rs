//! Memory of the start that nobody needs again.

/// Gives what was freed back to the system. Reading the kernel's type information takes some 25 MiB
/// for a moment, and the allocator would keep them for ever.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called by any thread at any time.
    let _released = unsafe { libc::malloc_trim(0) };
}
