//! Debug lines of the kernel half, by way of aya-log. Off by default: then they cost nothing.

use aya::Ebpf;
use aya_log::EbpfLogger;

/// Hands what the kernel half logged to the agent's own log.
pub(super) struct KernelLog(Option<EbpfLogger<&'static dyn log::Log>>);

impl KernelLog {
    pub(super) fn new(ebpf: &mut Ebpf) -> Self {
        match EbpfLogger::init(ebpf) {
            Ok(logger) => Self(Some(logger)),
            Err(error) => {
                tracing::warn!(%error, "Cannot read the kernel half's log.");
                Self(None)
            }
        }
    }

    pub(super) fn off() -> Self {
        Self(None)
    }

    pub(super) fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}
