//! Loads, attaches and drains the kernel half. The only room that knows aya.
//!
//! Each feature fails alone: what the kernel refuses is a [`Refused`], and the rest goes on. Must not
//! know what the records mean.

mod btf;
mod calibrate;
mod clsact;
mod conntrack;
mod dump;
mod error;
mod flows;
mod forms;
mod heap;
mod interfaces;
mod iter;
mod listed;
mod load;
mod log;
mod maps;
mod order;
mod packets;
mod points;
mod scheduling;
mod syscall;
mod trial;
mod uprobes;

pub use btf::BtfError;
pub use calibrate::Prices;
pub use conntrack::{Conntrack, ConntrackError, Ends};
pub use dump::{Dump, DumpPart};
pub use error::{KernelError, Refused};
pub use forms::Forms;
pub use heap::give_back;
pub use interfaces::{Hooked, Interfaces};
pub use load::{Kernel, Options};
pub use packets::{Classifier, Hook, Outcome, PushedIn, Side};
pub use points::{POINTS, PointRow, Price};
pub use scheduling::yield_to_others;
pub use uprobes::AttachedFile;

#[doc(hidden)]
pub use btf::Btf;
#[doc(hidden)]
pub use listed::Listed;
#[doc(hidden)]
pub use load::{RunCount, VerifierCost, verifier_costs};
#[doc(hidden)]
pub use trial::Trial;
