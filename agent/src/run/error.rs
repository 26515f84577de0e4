//! Why the agent cannot start, or cannot go on.

use std::io;

pub(super) use crate::causes::chain;
use crate::{export::ExportError, kernel::KernelError, query::server::ServeError};

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Query(#[from] ServeError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("a glob of the selection is none")]
    Glob(#[from] globset::Error),
    #[error("cannot start the thread `{name}`")]
    Thread { name: &'static str, source: io::Error },
    #[error("the thread `{thread}` of the agent died; the log has its last words, please report them")]
    Died { thread: &'static str },
    #[error(
        "the agent is in a pid namespace of its own, where the kernel's process ids mean others; \
             in Kubernetes set `hostPID: true`, with Docker `--pid=host`"
    )]
    PidNamespace,
    #[error("cannot wait for signals")]
    Signals { source: io::Error },
}

impl RunError {
    /// The settings cannot be used, which only their use has shown.
    #[must_use]
    pub fn is_bad_setting(&self) -> bool {
        matches!(self, Self::Export(_))
    }
}
