//! Why the agent cannot start.

use std::{error::Error, fmt, io};

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

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> impl fmt::Display {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
