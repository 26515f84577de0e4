//! What the agent itself costs.

use std::time::Duration;

use crate::clock::{self, Ktime};

/// CPU time and memory of this process.
#[derive(Debug)]
pub(super) struct Load {
    at: Ktime,
    cpu: Duration,
    ratio: Option<f64>,
}

/// Shorter and the ratio would jump.
const MIN_INTERVAL: Duration = Duration::from_secs(5);

impl Load {
    pub(super) fn new() -> Self {
        Self { at: clock::now(), cpu: clock::cpu_time(), ratio: None }
    }

    /// Of one core, over the last seconds; `None` before there are two readings.
    pub(super) fn cpu_ratio(&mut self) -> Option<f64> {
        let now = clock::now();
        let elapsed = now.since(self.at);
        if MIN_INTERVAL <= elapsed {
            let cpu = clock::cpu_time();
            self.ratio = Some(cpu.saturating_sub(self.cpu).as_secs_f64() / elapsed.as_secs_f64());
            (self.at, self.cpu) = (now, cpu);
        }
        self.ratio
    }

    pub(super) fn rss_bytes() -> Option<u64> {
        let statm = procfs::process::Process::myself().ok()?.statm().ok()?;
        Some(statm.resident * procfs::page_size())
    }
}
