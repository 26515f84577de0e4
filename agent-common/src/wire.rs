//! `wire!` declares a record that may cross the border between the halves.

use core::mem::MaybeUninit;

/// A type for which every bit pattern is a value and no byte is padding.
///
/// # Safety
///
/// The implementor has no padding, no niche and no pointer in it.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($integer:ty),*) => { $(
        // SAFETY: an integer has neither padding nor invalid bit patterns.
        unsafe impl Plain for $integer {}
    )* };
}
plain!(u8, u16, u32, u64, i32, i64);

// SAFETY: an array has the padding and the niches of its element, that is: none.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// A record with a layout that both compilers proved. Implemented by [`wire!`](crate::wire) only.
///
/// # Safety
///
/// `repr(C)`, made of [`Plain`] fields, without implicit padding, aligned to at most 8.
pub unsafe trait Wire: Plain {
    /// Reads a record from the front of `bytes`; `None` when there are too few.
    fn read_from(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<Self>() {
            return None;
        }
        // SAFETY: the length was checked, the read needs no alignment, and every bit pattern is a
        // valid `Self` because all its fields are `Plain`.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }

    /// The record as the other half reads it.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: `Self` has no padding, so each of its bytes is initialised, and the slice borrows
        // from `self`.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// All bytes zero, which every record allows.
    #[must_use]
    #[inline(always)]
    fn zeroed() -> Self {
        let mut record = MaybeUninit::<Self>::uninit();
        zero(record.as_mut_ptr());
        // SAFETY: every bit pattern is a valid `Self`, and each byte was written.
        unsafe { record.assume_init() }
    }

    /// Makes all bytes zero where they are.
    #[inline(always)]
    fn clear(&mut self) {
        zero(core::ptr::from_mut(self));
    }
}

/// By whole words, where a record is made of them, and volatile: else the compiler of the kernel half makes it a
/// call of `memset`, which there is a loop over bytes and five times as dear.
#[inline(always)]
fn zero<T: Wire>(record: *mut T) {
    if const { !size_of::<T>().is_multiple_of(8) || align_of::<T>() != 8 } {
        // SAFETY: the caller's record is whole.
        return unsafe { record.write_bytes(0, 1) };
    }
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: the word is the record's, aligned, and any bytes are a `T`.
        unsafe { record.cast::<u64>().add(word).write_volatile(0) };
    }
}

/// Declares a record and refuses to compile if the compiler would put padding in it.
#[macro_export]
macro_rules! wire {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $size:literal bytes {
            $( $(#[$field_meta:meta])* pub $field:ident: $ty:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $ty, )* }

        const _: () = {
            const fn only_plain<T: $crate::Plain>() {}
            $( only_plain::<$ty>(); )*
            assert!(size_of::<$name>() == $size, "the size on the wire changed");
            assert!(size_of::<$name>() == 0 $( + size_of::<$ty>() )*, "implicit padding");
            assert!(align_of::<$name>() <= 8, "the ring buffer aligns to 8");
        };
        // SAFETY: checked by the constant above.
        unsafe impl $crate::Plain for $name {}
        // SAFETY: checked by the constant above; `repr(C)` is written by this macro.
        unsafe impl $crate::Wire for $name {}
    };
}
