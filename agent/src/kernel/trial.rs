//! Programs of interfaces, run on frames that somebody made up. For tests.

use std::time::Duration;

use agent_common::names;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};

use super::{Kernel, KernelError};

/// What a program returned, and how long a run took.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub returned: u32,
    pub took: Duration,
}

impl Kernel {
    /// What the parser says of a frame, as [`agent_common::pure::packet::digest`] does.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the program or the frame, which must be longer than an Ethernet header.
    pub fn parse(&mut self, frame: &[u8]) -> Result<Trial, KernelError> {
        self.run(names::PROG_PARSE, frame, 1)
    }

    /// Runs a classifier so many times on a frame, which has a socket.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn run(&mut self, name: &'static str, frame: &[u8], repeat: u32) -> Result<Trial, KernelError> {
        let refuse = |source| KernelError::Program { program: name, source: Box::new(source) };
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing { what: "program", name })?;
        let program: &mut SchedClassifier = program.try_into().map_err(refuse)?;
        if program.fd().is_err() {
            program.load().map_err(refuse)?;
        }
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let result = program.test_run(options).map_err(refuse)?;
        Ok(Trial { returned: result.return_value, took: result.duration })
    }
}
