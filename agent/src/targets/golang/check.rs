//! Proves in the running process that the offsets are right.

use std::{io, ops::Range, path::Path};

use procfs::process::{MMapPath, MemoryMaps};

use super::{
    GoBinary,
    error::SelfCheckError,
    itabs::{self, Itabs},
    points::Side,
    sql_types::SqlTypes,
};
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

/// The method tables that tell which kind of connection stands behind a `net.Conn`, and of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnItabs {
    pub tcp: Vec<u64>,
    /// Of TLS, and of what golang.org/x/net/http2/h2c wraps around a connection: it is the first field of both.
    pub tls: Vec<u64>,
    /// What gRPC puts around a connection with TLS.
    pub grpc_wrapped: Option<u64>,
    /// No connection: gRPC's own server as the transport of its requests.
    pub grpc_server: Option<u64>,
}

impl ConnItabs {
    fn moved_by(&self, bias: u64) -> Self {
        let moved = |it: &[u64]| it.iter().map(|address| address.wrapping_add(bias)).collect();
        let moved_one = |it: Option<u64>| it.map(|address| address.wrapping_add(bias));
        Self {
            tcp: moved(&self.tcp),
            tls: moved(&self.tls),
            grpc_wrapped: moved_one(self.grpc_wrapped),
            grpc_server: moved_one(self.grpc_server),
        }
    }
}

/// What a process that passed the check gives. Addresses are those of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Empty when the program has no such connection, or does not tell: then no connection is known.
    pub itabs: ConnItabs,
    /// Empty when the program has no database, or does not tell: then no driver is known.
    pub sql: SqlTypes,
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
    let is_told = !checks.itabs.tcp.is_empty() || !checks.itabs.tls.is_empty();
    let has_sql = binary.points.iter().any(|it| it.name.side() == Side::Sql);
    let walked = match checks.module_data.filter(|_| has_sql || !is_told) {
        Some(module_data) => itabs::find(memory, at(module_data), &binary.version),
        None => Ok(Itabs::default()),
    };
    let (itabs, walked) = if is_told {
        // Without drivers there are still requests.
        (checks.itabs.moved_by(load_bias), walked.unwrap_or_default())
    } else {
        let walked = walked?;
        (walked.conns.clone(), walked)
    };
    let sql = if has_sql { walked.sql } else { SqlTypes::default() };
    Ok(Checked { itabs, sql })
}

fn check_first_goroutine(
    memory: &TargetMemory,
    allgs: u64,
    main: u64,
    binary: &GoBinary,
) -> Result<(), SelfCheckError> {
    let mut slice = [0; 16];
    read(memory, "the list of goroutines", allgs, &mut slice)?;
    let (Some(array), Some(n_goroutines @ 1..)) = (u64_at(&slice, 0), u64_at(&slice, 8)) else {
        return Err(SelfCheckError::NotStarted);
    };
    let first = read_u64(memory, "the list of goroutines", array)?;
    let field = |offset: u16| read_u64(memory, "the first goroutine", first.wrapping_add(u64::from(offset)));
    let goid = field(binary.layout.g_goid)?;
    let startpc = field(binary.layout.g_startpc)?;
    match goid {
        FIRST_GOID if startpc == main => Ok(()),
        // The runtime lists a goroutine before it fills it in, and starts others only after the first.
        0 if n_goroutines == 1 => Err(SelfCheckError::NotStarted),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::golang::{
        ImageBase,
        fixture::{Image, Names},
    };

    const STARTPC: usize = 304 / 8;
    const GOID: usize = 152 / 8;

    /// A first goroutine in this very process, and how many there are.
    fn check(goid: u64, startpc: u64, n_goroutines: u64) -> Result<Checked, SelfCheckError> {
        let mut goroutine = [0u64; 64];
        (goroutine[GOID], goroutine[STARTPC]) = (goid, startpc);
        let array = [&raw const goroutine as u64];
        let slice = [&raw const array as u64, n_goroutines, n_goroutines];
        let mut binary = GoBinary::parse(&Image::http(Names::Symbols).build()[..]).unwrap();
        binary.checks.allgs = Some(&raw const slice as u64);
        binary.checks.runtime_main = Some(0x40_1000);
        self_check(&TargetMemory::new(std::process::id()).unwrap(), 0, &binary)
    }

    #[test]
    fn the_first_goroutine_decides() {
        assert!(check(1, 0x40_1000, 5).is_ok());
        let wrong = |goid, startpc| {
            let error = check(goid, startpc, 5).unwrap_err();
            assert!(matches!(error, SelfCheckError::WrongOffsets { .. }), "{error}");
        };
        wrong(1, 0x40_1001);
        wrong(2, 0x40_1000);
        wrong(0, 0x40_1000);
        wrong(0, 0);
    }

    #[test]
    fn a_runtime_that_starts_is_no_wrong_one() {
        assert!(matches!(check(1, 0x40_1000, 0), Err(SelfCheckError::NotStarted)));
        assert!(matches!(check(0, 0x40_1000, 1), Err(SelfCheckError::NotStarted)));
        assert!(matches!(check(0, 0, 1), Err(SelfCheckError::NotStarted)));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let mut binary = GoBinary::parse(&Image::http(Names::Symbols).build()[..]).unwrap();
        let memory = TargetMemory::new(std::process::id()).unwrap();
        for bias in [0, 1 << 63, u64::MAX] {
            binary.checks.allgs = Some(8);
            let error = self_check(&memory, bias, &binary).unwrap_err();
            assert!(matches!(error, SelfCheckError::Memory { .. }), "{bias:#x}: {error}");
        }
        binary.checks.allgs = None;
        let error = self_check(&memory, 0, &binary).unwrap_err();
        assert!(matches!(error, SelfCheckError::NoGoroutines), "{error}");
    }

    #[test]
    fn the_bias_is_where_the_first_segment_went() {
        let maps = "400000-401000 r--p 00000000 fe:00 7 /usr/lib/other.so\n\
                    55a38d6c7000-55a38d908000 r-xp 00000000 fe:00 9 /srv/app (deleted)\n\
                    55a38d908000-55a38d909000 r--p 00241000 fe:00 9 /srv/app (deleted)\n";
        let maps = <MemoryMaps as procfs::FromBufRead>::from_buf_read(maps.as_bytes()).unwrap();
        let mut binary = GoBinary::parse(&Image::http(Names::Symbols).build()[..]).unwrap();
        assert_eq!(load_bias(&maps, Path::new("/srv/none"), &binary), Some(0));
        binary.pie = true;
        binary.base = ImageBase { address: 0x1040, file_offset: 0x40 };
        let exe = Path::new("/srv/app (deleted)");
        assert_eq!(load_bias(&maps, exe, &binary), Some(0x55a3_8d6c_6000));
        assert_eq!(load_bias(&maps, Path::new("/srv/none"), &binary), None);
        binary.base.file_offset = 0x9000;
        assert_eq!(load_bias(&maps, exe, &binary), None);
    }
}
