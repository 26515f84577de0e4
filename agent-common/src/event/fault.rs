//! Segments that got lost, as their sender finds out.

use super::Header;

wire! {
    /// Segments were sent again: the first of a class on this socket, and then each time that their number
    /// reaches a power of two; and each time that an episode of time-outs begins. All of them are counted in
    /// [`super::sock::State::retransmits`].
    ///
    /// The header's task is whoever the timer interrupted. Addresses as in [`super::sock::State`].
    pub struct Retransmit: 88 bytes {
        pub header: Header,
        pub cookie: u64,
        pub local: [u8; 16],
        pub remote: [u8; 16],
        /// The owner of the socket.
        pub tgid: u32,
        pub netns: u32,
        /// Of this class, on this socket, so far.
        pub segments: u32,
        pub local_port: u16,
        pub remote_port: u16,
        /// An index of [`super::sock::class`].
        pub class: u8,
        /// One of [`super::sock::role`].
        pub role: u8,
        pub reserved: [u8; 2],
        /// Episodes of time-outs of this socket so far, the one that lasts included.
        pub episodes: u32,
    }
}

wire! {
    /// What was under way when the retransmission timer fired is acknowledged: the end of an episode.
    ///
    /// As [`Retransmit`].
    pub struct RtoEnded: 96 bytes {
        pub header: Header,
        pub cookie: u64,
        /// Since when nothing was acknowledged.
        pub began_ktime_ns: u64,
        pub local: [u8; 16],
        pub remote: [u8; 16],
        pub tgid: u32,
        pub netns: u32,
        /// How often the timer fired.
        pub expiries: u32,
        /// Episodes of this socket so far, this one included.
        pub episodes: u32,
        pub local_port: u16,
        pub remote_port: u16,
        pub role: u8,
        pub reserved: [u8; 3],
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// A change here changes what old recordings mean: retire the kind and add a new one instead.
    #[test]
    fn offsets_are_frozen() {
        let retransmit = [
            ("cookie", offset_of!(Retransmit, cookie), 24),
            ("local", offset_of!(Retransmit, local), 32),
            ("remote", offset_of!(Retransmit, remote), 48),
            ("tgid", offset_of!(Retransmit, tgid), 64),
            ("netns", offset_of!(Retransmit, netns), 68),
            ("segments", offset_of!(Retransmit, segments), 72),
            ("local_port", offset_of!(Retransmit, local_port), 76),
            ("remote_port", offset_of!(Retransmit, remote_port), 78),
            ("class", offset_of!(Retransmit, class), 80),
            ("role", offset_of!(Retransmit, role), 81),
            ("episodes", offset_of!(Retransmit, episodes), 84),
        ];
        let ended = [
            ("cookie", offset_of!(RtoEnded, cookie), 24),
            ("began_ktime_ns", offset_of!(RtoEnded, began_ktime_ns), 32),
            ("local", offset_of!(RtoEnded, local), 40),
            ("remote", offset_of!(RtoEnded, remote), 56),
            ("tgid", offset_of!(RtoEnded, tgid), 72),
            ("netns", offset_of!(RtoEnded, netns), 76),
            ("expiries", offset_of!(RtoEnded, expiries), 80),
            ("episodes", offset_of!(RtoEnded, episodes), 84),
            ("local_port", offset_of!(RtoEnded, local_port), 88),
            ("remote_port", offset_of!(RtoEnded, remote_port), 90),
            ("role", offset_of!(RtoEnded, role), 92),
        ];
        for (name, got, want) in retransmit.into_iter().chain(ended) {
            assert_eq!(got, want, "{name}");
        }
    }
}
