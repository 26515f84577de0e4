//! The few functions and variables that are looked for, from the symbols or from Go's own table.

use std::{collections::HashMap, ops::Range};

use super::{
    check::ConnItabs,
    error::PclntabError,
    module,
    pclntab::{self, Pclntab},
    points::{Names, PointName},
};
use crate::targets::elf::{ElfError, ElfFile, ReadAt, u16_at, u32_at, u64_at};

pub(crate) const RUNTIME_MAIN: &str = "runtime.main";
pub(crate) const ALLGADD: &str = "runtime.allgadd";
const ALLGS: &str = "runtime.allgs";
pub(crate) const MODULE_DATA: &str = "runtime.firstmoduledata";
/// The compiler may make more than one table for a pair of types; then the name goes on.
const TCP_ITAB: &[u8] = b"go:itab.*net.TCPConn,net.Conn";
const TLS_ITAB: &[u8] = b"go:itab.*crypto/tls.Conn,net.Conn";
const H2C_ITAB: &[u8] = b"go:itab.*golang.org/x/net/http2/h2c.bufConn,net.Conn";
const WRAPPED_ITAB: &[u8] = b"go:itab.*google.golang.org/grpc/internal/credentials.syscallConn,net.Conn";
const SERVER_TRANSPORT_ITAB: &[u8] = b"go:itab.*google.golang.org/grpc/internal/transport.http2Server,\
    google.golang.org/grpc/internal/transport.ServerTransport";
const MAX_ITABS: usize = 8;

const SYMBOL_BYTES: usize = 24;

/// Addresses as linked.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    functions: HashMap<&'static str, Range<u64>>,
    pub(crate) allgs: Option<u64>,
    pub(crate) module_data: Option<u64>,
    pub(crate) itabs: ConnItabs,
}

#[derive(Debug)]
pub(crate) enum SymbolsError {
    Elf(ElfError),
    Table(PclntabError),
}

impl Symbols {
    pub(crate) fn function(&self, name: &str) -> Option<&Range<u64>> {
        self.functions.get(name)
    }

    /// The first of its names that the file has, or the first of all.
    pub(crate) fn name_here(&self, names: Names) -> &'static str {
        let here = names.iter().find(|it| self.functions.contains_key(**it));
        here.or(names.first()).copied().unwrap_or_default()
    }

    pub(crate) fn read<R: ReadAt>(file: &ElfFile<R>) -> Result<Self, SymbolsError> {
        let wanted = wanted();
        let symbols = Self::from_elf(file, &wanted).map_err(SymbolsError::Elf)?;
        // A file may keep some symbols and have lost those of Go.
        if symbols.functions.contains_key(RUNTIME_MAIN) {
            return Ok(symbols);
        }
        Self::from_pclntab(file, &wanted)
    }

    fn from_elf<R: ReadAt>(file: &ElfFile<R>, wanted: &Wanted) -> Result<Self, ElfError> {
        let mut symbols = Self::default();
        let Some(table) = file.section(".symtab") else {
            return Ok(symbols);
        };
        let Some(names) = file.sections.get(table.link as usize) else {
            return Ok(symbols);
        };
        let (table, names) = (file.data(table)?, file.data(names)?);
        for symbol in table.chunks_exact(SYMBOL_BYTES) {
            symbols.add_elf(symbol, &names, wanted);
        }
        Ok(symbols)
    }

    fn add_elf(&mut self, symbol: &[u8], names: &[u8], wanted: &Wanted) -> Option<()> {
        const UNDEFINED: u16 = 0;
        let name = pclntab::name_at(names, u32_at(symbol, 0)? as usize)?;
        let (index, address, size) = (u16_at(symbol, 6)?, u64_at(symbol, 8)?, u64_at(symbol, 16)?);
        if index == UNDEFINED {
            return None;
        }
        if let Some(&name) = wanted.get(name) {
            self.functions.insert(name, address..address.checked_add(size)?);
        } else if name == ALLGS.as_bytes() {
            self.allgs = Some(address);
        } else if name == MODULE_DATA.as_bytes() {
            self.module_data = Some(address);
        } else if name.starts_with(TCP_ITAB) && self.itabs.tcp.len() < MAX_ITABS {
            self.itabs.tcp.push(address);
        } else if (name.starts_with(TLS_ITAB) || name.starts_with(H2C_ITAB))
            && self.itabs.tls.len() < MAX_ITABS
        {
            self.itabs.tls.push(address);
        } else if name.starts_with(WRAPPED_ITAB) {
            self.itabs.grpc_wrapped = Some(address);
        } else if name.starts_with(SERVER_TRANSPORT_ITAB) {
            self.itabs.grpc_server = Some(address);
        }
        Some(())
    }

    fn from_pclntab<R: ReadAt>(file: &ElfFile<R>, wanted: &Wanted) -> Result<Self, SymbolsError> {
        if let Some(section) = pclntab::SECTIONS.iter().find_map(|it| file.section(it)) {
            let data = file.data(section).map_err(SymbolsError::Elf)?;
            return Self::from_table(file, section.address, &data, wanted).map_err(SymbolsError::Table);
        }
        // The linker of C, used with cgo, puts the table of a position-independent program among its own.
        let missing = Err(SymbolsError::Table(PclntabError::Missing));
        let Some(section) = file.section(pclntab::SECTION_OF_C) else {
            return missing;
        };
        let data = file.data(section).map_err(SymbolsError::Elf)?;
        pclntab::candidates(&data)
            .filter_map(|offset| {
                let address = section.address.checked_add(offset as u64)?;
                Self::from_table(file, address, &data[offset..], wanted).ok()
            })
            .next()
            .map_or(missing, Ok)
    }

    fn from_table<R: ReadAt>(
        file: &ElfFile<R>,
        address: u64,
        data: &[u8],
        wanted: &Wanted,
    ) -> Result<Self, PclntabError> {
        let table = Pclntab::parse(data)?;
        let module = module::find(file, address, table.names_offset);
        let text_start = module
            .and_then(|it| it.text_start)
            .filter(|start| file.holds_code(*start, u64::from(table.text_size())))
            .ok_or(PclntabError::NoTextStart)?;
        let mut symbols = Self { module_data: module.map(|it| it.address), ..Self::default() };
        for function in table.functions() {
            if let Some(&name) = wanted.get(function.name) {
                // The table is that of the text, as was checked above, but an entry may still be damaged.
                let start = text_start.saturating_add(u64::from(function.offset));
                symbols.functions.insert(name, start..start.saturating_add(u64::from(function.size)));
            }
        }
        Ok(symbols)
    }
}

type Wanted = HashMap<&'static [u8], &'static str>;

fn wanted() -> Wanted {
    let of_points = PointName::ALL.iter().flat_map(|it| it.place().symbols());
    of_points.chain([RUNTIME_MAIN, ALLGADD]).map(|it| (it.as_bytes(), it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wanted_name_fits_the_bound_of_names() {
        let itabs = [TCP_ITAB, TLS_ITAB, WRAPPED_ITAB, SERVER_TRANSPORT_ITAB];
        for name in wanted().keys().chain(&itabs) {
            assert!(name.len() <= pclntab::MAX_NAME_BYTES);
        }
    }
}
