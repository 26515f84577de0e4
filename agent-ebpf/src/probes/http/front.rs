//! Several fields of an object in a target's memory by one read, which is what a read costs.

use core::mem::MaybeUninit;

use agent_common::Plain;

use crate::read::{self, GoString};

/// The first words of an object. A field behind them is read on its own.
pub(super) struct Front<const WORDS: usize> {
    address: u64,
    words: MaybeUninit<[u64; WORDS]>,
}

impl<const WORDS: usize> Front<WORDS> {
    #[inline(always)]
    pub(super) fn at(address: u64) -> Self {
        Self { address, words: MaybeUninit::uninit() }
    }

    /// In place: there is no room on the stack for a copy. All zero when it fails.
    #[inline(always)]
    pub(super) fn read(&mut self) -> bool {
        read::user_bytes(self.words.as_mut_ptr().cast(), size_of_val(&self.words) as u64, self.address)
    }

    #[inline(always)]
    pub(super) fn field<T: Plain>(&self, offset: u16) -> Option<T> {
        let at = usize::from(offset);
        if size_of_val(&self.words) < at + size_of::<T>() {
            return read::user(self.address + u64::from(offset));
        }
        let field = self.words.as_ptr().cast::<u8>().wrapping_add(at).cast::<T>();
        // SAFETY: it lies in `words`, as was just tested; the kernel wrote them, and any bytes are a `T`.
        Some(unsafe { field.read_unaligned() })
    }

    #[inline(always)]
    pub(super) fn text<const N: usize>(&self, offset: u16, buffer: &mut [u8; N]) -> u8 {
        self.field::<GoString>(offset).map_or(0, |string| read::go_string(string, buffer))
    }
}
