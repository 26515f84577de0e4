//! Control packets that no socket of this host can tell about.

use super::Header;

/// Values of [`Stray::what`].
pub mod what {
    /// A SYN to a port where nothing listens.
    pub const SYN_UNANSWERED: u8 = 1;
    /// A RST for a connection that does not exist here.
    pub const RST_UNMATCHED: u8 = 2;
    // 3 was the first SYN from a remote address, which is only counted now.
}

wire! {
    /// A packet, or the nth of its like on this CPU: reported at the first and then at powers of two.
    ///
    /// Addresses as in [`super::sock::State`].
    pub struct Stray: 80 bytes {
        pub header: Header,
        /// How many of (remote address, local port, what) this CPU has seen; its last report was for half as many.
        pub count: u64,
        pub local: [u8; 16],
        pub remote: [u8; 16],
        pub local_port: u16,
        pub remote_port: u16,
        pub ifindex: u32,
        pub what: u8,
        pub reserved: [u8; 7],
    }
}
