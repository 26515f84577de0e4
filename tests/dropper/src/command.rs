//! What the dropper is told and what it tells: one file for both of its halves.

use agent_common::wire;

/// Values of [`Command::drop`].
pub mod drop {
    pub const NOTHING: u32 = 0;
    /// In both directions: a black hole.
    pub const EVERYTHING: u32 = 1;
    /// Segments with payload from behind the interface, from the `first` to the `last`.
    pub const DATA: u32 = 2;
    /// Each `first`th segment with payload from behind the interface.
    pub const ONE_IN: u32 = 3;
    /// SYN-ACKs to behind the interface, from the `first` to the `last`.
    pub const SYN_ACKS: u32 = 4;
}

wire! {
    /// Zeroed `seen` and `dropped` when it is given; the kernel half counts from there.
    pub struct Command: 32 bytes {
        /// One of [`drop`].
        pub drop: u32,
        /// Counted from one.
        pub first: u32,
        pub last: u32,
        /// Of either end, only TCP of IPv4; 0: all.
        pub port: u32,
        /// Packets of the kind that may be dropped.
        pub seen: u64,
        pub dropped: u64,
    }
}

pub const MAP_COMMAND: &str = "COMMAND";
pub const PROG_FROM: &str = "from_behind";
pub const PROG_TO: &str = "to_behind";
