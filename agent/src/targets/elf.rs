//! A bounded reader of ELF files: headers first, then only what is asked for.

use std::{
    cell::Cell,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use object::elf;
use thiserror::Error;

/// How much of one file is read at most, all parts together.
const MAX_READ_BYTES: u64 = 96 << 20;
const MAX_SECTIONS: u16 = 4096;
const MAX_SEGMENTS: u16 = 256;
/// No section that is looked for has a longer name. The names are copied out of one read, as often as
/// there are sections: without a bound a small file would give as many times its size.
const MAX_NAME_BYTES: usize = 64;
const FILE_HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SECTION_BYTES: usize = 64;

#[derive(Debug, Error)]
pub enum ElfError {
    #[error("not a regular file")]
    NotAFile,
    #[error("not an ELF file")]
    NotElf,
    #[error(
        "not for this machine: class {class}, byte order {order}, machine {machine} (wanted: 64 bit, little endian, x86-64)"
    )]
    Foreign { class: u8, order: u8, machine: u16 },
    #[error("not an executable: type {kind}")]
    NotExecutable { kind: u16 },
    #[error("{n} {what}; more than {max} are not read")]
    TooMany { what: &'static str, n: u16, max: u16 },
    #[error("{what} lies outside of the file: {size} bytes at {offset:#x}, file of {file} bytes")]
    Outside { what: String, offset: u64, size: u64, file: u64 },
    #[error("{what}: {size} bytes are more than may be read of one file")]
    OverBudget { what: String, size: u64 },
    #[error("cannot read {what}")]
    Io { what: String, source: io::Error },
}

/// Foreign bytes with a known size.
pub trait ReadAt {
    fn size(&self) -> u64;
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A regular file; its size is taken once, so a file that shrinks gives read errors.
#[derive(Debug)]
pub struct Regular {
    file: File,
    size: u64,
}

impl Regular {
    pub fn open(path: &Path) -> Result<Self, ElfError> {
        let io = |source| ElfError::Io { what: path.display().to_string(), source };
        // Without O_NONBLOCK a named pipe would hold us until somebody writes to it.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(ElfError::NotAFile);
        }
        Ok(Self { file, size: metadata.len() })
    }
}

impl ReadAt for Regular {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    pub kind: u32,
    pub flags: u64,
    pub address: u64,
    pub offset: u64,
    pub size: u64,
    pub link: u32,
}

/// A loaded segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub executable: bool,
    pub address: u64,
    pub offset: u64,
    pub file_size: u64,
}

#[derive(Debug)]
pub struct ElfFile<R> {
    source: R,
    budget_bytes: Cell<u64>,
    pub position_independent: bool,
    pub segments: Vec<Segment>,
    pub sections: Vec<Section>,
}

impl<R: ReadAt> ElfFile<R> {
    pub fn parse(source: R) -> Result<Self, ElfError> {
        let mut file = Self {
            source,
            budget_bytes: Cell::new(MAX_READ_BYTES),
            position_independent: false,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        let header = Header::parse(&file.read_up_to(FILE_HEADER_BYTES)?)?;
        file.position_independent = header.position_independent;
        file.segments = file.read_segments(&header)?;
        file.sections = file.read_sections(&header)?;
        Ok(file)
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|it| it.name == name)
    }

    pub fn data(&self, section: &Section) -> Result<Vec<u8>, ElfError> {
        if section.kind == elf::SHT_NOBITS.0 {
            return Ok(Vec::new());
        }
        self.read(&section.name, section.offset, section.size)
    }

    /// Where the byte at `address` is in the file.
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|it| it.offset_of(address))
    }

    /// Whether `size` bytes of code start at `address`.
    pub fn holds_code(&self, address: u64, size: u64) -> bool {
        self.segments.iter().any(|it| {
            it.executable
                && address
                    .checked_sub(it.address)
                    .is_some_and(|inside| inside.checked_add(size).is_some_and(|end| end <= it.file_size))
        })
    }

    /// The `size` bytes at `address`, or fewer when the segment ends before.
    pub fn at_address(&self, address: u64, size: u64) -> Option<Vec<u8>> {
        let segment = self.segments.iter().find(|it| it.offset_of(address).is_some())?;
        let offset = segment.offset_of(address)?;
        let left = segment.file_size - (address - segment.address);
        self.read("segment", offset, size.min(left)).ok()
    }

    pub fn read(&self, what: &str, offset: u64, size: u64) -> Result<Vec<u8>, ElfError> {
        let file = self.source.size();
        if offset.checked_add(size).is_none_or(|end| file < end) {
            return Err(ElfError::Outside { what: what.to_owned(), offset, size, file });
        }
        let over = || ElfError::OverBudget { what: what.to_owned(), size };
        let left = self.budget_bytes.get().checked_sub(size).ok_or_else(over)?;
        self.budget_bytes.set(left);
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| over())?];
        self.source
            .read_exact_at(offset, &mut bytes)
            .map_err(|source| ElfError::Io { what: what.to_owned(), source })?;
        Ok(bytes)
    }

    fn read_up_to(&self, size: usize) -> Result<Vec<u8>, ElfError> {
        self.read("the file header", 0, self.source.size().min(size as u64))
    }

    fn read_segments(&self, header: &Header) -> Result<Vec<Segment>, ElfError> {
        let size = u64::from(header.n_segments) * SEGMENT_BYTES as u64;
        let table = self.read("the table of segments", header.segments_offset, size)?;
        Ok(table.chunks_exact(SEGMENT_BYTES).filter_map(Segment::parse).collect())
    }

    fn read_sections(&self, header: &Header) -> Result<Vec<Section>, ElfError> {
        let size = u64::from(header.n_sections) * SECTION_BYTES as u64;
        let table = self.read("the table of sections", header.sections_offset, size)?;
        let mut sections: Vec<(u32, Section)> =
            table.chunks_exact(SECTION_BYTES).filter_map(Section::parse).collect();
        let Some((_, names)) = sections.get(usize::from(header.names_index)) else {
            return Ok(Vec::new());
        };
        let names = self.data(names)?;
        for (name_offset, section) in &mut sections {
            section.name = name_at(&names, *name_offset as usize).unwrap_or_default().to_owned();
        }
        Ok(sections.into_iter().map(|(_, section)| section).collect())
    }
}

struct Header {
    position_independent: bool,
    segments_offset: u64,
    n_segments: u16,
    sections_offset: u64,
    n_sections: u16,
    names_index: u16,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        Self::fields(bytes).ok_or(ElfError::NotElf)?
    }

    fn fields(bytes: &[u8]) -> Option<Result<Self, ElfError>> {
        if bytes.get(..4)? != elf::ELFMAG {
            return None;
        }
        let (class, order) = (*bytes.get(4)?, *bytes.get(5)?);
        let (kind, machine) = (u16_at(bytes, 16)?, u16_at(bytes, 18)?);
        if class != elf::ELFCLASS64.0 || order != elf::ELFDATA2LSB.0 || machine != elf::EM_X86_64.0 {
            return Some(Err(ElfError::Foreign { class, order, machine }));
        }
        if kind != elf::ET_EXEC.0 && kind != elf::ET_DYN.0 {
            return Some(Err(ElfError::NotExecutable { kind }));
        }
        let header = Self {
            position_independent: kind == elf::ET_DYN.0,
            segments_offset: u64_at(bytes, 32)?,
            sections_offset: u64_at(bytes, 40)?,
            n_segments: u16_at(bytes, 56)?,
            n_sections: u16_at(bytes, 60)?,
            names_index: u16_at(bytes, 62)?,
        };
        Some(header.within_limits(u16_at(bytes, 54)?, u16_at(bytes, 58)?))
    }

    fn within_limits(self, segment_bytes: u16, section_bytes: u16) -> Result<Self, ElfError> {
        for (what, n, max) in
            [("segments", self.n_segments, MAX_SEGMENTS), ("sections", self.n_sections, MAX_SECTIONS)]
        {
            if max < n {
                return Err(ElfError::TooMany { what, n, max });
            }
        }
        let odd_segments = self.n_segments != 0 && usize::from(segment_bytes) != SEGMENT_BYTES;
        let odd_sections = self.n_sections != 0 && usize::from(section_bytes) != SECTION_BYTES;
        if odd_segments || odd_sections {
            return Err(ElfError::NotElf);
        }
        Ok(self)
    }
}

impl Segment {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if u32_at(bytes, 0)? != elf::PT_LOAD.0 {
            return None;
        }
        Some(Self {
            executable: u32_at(bytes, 4)? & elf::PF_X.0 != 0,
            offset: u64_at(bytes, 8)?,
            address: u64_at(bytes, 16)?,
            file_size: u64_at(bytes, 32)?,
        })
    }

    fn offset_of(&self, address: u64) -> Option<u64> {
        let inside = address.checked_sub(self.address)?;
        if self.file_size <= inside { None } else { self.offset.checked_add(inside) }
    }
}

impl Section {
    fn parse(bytes: &[u8]) -> Option<(u32, Self)> {
        let section = Self {
            name: String::new(),
            kind: u32_at(bytes, 4)?,
            flags: u64_at(bytes, 8)?,
            address: u64_at(bytes, 16)?,
            offset: u64_at(bytes, 24)?,
            size: u64_at(bytes, 32)?,
            link: u32_at(bytes, 40)?,
        };
        Some((u32_at(bytes, 0)?, section))
    }
}

pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(array_at(bytes, offset)?))
}

pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array_at(bytes, offset)?))
}

pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(array_at(bytes, offset)?))
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// The name that starts at `offset`, unless it is longer than any that is looked for.
fn name_at(names: &[u8], offset: usize) -> Option<&str> {
    let rest = names.get(offset..)?;
    let rest = &rest[..rest.len().min(MAX_NAME_BYTES + 1)];
    let end = rest.iter().position(|&it| it == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}
