//! What a Go binary must give to be a target of the HTTP/1 probes.
//!
//! The file is foreign: every read is bounded, and bad input is an error or a [`Refusal`].

mod check;
mod error;
mod layout;
mod points;
mod refusal;
mod version;

pub use check::{Checked, ConnItabs, SelfCheckInput};
pub use error::{GoError, PclntabError, SelfCheckError};
pub use layout::{Field, HttpLayout, LayoutNote, OffsetsFrom};
pub use points::{Point, PointKind, PointName, Side};
pub use refusal::{Refusal, RefusalReason, Subject};
pub use version::GoVersion;

/// Plain data. Addresses are as linked, without the load bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoBinary {
    pub version: GoVersion,
    pub pie: bool,
    pub stripped: bool,
    /// Go's own build id, else the GNU one.
    pub build_id: Option<String>,
    pub offsets_from: OffsetsFrom,
    pub layout: HttpLayout,
    pub layout_notes: Vec<LayoutNote>,
    pub points: Vec<Point>,
    pub refused: Vec<Refusal>,
    pub checks: SelfCheckInput,
    pub base: ImageBase,
}

/// The lowest loaded segment; what is needed to tell the load bias from `/proc/PID/maps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageBase {
    pub address: u64,
    pub file_offset: u64,
}
