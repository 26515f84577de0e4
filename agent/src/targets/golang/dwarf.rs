//! Offsets of fields from the debug information of the file itself.

use std::collections::HashMap;

use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugInfo, EndianSlice, LittleEndian,
    UnitHeader, constants,
};
use object::read::{CompressedData, CompressionFormat};

use super::layout::Field;
use crate::targets::elf::{ElfFile, ReadAt, Section, u32_at, u64_at};

/// The linker puts the types of all packages into the unit of this one.
const TYPES_UNIT: &str = "runtime";
/// Above that the table serves as well, and the agent stays small.
const MAX_INFO_BYTES: u64 = 48 << 20;
const MAX_ABBREV_BYTES: u64 = 1 << 20;
/// Of one table of abbreviations. Go's has 2 KiB.
const MAX_TABLE_BYTES: usize = 16 << 10;
/// Entries and attributes looked at, and bytes of abbreviations, of one file: an attribute may take no
/// byte of it, so its size bounds nothing. Nearly all of Go's take one or more: these are well below.
const MAX_WORK: usize = 128 << 20;
const COMPRESSION_HEADER_BYTES: usize = 24;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Struct and member.
pub(crate) type Step = (&'static str, &'static str);

/// To offset.
pub(crate) type Members = HashMap<Step, u16>;

/// The members that the file tells: of HTTP, and those asked for besides. A file without debug information tells
/// none, and so does a damaged one.
pub(crate) fn members<R: ReadAt>(file: &ElfFile<R>, besides: &[Step]) -> Members {
    let info = section(file, ".debug_info", MAX_INFO_BYTES);
    let abbreviations = section(file, ".debug_abbrev", MAX_ABBREV_BYTES);
    match (info, abbreviations) {
        (Some(info), Some(abbreviations)) => members_within(MAX_WORK, besides, &info, &abbreviations),
        _ => HashMap::new(),
    }
}

/// The fields of HTTP among them.
pub(crate) fn fields(members: &Members) -> HashMap<Field, u16> {
    Field::ALL
        .iter()
        .filter_map(|&field| Some((field, field.paths().iter().find_map(|path| sum(path, members))?)))
        .collect()
}

/// The fields of HTTP, from the two sections.
#[cfg(test)]
fn parse(info: &[u8], abbreviations: &[u8]) -> HashMap<Field, u16> {
    fields(&members_within(MAX_WORK, &[], info, abbreviations))
}

fn members_within(work: usize, besides: &[Step], info: &[u8], abbreviations: &[u8]) -> Members {
    let wanted = wanted(besides);
    let missing = wanted.len();
    let mut reader = Reader { wanted, members: Members::new(), missing, work };
    let mut table = Table { section: abbreviations, last: None };
    let mut units = DebugInfo::new(info, LittleEndian).units();
    while let Ok(Some(unit)) = units.next() {
        if reader.missing == 0 {
            break;
        }
        // What was read before the damage stands.
        if let Err(Stop::TooMuch) = reader.unit(&unit, &mut table) {
            break;
        }
    }
    reader.members
}

/// The offset at the end of a path, outermost step first.
pub(crate) fn sum(path: &[Step], members: &Members) -> Option<u16> {
    path.iter().try_fold(0u16, |sum, step| sum.checked_add(*members.get(step)?))
}

fn wanted(besides: &[Step]) -> HashMap<&'static [u8], Vec<Step>> {
    let mut wanted = HashMap::<_, Vec<_>>::new();
    let of_http = Field::ALL.iter().flat_map(|it| it.paths()).copied().flatten();
    for &(structure, member) in of_http.chain(besides) {
        wanted.entry(structure.as_bytes()).or_default().push((structure, member));
    }
    wanted
}

/// Why the reading of a unit ended early.
enum Stop {
    Damaged,
    TooMuch,
}

impl From<gimli::Error> for Stop {
    fn from(_: gimli::Error) -> Self {
        Self::Damaged
    }
}

/// The abbreviations of the unit read last: those of Go share one table.
struct Table<'a> {
    section: &'a [u8],
    last: Option<(usize, Abbreviations)>,
}

impl Table<'_> {
    fn at(&mut self, offset: usize, work: &mut usize) -> Result<&Abbreviations, Stop> {
        let last = match self.last.take() {
            Some(last) if last.0 == offset => last,
            _ => {
                let bytes = self.section.get(offset..).ok_or(Stop::Damaged)?;
                let bytes = &bytes[..bytes.len().min(MAX_TABLE_BYTES)];
                spend(work, bytes.len())?;
                let table = DebugAbbrev::new(bytes, LittleEndian).abbreviations(DebugAbbrevOffset(0))?;
                (offset, table)
            }
        };
        Ok(&self.last.insert(last).1)
    }
}

fn spend(work: &mut usize, n: usize) -> Result<(), Stop> {
    *work = work.checked_sub(n).ok_or(Stop::TooMuch)?;
    Ok(())
}

struct Reader {
    wanted: HashMap<&'static [u8], Vec<Step>>,
    members: Members,
    /// Structs that were not met yet.
    missing: usize,
    work: usize,
}

impl Reader {
    fn unit(&mut self, unit: &UnitHeader<Slice<'_>>, table: &mut Table<'_>) -> Result<(), Stop> {
        spend(&mut self.work, 1)?;
        let abbreviations = table.at(unit.debug_abbrev_offset().0, &mut self.work)?;
        let mut entries = unit.entries_raw(abbreviations, None)?;
        // The struct that the current entry may be a member of.
        let mut inside: Option<(isize, &[Step])> = None;
        while !entries.is_empty() {
            let depth = entries.next_depth();
            if inside.is_some_and(|(parent, _)| depth <= parent) {
                inside = None;
                if self.missing == 0 {
                    return Ok(());
                }
            }
            let abbreviation = entries.read_abbreviation()?;
            spend(&mut self.work, 1 + abbreviation.map_or(0, |it| it.attributes().len()))?;
            let Some(abbreviation) = abbreviation else {
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
                inside = entry.name.and_then(|it| self.wanted.get(it)).map(|it| (depth, it.as_slice()));
                self.missing = self.missing.saturating_sub(usize::from(inside.is_some()));
            } else if let Some((_, known)) = inside.filter(|_| tag == constants::DW_TAG_member) {
                Entry::read(&mut entries, abbreviation.attributes())?.add_member(known, &mut self.members);
            } else {
                entries.skip_attributes(abbreviation.attributes())?;
            }
        }
        Ok(())
    }
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

    fn add_member(&self, known: &[Step], members: &mut Members) -> Option<()> {
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

    /// An attribute of the form `flag_present` takes no byte: few bytes are much work.
    #[test]
    fn attributes_without_bytes_are_bounded() {
        const FLAGS: usize = 1000;
        let flags = [0x49, 0x19].repeat(FLAGS);
        let many = [&ABBREVIATIONS[..ABBREVIATIONS.len() - 1], &[4, 0x0b, 0], &flags, &[0, 0, 0]].concat();
        let response = structure("net/http.response", &[("status", 128)]);
        let info = |n: usize| unit("runtime", &[vec![4; n], response.clone()]);
        let found = |work, n| {
            fields(&members_within(work, &[], &info(n), &many)).contains_key(&Field::ResponseStatus)
        };
        assert!(found(10 * FLAGS, 5));
        assert!(!found(10 * FLAGS, 20), "20 entries of 1000 attributes are more than 10,000 steps");
    }

    /// Each unit may name another place of the abbreviations, and so have them parsed again.
    #[test]
    fn abbreviations_are_parsed_once_or_paid_for() {
        let response = structure("net/http.response", &[("status", 128)]);
        let other = unit("crt0.c", &[]);
        let many = [other.repeat(100), unit("runtime", &[response])].concat();
        let work = 30 * ABBREVIATIONS.len();
        let found = |info: &[u8], abbreviations: &[u8]| {
            fields(&members_within(work, &[], info, abbreviations)).contains_key(&Field::ResponseStatus)
        };
        assert!(found(&many, ABBREVIATIONS), "all units share one table");
        let mut elsewhere = many.clone();
        for unit in 0..100 {
            // Of a unit's header: the size, the version, then where its abbreviations are.
            elsewhere[unit * other.len() + 6] = if unit % 2 == 0 { ABBREVIATIONS.len() as u8 } else { 0 };
        }
        assert!(!found(&elsewhere, &ABBREVIATIONS.repeat(2)), "100 tables for the price of 30");
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
