//! Proves in the running process that the offsets are right.

use std::ops::Range;

use super::error::SelfCheckError;

/// Addresses as linked, without the load bias.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfCheckInput {
    /// `runtime.allgs`, a slice of pointers to goroutines.
    pub allgs: Option<u64>,
    /// The function that the first goroutine starts with.
    pub runtime_main: Option<u64>,
    pub module_data: Option<u64>,
    pub text: Range<u64>,
    /// Known from symbols; a stripped file has none.
    pub itabs: ConnItabs,
}

/// The method tables that tell which kind of connection stands behind a `net.Conn`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnItabs {
    pub tcp: Vec<u64>,
    pub tls: Vec<u64>,
}

/// What a process that passed the check gives. Addresses are those of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub itabs: ConnItabs,
}

pub(crate) type CheckResult<T> = Result<T, SelfCheckError>;
