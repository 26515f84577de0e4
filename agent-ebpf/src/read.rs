//! Every read of foreign memory, each bounded, each failure counted.

use core::{ffi::c_void, ptr};

use agent_common::{Plain, counter};
use aya_ebpf::helpers::{
    bpf_probe_read_kernel, bpf_probe_read_kernel_str_bytes, bpf_probe_read_user,
    generated::{bpf_probe_read_kernel as read_kernel_bytes, bpf_probe_read_user as read_user_bytes},
};

use crate::emit;

/// A value in the memory of the current process.
#[inline(always)]
pub(crate) fn user<T: Plain>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself.
    match unsafe { bpf_probe_read_user(address as *const T) } {
        Ok(value) => Some(value),
        Err(_) => {
            emit::add(counter::USER_READ_FAILED);
            None
        }
    }
}

/// Address and length, as Go keeps a string.
pub(crate) type GoString = [u64; 2];

/// The bytes of a string of the current process into `buffer`; returns how many, at most `N`.
#[inline(always)]
pub(crate) fn go_string<const N: usize>([data, len]: GoString, buffer: &mut [u8; N]) -> u8 {
    const { assert!(N <= u8::MAX as usize) };
    let len = if len > N as u64 { N as u64 } else { len };
    if len == 0 {
        return 0;
    }
    if user_bytes(buffer.as_mut_ptr(), len, data) { len as u8 } else { 0 }
}

/// `len` bytes of the current process. The verifier refuses a length or a place that it cannot bound.
#[inline(always)]
pub(crate) fn user_bytes(to: *mut u8, len: u64, address: u64) -> bool {
    // SAFETY: the verifier proves that there is room; the helper checks the address itself.
    let failed = unsafe { read_user_bytes(to.cast::<c_void>(), len as u32, address as *const c_void) } != 0;
    if failed {
        emit::add(counter::USER_READ_FAILED);
    }
    !failed
}

/// Sixteen bytes of a map's value as one load: a plain copy becomes a call of `memmove`, a loop over bytes.
#[inline(always)]
pub(crate) fn whole(bytes: &[u8; 16]) -> [u8; 16] {
    u128::from_ne_bytes(*bytes).to_ne_bytes()
}

/// A value in kernel memory, by an address that the verifier does not know.
#[inline(always)]
pub(crate) fn kernel<T: Plain>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself.
    match unsafe { bpf_probe_read_kernel(address as *const T) } {
        Ok(value) => Some(value),
        Err(_) => {
            emit::add(counter::KERNEL_READ_FAILED);
            None
        }
    }
}

/// As [`kernel`], in place, and zero when it cannot be read: no branch that outlives the call.
#[inline(always)]
pub(crate) fn kernel_into<T: Plain>(value: &mut T, address: u64) {
    let value = ptr::from_mut(value).cast::<c_void>();
    // SAFETY: any bytes are a `T`; the helper checks the address itself, and writes zeros if it is bad.
    let failed = unsafe { read_kernel_bytes(value, size_of::<T>() as u32, address as *const c_void) };
    if failed != 0 {
        emit::add(counter::KERNEL_READ_FAILED);
    }
}

/// A string in kernel memory, cut at `N` bytes.
#[inline(always)]
pub(crate) fn kernel_string<const N: usize>(address: u64, buffer: &mut [u8; N]) {
    // SAFETY: the helper checks the address itself.
    if unsafe { bpf_probe_read_kernel_str_bytes(address as *const u8, buffer) }.is_err() {
        emit::add(counter::KERNEL_READ_FAILED);
    }
}

/// A field of a kernel struct that the verifier knows by type: a plain load, no helper.
///
/// `offset` comes from the kernel's BTF by way of a read-only map, so the verifier sees a constant.
#[inline(always)]
pub(crate) fn field<T: Copy>(object: *const c_void, offset: usize) -> T {
    let field = object.cast::<u8>().wrapping_add(offset).cast::<T>();
    // SAFETY: the verifier refuses an offset that is no field of this size; a fault reads as zero.
    unsafe { field.read_volatile() }
}
