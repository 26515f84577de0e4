//! Programs on interfaces. They see headers, and always pass the packet on.

mod budget;
mod bytes;
mod dns;
mod door;
mod flow;
mod nic;
mod workload;

/// The program does not decide: the next one in line does. As TC_ACT_UNSPEC the same in a clsact filter.
const TCX_NEXT: i32 = -1;
