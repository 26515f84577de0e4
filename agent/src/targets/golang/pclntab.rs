//! Go's own table of functions, which no strip removes. Formats of Go 1.20 and later.

use super::error::PclntabError;
use crate::targets::elf::{u32_at, u64_at};

/// A position-independent build keeps the table among the relocated data, up to Go 1.25.
pub(crate) const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

pub(crate) const SECTION_OF_C: &str = ".data.rel.ro";

/// Magic, padding, the size of an instruction unit, the size of a pointer.
const HEADER: [u8; 8] = [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, POINTER_BYTES];
const MAX_CANDIDATES: usize = 4;

const MAGIC: u32 = 0xffff_fff1;
const MAGIC_GO118: u32 = 0xffff_fff0;
const MAGIC_GO116: u32 = 0xffff_fffa;
const POINTER_BYTES: u8 = 8;
const ENTRY_BYTES: usize = 8;
/// Nothing that is looked for has a longer name; the bound keeps a table without zero bytes cheap.
pub(crate) const MAX_NAME_BYTES: usize = 144;

#[derive(Clone, Copy, Debug)]
pub struct Pclntab<'a> {
    n_functions: usize,
    names: &'a [u8],
    /// Pairs of (offset from the start of the text, offset of the description), then the descriptions.
    entries: &'a [u8],
    /// From the start of the table; the module data repeats it as an address.
    pub names_offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    pub name: &'a [u8],
    /// From the start of the text.
    pub offset: u32,
    pub size: u32,
}

impl<'a> Pclntab<'a> {
    pub fn parse(data: &'a [u8]) -> Result<Self, PclntabError> {
        let damaged = |what| PclntabError::Damaged { what };
        match u32_at(data, 0).ok_or(damaged("no header"))? {
            MAGIC => {}
            MAGIC_GO118 => return Err(PclntabError::OldFormat { minor: 18 }),
            MAGIC_GO116 => return Err(PclntabError::OldFormat { minor: 16 }),
            magic => return Err(PclntabError::UnknownFormat { magic }),
        }
        if data.get(7) != Some(&POINTER_BYTES) {
            return Err(damaged("not the pointers of this machine"));
        }
        let word = |index: usize| u64_at(data, 8 + 8 * index).ok_or(damaged("no header"));
        let part = |offset: u64, what| {
            usize::try_from(offset).ok().and_then(|it| data.get(it..)).ok_or(damaged(what))
        };
        let names_offset = word(3)?;
        let names = part(names_offset, "names outside of the table")?;
        let entries = part(word(7)?, "functions outside of the table")?;
        let n_functions = word(0)?;
        let room = entries.len().saturating_sub(ENTRY_BYTES / 2) / ENTRY_BYTES;
        if (room as u64) < n_functions {
            return Err(damaged("more functions than the table holds"));
        }
        Ok(Self { n_functions: n_functions as usize, names, entries, names_offset })
    }

    /// Entries that are damaged or longer than any name of interest are left out.
    pub fn functions(self) -> impl Iterator<Item = Function<'a>> {
        (0..self.n_functions).filter_map(move |index| self.function(index))
    }

    /// Where the last function ends, from the start of the text.
    pub fn text_size(self) -> u32 {
        u32_at(self.entries, self.n_functions * ENTRY_BYTES).unwrap_or_default()
    }

    fn function(self, index: usize) -> Option<Function<'a>> {
        let entry = index * ENTRY_BYTES;
        let offset = u32_at(self.entries, entry)?;
        let next = u32_at(self.entries, entry + ENTRY_BYTES)?;
        let description = u32_at(self.entries, entry + 4)? as usize;
        let name_offset = u32_at(self.entries, description.checked_add(4)?)? as usize;
        let name = name_at(self.names, name_offset)?;
        Some(Function { name, offset, size: next.checked_sub(offset)? })
    }
}

/// Where a table may start in a section that holds other things too.
pub(crate) fn candidates(data: &[u8]) -> impl Iterator<Item = usize> {
    let starts = data.chunks_exact(HEADER.len()).enumerate();
    starts.filter_map(|(index, it)| (it == HEADER).then_some(index * HEADER.len())).take(MAX_CANDIDATES)
}

/// The name at `offset`, unless it is longer than any that is looked for.
pub(crate) fn name_at(names: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = names.get(offset..)?;
    let rest = &rest[..rest.len().min(MAX_NAME_BYTES + 1)];
    rest.get(..rest.iter().position(|&it| it == 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_ranges() {
        let table = table(&[("runtime.main", 0x40), ("main.main", 0x90)], 0xa0);
        let pclntab = Pclntab::parse(&table).unwrap();
        let got: Vec<_> = pclntab.functions().collect();
        let want = [
            Function { name: b"runtime.main", offset: 0x40, size: 0x50 },
            Function { name: b"main.main", offset: 0x90, size: 0x10 },
        ];
        assert_eq!(got, want);
        assert_eq!(pclntab.text_size(), 0xa0);
    }

    #[test]
    fn other_formats_are_told_apart() {
        check(&[0xf0, 0xff, 0xff, 0xff], PclntabError::OldFormat { minor: 18 });
        check(&[0xfa, 0xff, 0xff, 0xff], PclntabError::OldFormat { minor: 16 });
        check(&[1, 2, 3, 4], PclntabError::UnknownFormat { magic: 0x0403_0201 });
        check(&[], PclntabError::Damaged { what: "no header" });
    }

    #[test]
    fn claims_beyond_the_table_are_refused() {
        let claims = [
            (0, 100, "more functions than the table holds"),
            (0, u64::MAX, "more functions than the table holds"),
            (0, 1 << 32, "more functions than the table holds"),
            (3, 1 << 32, "names outside of the table"),
            (3, u64::MAX, "names outside of the table"),
            (7, 4096, "functions outside of the table"),
        ];
        for (index, claim, what) in claims {
            let mut table = table(&[("a", 0), ("b", 1)], 2);
            table[8 + 8 * index..][..8].copy_from_slice(&u64::to_le_bytes(claim));
            check(&table, PclntabError::Damaged { what });
        }
    }

    #[test]
    fn damaged_entries_are_left_out() {
        let mut table = table(&[("a", 8), ("b", 4), ("c", 6)], 9);
        let names: Vec<_> = Pclntab::parse(&table).unwrap().functions().map(|it| it.name).collect();
        assert_eq!(names, [b"b", b"c"], "the first ends before it starts");

        let entries = u64_at(&table, 8 + 8 * 7).unwrap() as usize;
        table[entries + ENTRY_BYTES + 4..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let names: Vec<_> = Pclntab::parse(&table).unwrap().functions().map(|it| it.name).collect();
        assert_eq!(names, [b"c"], "the second has its description outside");
    }

    #[test]
    fn finds_itself_among_other_things() {
        let table = table(&[("main.main", 0)], 16);
        let data =
            [&[0; 24], &table[..], &vec![0; table.len().next_multiple_of(8) - table.len()], &HEADER].concat();
        assert_eq!(candidates(&data).collect::<Vec<_>>(), [24, data.len() - HEADER.len()]);
        assert_eq!(Pclntab::parse(&data[24..]).unwrap().functions().count(), 1);
        assert_eq!(candidates(&HEADER.repeat(100)).count(), MAX_CANDIDATES);
    }

    #[test]
    fn a_name_without_end_is_none() {
        assert_eq!(name_at(&[b'x'; 4096], 7), None);
        assert_eq!(name_at(b"abc", 0), None);
        assert_eq!(name_at(b"abc\0", 1), Some(&b"bc"[..]));
        assert_eq!(name_at(b"abc\0", usize::MAX), None);
    }

    #[test]
    fn no_prefix_of_a_table_gives_more_than_the_table() {
        let table = table(&[("runtime.main", 0), ("main.main", 16)], 32);
        for size in 0..table.len() {
            if let Ok(pclntab) = Pclntab::parse(&table[..size]) {
                assert!(pclntab.functions().count() <= 2, "{size} bytes");
            }
        }
    }

    #[track_caller]
    fn check(table: &[u8], want: PclntabError) {
        assert_eq!(Pclntab::parse(table).unwrap_err(), want);
    }

    /// A table as the linker lays it out: header, names, entries, descriptions.
    fn table(functions: &[(&str, u32)], end: u32) -> Vec<u8> {
        const HEADER_BYTES: usize = 8 + 8 * 8;
        let mut names = Vec::new();
        let mut entries = Vec::new();
        let mut descriptions = Vec::new();
        let first = functions.len() * ENTRY_BYTES + 4;
        for (name, offset) in functions {
            entries.extend(offset.to_le_bytes());
            entries.extend(((first + descriptions.len()) as u32).to_le_bytes());
            descriptions.extend(offset.to_le_bytes());
            descriptions.extend((names.len() as u32).to_le_bytes());
            names.extend(name.bytes().chain([0]));
        }
        entries.extend(end.to_le_bytes());
        let entries_offset = HEADER_BYTES + names.len();
        let words = [functions.len(), 0, 0, HEADER_BYTES, 0, 0, 0, entries_offset];
        let mut table = [&MAGIC.to_le_bytes()[..], &[0, 0, 1, POINTER_BYTES]].concat();
        table.extend(words.iter().flat_map(|it| (*it as u64).to_le_bytes()));
        [table, names, entries, descriptions].concat()
    }
}
