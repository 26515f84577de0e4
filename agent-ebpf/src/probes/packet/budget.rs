//! How much may be remembered or copied in about a second, on each CPU: in a flood, with forged addresses
//! perhaps, each packet is the first of its kind, and must not push out what others need.

use crate::{
    emit,
    maps::{BUDGETS, Budget},
};

/// Peers that open or reset connections.
pub(super) const PEERS: u32 = 0;
/// UDP flows that come in.
pub(super) const FLOWS: u32 = 1;
/// DNS messages that are copied.
pub(super) const DNS_QUERIES: u32 = 2;
pub(super) const DNS_ANSWERS: u32 = 3;

/// False when so many were remembered already.
#[inline(always)]
pub(super) fn spend(which: u32, most: u64) -> bool {
    let Some(budget) = BUDGETS.get_ptr_mut(which) else {
        return false;
    };
    // SAFETY: the entry stays valid while the program runs, and is this CPU's.
    let budget = unsafe { &mut *budget };
    let span = emit::now() >> 30;
    if budget.span != span {
        *budget = Budget { span, spent: 0 };
    }
    let is_left = budget.spent < most;
    budget.spent += u64::from(is_left);
    is_left
}
