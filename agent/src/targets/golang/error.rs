//! Why a file or a process cannot be watched at all.

use std::io;

use thiserror::Error;

use super::{layout, version::GoVersion};
use crate::targets::elf::ElfError;

#[derive(Debug, Error)]
pub enum GoError {
    #[error(transparent)]
    Elf(#[from] ElfError),
    #[error("not built by Go")]
    NotGo,
    #[error("the build information of Go is damaged")]
    BuildInfo,
    #[error("`{raw}` is not a version of Go")]
    Version { raw: String },
    #[error("built with {version}; the oldest that can be watched is go1.{}", layout::OLDEST_MINOR)]
    TooOld { version: GoVersion },
    #[error(
        "built with {version}; the newest that is known is go1.{}, and the file has no debug \
         information that would tell every offset",
        layout::NEWEST_MINOR
    )]
    TooNew { version: GoVersion },
    #[error("{version}: {source}")]
    Functions { version: GoVersion, source: PclntabError },
}

impl GoError {
    /// What the program was built with, if it told that much.
    #[must_use]
    pub fn version(&self) -> Option<&GoVersion> {
        match self {
            Self::TooOld { version } | Self::TooNew { version } | Self::Functions { version, .. } => {
                Some(version)
            }
            Self::Elf(_) | Self::NotGo | Self::BuildInfo | Self::Version { .. } => None,
        }
    }
}

/// What is wrong with the table of functions.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PclntabError {
    #[error("the file has neither symbols nor Go's table of functions (.gopclntab)")]
    Missing,
    #[error("Go's table of functions (.gopclntab) has the format of Go 1.{minor}, which is not supported")]
    OldFormat { minor: u16 },
    #[error("Go's table of functions (.gopclntab) has an unknown format ({magic:#010x})")]
    UnknownFormat { magic: u32 },
    #[error("Go's table of functions (.gopclntab) is damaged: {what}")]
    Damaged { what: &'static str },
    #[error("the address that Go's table of functions (.gopclntab) starts from is not in the file")]
    NoTextStart,
}

#[derive(Debug, Error)]
pub enum SelfCheckError {
    #[error("the binary does not tell where the runtime keeps its goroutines")]
    NoGoroutines,
    #[error("cannot read {what} at {address:#x}")]
    Memory { what: &'static str, address: u64, source: io::Error },
    #[error("the runtime has not started yet")]
    NotStarted,
    #[error("the first goroutine has the id {goid} and starts at {startpc:#x}: the offsets are wrong")]
    WrongOffsets { goid: u64, startpc: u64 },
}
