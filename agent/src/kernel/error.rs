//! What can go wrong with the kernel, and what to do about it.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::BtfError;

/// What the kernel refuses, or this build does not have.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("this binary was built without its kernel half; run `cargo xtask build`")]
    BuiltWithout,
    #[error("cannot read the kernel's types from {path}; the kernel needs CONFIG_DEBUG_INFO_BTF")]
    NoBtf { path: PathBuf, source: io::Error },
    #[error("cannot understand the kernel's types in {path}; please report this kernel")]
    BadBtf { path: PathBuf, source: BtfError },
    #[error("the kernel's types have no `{path}`; please report this kernel")]
    NoField { path: &'static str },
    #[error("this kernel has no tracepoint `{name}`")]
    NoTracepoint { name: &'static str },
    #[error("tracepoint `{name}` hands over {found:?} instead of {wanted:?}; please report this kernel")]
    Arguments { name: &'static str, wanted: &'static [&'static str], found: Vec<String> },
    #[error("cannot load the kernel half: it needs root, or CAP_BPF and CAP_PERFMON; see `taskscope doctor`")]
    Load { source: Box<EbpfError> },
    #[error("the kernel half has no {what} `{name}`; its build and this agent do not belong together")]
    Missing { what: &'static str, name: &'static str },
    #[error("cannot use map `{name}`")]
    Map { name: &'static str, source: Box<MapError> },
    #[error("the kernel refuses program `{program}`{}", verdict(source))]
    Program { program: &'static str, source: Box<ProgramError> },
    #[error("cannot read `{what}` from the kernel")]
    Iterator { what: &'static str, source: io::Error },
    #[error("cannot read the agent's own program, which is needed to measure what a probe costs")]
    OwnFile { source: io::Error },
    #[error("the function that is measured is not in the agent's own file; please report this build")]
    NotInOwnFile,
    #[error("cannot attach `{program}` to {target}{}", advice(source))]
    Attach { program: &'static str, target: String, source: Box<ProgramError> },
    #[error("{interface} has an XDP program already")]
    InterfaceTaken { interface: String },
    #[error("{interface} carries no Ethernet frames, and its packets would be misread")]
    NoEthernet { interface: String },
    #[error(
        "this kernel has no links for classifiers (TCX), which takes Linux 6.6; `--tc auto` takes filters"
    )]
    NoTcx,
    #[error(
        "cannot put a filter on {interface}; it needs CAP_NET_ADMIN, and a kernel with clsact and cls_bpf"
    )]
    Filter { interface: String, source: io::Error },
    #[error(
        "{interface} has a filter of priority 1 already, which may keep packets from others: \
         see `tc filter show dev {interface} {side}`"
    )]
    PriorityTaken { interface: String, side: &'static str },
    #[error("{interface} has a qdisc `{kind}`, and filters take a clsact qdisc in its place")]
    OtherQdisc { interface: String, kind: String },
    #[error("the driver of {interface} takes XDP only in a form that would outlive the agent")]
    NoXdpLink { interface: String },
}

impl KernelError {
    /// The interface went away before something could be attached to it, which is no failure.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let source = match self {
            Self::Attach { source, .. } => source,
            Self::Filter { source, .. } => return is_no_device(source),
            _ => return false,
        };
        match &**source {
            ProgramError::UnknownInterface { .. } => true,
            ProgramError::SyscallError(error) => is_no_device(&error.io_error),
            ProgramError::IOError(error) => is_no_device(error),
            _ => false,
        }
    }
}

fn is_no_device(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
}

/// A feature that does not work here, with the reason.
#[derive(Debug)]
pub struct Refused {
    pub feature: &'static str,
    pub error: KernelError,
}

/// The verifier's last telling line; all of it is in the source.
fn verdict(error: &ProgramError) -> String {
    let ProgramError::LoadError { verifier_log, .. } = error else {
        return String::new();
    };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let telling =
        lines.iter().rev().find(|line| !line.starts_with("processed ") && !line.starts_with("verification"));
    telling.map_or_else(String::new, |line| {
        format!(": {line} ({} lines omitted)", lines.len().saturating_sub(1))
    })
}

fn advice(error: &ProgramError) -> &'static str {
    let ProgramError::SyscallError(error) = error else {
        return "";
    };
    match error.io_error.kind() {
        io::ErrorKind::PermissionDenied => "; it needs CAP_BPF and CAP_PERFMON, for interfaces CAP_NET_ADMIN",
        io::ErrorKind::NotFound => "; it is gone",
        _ => "",
    }
}
