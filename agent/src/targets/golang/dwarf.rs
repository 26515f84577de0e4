//! Offsets of fields from the debug information of the file itself.

use std::collections::HashMap;

use gimli::{AttributeValue, DebugAbbrev, DebugInfo, EndianSlice, LittleEndian, UnitHeader, constants};
use object::read::{CompressedData, CompressionFormat};

use super::layout::Field;
use crate::targets::elf::{ElfFile, ReadAt, Section, u32_at, u64_at};

/// The linker puts the types of all packages into the unit of this one.
const TYPES_UNIT: &str = "runtime";
/// Above that the table serves as well, and the agent stays small.
const MAX_INFO_BYTES: u64 = 48 << 20;
const MAX_ABBREV_BYTES: u64 = 1 << 20;
const COMPRESSION_HEADER_BYTES: usize = 24;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Struct and member to offset.
type Members = HashMap<(&'static str, &'static str), u16>;

/// The fields that the file tells. A file without debug information tells none, and so does a damaged one.
pub(crate) fn fields<R: ReadAt>(file: &ElfFile<R>) -> HashMap<Field, u16> {
    let info = section(file, ".debug_info", MAX_INFO_BYTES);
    let abbreviations = section(file, ".debug_abbrev", MAX_ABBREV_BYTES);
    match (info, abbreviations) {
        (Some(info), Some(abbreviations)) => parse(&info, &abbreviations),
        _ => HashMap::new(),
    }
}

/// As [`fields`], from the two sections.
pub(crate) fn parse(info: &[u8], abbreviations: &[u8]) -> HashMap<Field, u16> {
    let abbreviations = DebugAbbrev::new(abbreviations, LittleEndian);
    let mut members = Members::new();
    let mut missing = wanted().len();
    let mut units = DebugInfo::new(info, LittleEndian).units();
    while let Ok(Some(unit)) = units.next() {
        if missing == 0 {
            break;
        }
        // What was read before the damage stands.
        let _damaged = read_unit(&unit, &abbreviations, &mut members, &mut missing);
    }
    Field::ALL.iter().filter_map(|&field| Some((field, sum(field, &members)?))).collect()
}

fn sum(field: Field, members: &Members) -> Option<u16> {
    field.path().iter().try_fold(0u16, |sum, step| sum.checked_add(*members.get(step)?))
}

fn wanted() -> HashMap<&'static [u8], Vec<(&'static str, &'static str)>> {
    let mut wanted = HashMap::<_, Vec<_>>::new();
    for &(structure, member) in Field::ALL.iter().flat_map(|it| it.path()) {
        wanted.entry(structure.as_bytes()).or_default().push((structure, member));
    }
    wanted
}

fn read_unit(
    unit: &UnitHeader<Slice<'_>>,
    abbreviations: &DebugAbbrev<Slice<'_>>,
    members: &mut Members,
    missing: &mut usize,
) -> gimli::Result<()> {
    let wanted = wanted();
    let abbreviations = unit.abbreviations(abbreviations)?;
    let mut entries = unit.entries_raw(&abbreviations, None)?;
    // The struct that the current entry may be a member of.
    let mut inside: Option<(isize, &[(&'static str, &'static str)])> = None;
    while !entries.is_empty() {
        let depth = entries.next_depth();
        if inside.is_some_and(|(parent, _)| depth <= parent) {
            inside = None;
            if *missing == 0 {
                return Ok(());
            }
        }
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        let tag = abbreviation.tag();
        if tag == constants::DW_TAG_compile_unit {
            let entry = Entry::read(&mut entries, abbreviation.attributes())?;
            if entry.name != Some(TYPES_UNIT.as_bytes()) {
                return Ok(());
            }
        } else if tag == constants::DW_TAG_structure_type {
            let entry = Entry::read(&mut entries, abbreviation.attributes())?;
            inside = entry.name.and_then(|it| wanted.get(it)).map(|it| (depth, it.as_slice()));
            *missing = missing.saturating_sub(usize::from(inside.is_some()));
        } else if let Some((_, known)) = inside.filter(|_| tag == constants::DW_TAG_member) {
            Entry::read(&mut entries, abbreviation.attributes())?.add_member(known, members);
        } else {
            entries.skip_attributes(abbreviation.attributes())?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Entry<'a> {
    /// Go's linker writes names in place; names kept elsewhere are those of C.
    name: Option<&'a [u8]>,
    member_offset: Option<u64>,
}

impl<'a> Entry<'a> {
    fn read(
        entries: &mut gimli::EntriesRaw<'_, Slice<'a>>,
        specifications: &[gimli::AttributeSpecification],
    ) -> gimli::Result<Self> {
        let mut entry = Self::default();
        for &specification in specifications {
            let attribute = entries.read_attribute(specification)?;
            match (attribute.name(), attribute.value()) {
                (constants::DW_AT_name, AttributeValue::String(name)) => entry.name = Some(name.slice()),
                (constants::DW_AT_data_member_location, value) => entry.member_offset = value.udata_value(),
                _ => {}
            }
        }
        Ok(entry)
    }

    fn add_member(&self, known: &[(&'static str, &'static str)], members: &mut Members) -> Option<()> {
        let step = known.iter().find(|(_, member)| Some(member.as_bytes()) == self.name)?;
        members.insert(*step, u16::try_from(self.member_offset?).ok()?);
        Some(())
    }
}

fn section<R: ReadAt>(file: &ElfFile<R>, name: &str, max_bytes: u64) -> Option<Vec<u8>> {
    let section = file.section(name)?;
    if max_bytes < section.size {
        return None;
    }
    let data = file.data(section).ok()?;
    decompress(section, data, max_bytes)
}

fn decompress(section: &Section, data: Vec<u8>, max_bytes: u64) -> Option<Vec<u8>> {
    if section.flags & object::elf::SHF_COMPRESSED.0 == 0 {
        return Some(data);
    }
    let (kind, size) = (u32_at(&data, 0)?, u64_at(&data, 8)?);
    let body = data.get(COMPRESSION_HEADER_BYTES..)?;
    if kind != object::elf::ELFCOMPRESS_ZLIB.0 || max_bytes < size {
        return None;
    }
    let compressed = CompressedData { format: CompressionFormat::Zlib, data: body, uncompressed_size: size };
    Some(compressed.decompress().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit, struct and member, each with a name; then no more.
    const ABBREVIATIONS: &[u8] = &[
        1, 0x11, 1, 0x03, 0x08, 0, 0, // compile unit with children: name as a string
        2, 0x13, 1, 0x03, 0x08, 0, 0, // structure with children: name as a string
        3, 0x0d, 0, 0x03, 0x08, 0x38, 0x0f, 0, 0, // member: name as a string, offset as a varint
        0,
    ];

    #[test]
    fn reads_members_and_sums_paths() {
        let poll = structure("internal/poll.FD", &[("fdmu", 0), ("Sysfd", 16)]);
        let net_fd = structure("net.netFD", &[("pfd", 8)]);
        let response = structure("net/http.response", &[("conn", 0), ("other", 7), ("status", 128)]);
        let info = unit("runtime", &[poll, structure("other.T", &[("pfd", 1)]), net_fd, response]);
        let want =
            HashMap::from([(Field::NetFdSysfd, 24), (Field::ResponseConn, 0), (Field::ResponseStatus, 128)]);
        assert_eq!(parse(&info, ABBREVIATIONS), want);
    }

    #[test]
    fn half_a_path_and_units_of_others_tell_nothing() {
        let net_fd = structure("net.netFD", &[("pfd", 8)]);
        assert_eq!(parse(&unit("runtime", &[net_fd]), ABBREVIATIONS), HashMap::new());
        let response = structure("net/http.response", &[("conn", 0)]);
        assert_eq!(parse(&unit("crt0.c", &[response]), ABBREVIATIONS), HashMap::new());
    }

    #[test]
    fn damage_ends_the_reading() {
        let response = structure("net/http.response", &[("conn", 9), ("status", 128)]);
        let info = unit("runtime", &[response]);
        for size in 0..info.len() {
            assert!(parse(&info[..size], ABBREVIATIONS).is_empty(), "{size} bytes");
        }
        for size in 0..ABBREVIATIONS.len() {
            parse(&info, &ABBREVIATIONS[..size]);
        }
        for index in 0..info.len() {
            let mut damaged = info.clone();
            damaged[index] ^= 0xff;
            parse(&damaged, ABBREVIATIONS);
        }
    }

    #[test]
    fn a_compressed_section_may_not_claim_too_much() {
        let mut section = Section {
            name: ".debug_info".to_owned(),
            kind: 1,
            flags: object::elf::SHF_COMPRESSED.0,
            address: 0,
            offset: 0,
            size: 0,
            link: 0,
        };
        // "hello" in a stored block.
        let zlib = [&[0x78, 0x01, 0x01, 5, 0, 0xfa, 0xff][..], b"hello", &[0x06, 0x2c, 0x02, 0x15]].concat();
        let data = |size: u64| [&[1, 0, 0, 0, 0, 0, 0, 0][..], &size.to_le_bytes(), &[0; 8], &zlib].concat();
        assert_eq!(decompress(&section, data(5), 64).as_deref(), Some(&b"hello"[..]));
        assert_eq!(decompress(&section, data(4), 64).as_deref(), Some(&b"hell"[..]), "cut to what it says");
        assert_eq!(decompress(&section, data(6), 64), None, "less than it says");
        assert_eq!(decompress(&section, data(1 << 40), 64), None);
        assert_eq!(decompress(&section, data(5)[..20].to_vec(), 64), None);
        section.flags = 0;
        assert_eq!(decompress(&section, zlib.clone(), 64), Some(zlib));
    }

    fn structure(name: &str, members: &[(&str, u8)]) -> Vec<u8> {
        let mut bytes = [&[2], name.as_bytes(), &[0]].concat();
        for (name, offset) in members {
            bytes.extend([&[3], name.as_bytes(), &[0], &leb(*offset)[..]].concat());
        }
        bytes.push(0);
        bytes
    }

    fn leb(value: u8) -> Vec<u8> {
        if value < 0x80 { vec![value] } else { vec![value, 1] }
    }

    fn unit(name: &str, children: &[Vec<u8>]) -> Vec<u8> {
        let root = [&[1], name.as_bytes(), &[0], &children.concat()[..], &[0]].concat();
        let header = [4, 0, 0, 0, 0, 0, 8];
        let size = ((header.len() + root.len()) as u32).to_le_bytes();
        [&size[..], &header, &root].concat()
    }
}
