//! What a hit costs here: the class of each program is run on a function of the agent itself.

use std::{arch::global_asm, fs::File, io, path::Path};

use agent_common::names;
use aya::Ebpf;

use super::{KernelError, Price, uprobes};
use crate::targets::elf::{ElfFile, Regular};

const OWN_FILE: &str = "/proc/self/exe";

// `push rbp` is what the probes of Go functions sit on, too.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl taskscope_calibrate", "taskscope_calibrate:", "push rbp", "pop rbp", "ret",);

unsafe extern "C" {
    fn taskscope_calibrate();
}

/// Nanoseconds of CPU time that a hit costs the thread that is hit, on this machine, at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    trap_ns: u64,
    begin_ns: u64,
    end_ns: u64,
}

impl Prices {
    #[must_use]
    pub fn of(&self, price: Price) -> u64 {
        match price {
            Price::Trap => self.trap_ns,
            Price::Begin => self.begin_ns,
            Price::End => self.end_ns,
        }
    }
}

/// Takes a few milliseconds.
pub(super) fn prices(ebpf: &mut Ebpf) -> Result<Prices, KernelError> {
    let own = |source| KernelError::OwnFile { source };
    let exe = File::open(OWN_FILE).map_err(own)?;
    let offset = file_offset().map_err(own)?.ok_or(KernelError::NotInOwnFile)?;
    let plain = cost_ns();
    let mut cost = |price: Price| -> Result<u64, KernelError> {
        let cookie = Some(price.cookie());
        let link = uprobes::attach_one(ebpf, names::PROG_CALIBRATE, &exe, offset, cookie)?;
        let with = cost_ns();
        drop(link);
        Ok(with.saturating_sub(plain))
    };
    Ok(Prices { trap_ns: cost(Price::Trap)?, begin_ns: cost(Price::Begin)?, end_ns: cost(Price::End)? })
}

/// CPU time of one call: the smallest of several rounds, because others disturb only upwards.
fn cost_ns() -> u64 {
    const ROUNDS: usize = 7;
    const CALLS: u64 = 200;
    (0..ROUNDS)
        .map(|_| {
            let before = crate::clock::thread_cpu_time();
            for _ in 0..CALLS {
                // SAFETY: the function touches nothing but its own stack slot.
                unsafe { taskscope_calibrate() };
            }
            let spent = crate::clock::thread_cpu_time().saturating_sub(before);
            u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX) / CALLS
        })
        .min()
        .unwrap_or(0)
}

/// Where the function lies in the file: its address, less where the file is mapped.
fn file_offset() -> io::Result<Option<u64>> {
    let address = (taskscope_calibrate as *const ()).expose_provenance() as u64;
    // Only headers are read: built with debug information the file has hundreds of megabytes.
    let file = Regular::open(Path::new(OWN_FILE)).and_then(ElfFile::parse).map_err(io::Error::other)?;
    let maps = procfs::process::Process::myself().and_then(|it| it.maps()).map_err(io::Error::other)?;
    let Some(map) = maps.0.iter().find(|map| map.address.0 <= address && address < map.address.1) else {
        return Ok(None);
    };
    let offset = address - map.address.0 + map.offset;
    let is_code = file.segments.iter().any(|segment| {
        let end = segment.offset.saturating_add(segment.file_size);
        segment.executable && (segment.offset..end).contains(&offset)
    });
    Ok(is_code.then_some(offset))
}
