//! The runtime's own description of the program: where its text, types and method tables are.

use object::elf;

use crate::targets::elf::{ElfFile, ReadAt, Section, u64_at};

/// A section of its own since Go 1.26.
const SECTION: &str = ".go.module";
const TEXT_OFFSET: u64 = 176;
const MODULE_BYTES: u64 = 400;
const RELOCATION_BYTES: usize = 24;
/// Each candidate costs a pass over the relocations; a real file has one.
const MAX_CANDIDATES: usize = 16;
const RELATIVE: u32 = elf::R_X86_64_RELATIVE.0;

/// Addresses as linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModuleData {
    pub(crate) address: u64,
    pub(crate) text_start: Option<u64>,
}

/// Finds it without symbols: it begins with the address of the table of functions and that of its names.
pub(crate) fn find<R: ReadAt>(file: &ElfFile<R>, pclntab: u64, names_offset: u64) -> Option<ModuleData> {
    let names = pclntab.checked_add(names_offset)?;
    let relocations = relocations(file);
    let is_module = |address: u64| {
        word(file, &relocations, address) == Some(pclntab)
            && word(file, &relocations, address.wrapping_add(8)) == Some(names)
    };
    let in_section = || file.section(SECTION).map(|it| it.address).filter(|it| is_module(*it));
    let in_data =
        || file.sections.iter().filter(|it| is_data(it)).find_map(|it| scan(file, it, pclntab, names));
    let in_relocations = || {
        relocated(&relocations)
            .filter_map(|(address, value)| (value == pclntab).then_some(address))
            .take(MAX_CANDIDATES)
            .find(|it| is_module(*it))
    };
    let address = in_section().or_else(in_data).or_else(in_relocations)?;
    let text_start = word(file, &relocations, address.checked_add(TEXT_OFFSET)?).filter(|it| *it != 0);
    Some(ModuleData { address, text_start })
}

fn is_data(section: &Section) -> bool {
    const WRITABLE: u64 = elf::SHF_WRITE.0;
    const THREAD_LOCAL: u64 = elf::SHF_TLS.0;
    section.flags & WRITABLE != 0
        && section.flags & THREAD_LOCAL == 0
        && section.kind == elf::SHT_PROGBITS.0
        && MODULE_BYTES <= section.size
}

fn scan<R: ReadAt>(file: &ElfFile<R>, section: &Section, pclntab: u64, names: u64) -> Option<u64> {
    let data = file.data(section).ok()?;
    let index = data
        .chunks_exact(8)
        .zip(data.get(8..)?.chunks_exact(8))
        .position(|(first, second)| u64_at(first, 0) == Some(pclntab) && u64_at(second, 0) == Some(names))?;
    section.address.checked_add(8 * index as u64)
}

/// The relocations of a position-independent file; what they set need not be in place in the file.
fn relocations<R: ReadAt>(file: &ElfFile<R>) -> Vec<u8> {
    let allocated = elf::SHF_ALLOC.0;
    file.sections
        .iter()
        .filter(|it| it.kind == elf::SHT_RELA.0 && it.flags & allocated != 0)
        .flat_map(|it| file.data(it).unwrap_or_default())
        .collect()
}

fn relocated(relocations: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    relocations.chunks_exact(RELOCATION_BYTES).filter_map(|it| {
        let kind = u64_at(it, 8)? as u32;
        (kind == RELATIVE).then_some((u64_at(it, 0)?, u64_at(it, 16)?))
    })
}

/// What the process will find at `address`, less the load bias.
fn word<R: ReadAt>(file: &ElfFile<R>, relocations: &[u8], address: u64) -> Option<u64> {
    relocated(relocations)
        .find_map(|(place, value)| (place == address).then_some(value))
        .or_else(|| u64_at(&file.at_address(address, 8)?, 0))
}
