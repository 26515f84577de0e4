//! What a Go binary must give to be a target of the probes.
//!
//! The file is foreign: every read is bounded, and bad input is an error or a [`Refusal`].

mod aftercall;
mod allgs;
mod binary;
pub mod buildinfo;
mod check;
mod dwarf;
mod emulated;
mod error;
mod find;
#[cfg(test)]
mod fixture;
mod grpc;
#[cfg(test)]
mod hostile;
mod itabs;
mod layout;
mod module;
pub mod pclntab;
mod points;
mod prologue;
mod refusal;
mod sql_types;
mod symbols;
mod version;

pub use binary::{GoBinary, ImageBase};
pub use check::{Checked, ConnItabs, SelfCheckInput, load_bias, self_check};
pub use error::{GoError, PclntabError, SelfCheckError};
pub use grpc::GrpcLayout;
#[doc(hidden)]
pub use itabs::find as find_itabs;
pub use layout::{Field, HttpLayout, OffsetsFrom};
pub(crate) use points::Need;
pub use points::{Point, PointKind, PointName, Side};
pub use refusal::{Refusal, RefusalReason, Subject};
pub use sql_types::SqlTypes;
pub use version::GoVersion;
