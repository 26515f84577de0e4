//! Control packets that no socket of this host can tell about.

use super::Header;

/// Values of [`Stray::what`].
pub mod what {
    /// A SYN to a port where nothing listens.
    pub const SYN_UNANSWERED: u8 = 1;
    /// A RST for a connection that does not exist here.
    pub const RST_UNMATCHED: u8 = 2;
    /// The first SYN from a remote address.
    pub const NEW_PEER: u8 = 3;
}

wire! {
    /// A packet, or the nth of its like: reported at the first and then at powers of two.
    ///
    /// Addresses as in [`super::sock::State`].
    pub struct Stray: 80 bytes {
        pub header: Header,
        /// How many of (remote address, local port, what) came so far.
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
