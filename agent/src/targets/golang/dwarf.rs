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
    if section.flags & u64::from(object::elf::SHF_COMPRESSED.0) == 0 {
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
