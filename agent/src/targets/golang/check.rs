//! Proves in the running process that the offsets are right.

use std::{io, ops::Range, path::Path};

use procfs::process::{MMapPath, MemoryMaps};

use super::{GoBinary, error::SelfCheckError, itabs};
use crate::targets::{elf::u64_at, memory::TargetMemory};

const PAGE_BYTES: u64 = 4096;
const FIRST_GOID: u64 = 1;

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

impl ConnItabs {
    fn moved_by(&self, bias: u64) -> Self {
        let moved = |it: &[u64]| it.iter().map(|address| address.wrapping_add(bias)).collect();
        Self { tcp: moved(&self.tcp), tls: moved(&self.tls) }
    }
}

/// What a process that passed the check gives. Addresses are those of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Empty when the program has no such connection, or does not tell: then no connection is known.
    pub itabs: ConnItabs,
}

/// How far the process has the file from where it was linked. `exe` is what `/proc/PID/exe` says.
pub fn load_bias(maps: &MemoryMaps, exe: &Path, binary: &GoBinary) -> Option<u64> {
    if !binary.pie {
        return Some(0);
    }
    let page = |it: u64| it & !(PAGE_BYTES - 1);
    let first = maps.0.iter().find(|it| {
        it.offset == page(binary.base.file_offset)
            && matches!(&it.pathname, MMapPath::Path(path) if path == exe)
    })?;
    first.address.0.checked_sub(page(binary.base.address))
}

/// Refuses a process in which the first goroutine is not where the layout says.
pub fn self_check(
    memory: &TargetMemory,
    load_bias: u64,
    binary: &GoBinary,
) -> Result<Checked, SelfCheckError> {
    let checks = &binary.checks;
    let (Some(allgs), Some(main)) = (checks.allgs, checks.runtime_main) else {
        return Err(SelfCheckError::NoGoroutines);
    };
    let at = |address: u64| address.wrapping_add(load_bias);
    check_first_goroutine(memory, at(allgs), at(main), binary)?;
    let itabs = if checks.itabs.tcp.is_empty() && checks.itabs.tls.is_empty() {
        match checks.module_data {
            Some(module_data) => itabs::find(memory, at(module_data), &binary.version)?,
            None => ConnItabs::default(),
        }
    } else {
        checks.itabs.moved_by(load_bias)
    };
    Ok(Checked { itabs })
}

fn check_first_goroutine(
    memory: &TargetMemory,
    allgs: u64,
    main: u64,
    binary: &GoBinary,
) -> Result<(), SelfCheckError> {
    let mut slice = [0; 16];
    read(memory, "the list of goroutines", allgs, &mut slice)?;
    let (Some(array), Some(1..)) = (u64_at(&slice, 0), u64_at(&slice, 8)) else {
        return Err(SelfCheckError::NotStarted);
    };
    let first = read_u64(memory, "the list of goroutines", array)?;
    let field = |offset: u16| read_u64(memory, "the first goroutine", first.wrapping_add(u64::from(offset)));
    let goid = field(binary.layout.g_goid)?;
    let startpc = field(binary.layout.g_startpc)?;
    match (goid, startpc) {
        (FIRST_GOID, _) if startpc == main => Ok(()),
        // The runtime lists the goroutine first and fills it then.
        (0, 0) => Err(SelfCheckError::NotStarted),
        (0, _) if startpc == main => Err(SelfCheckError::NotStarted),
        _ => Err(SelfCheckError::WrongOffsets { goid, startpc }),
    }
}

pub(crate) fn read_u64(
    memory: &TargetMemory,
    what: &'static str,
    address: u64,
) -> Result<u64, SelfCheckError> {
    let mut bytes = [0; 8];
    read(memory, what, address, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

pub(crate) fn read(
    memory: &TargetMemory,
    what: &'static str,
    address: u64,
    buffer: &mut [u8],
) -> Result<(), SelfCheckError> {
    let failed = |source: io::Error| SelfCheckError::Memory { what, address, source };
    memory.read(address, buffer).map_err(failed)
}
