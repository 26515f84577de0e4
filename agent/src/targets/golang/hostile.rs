//! Files made to break the reader. Each gives an error or less than it claims, never a panic.

use super::{
    GoBinary, GoError, PclntabError,
    fixture::{Image, Names},
};
use crate::targets::elf::{ElfError, ElfFile};

const SECTION_BYTES: usize = 64;

#[test]
fn every_truncation_is_an_error() {
    for names in [Names::Symbols, Names::Table, Names::TableOfC] {
        let file = Image::http(names).build();
        for size in 0..file.len() {
            assert!(GoBinary::parse(&file[..size]).is_err(), "{size} of {} bytes", file.len());
        }
    }
}

/// What comes out of a damaged file must still lie inside it.
#[test]
fn no_flipped_bits_lead_outside() {
    for names in [Names::Symbols, Names::Table, Names::TableOfC] {
        let whole = Image::http(names).build();
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..2_000 {
            let mut file = whole.clone();
            for _ in 0..4 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = (random >> 8) as usize % file.len();
                file[at] ^= 1 << (random & 7);
            }
            if let Ok(binary) = GoBinary::parse(&file[..]) {
                assert!(binary.points.iter().all(|it| it.file_offset < file.len() as u64));
            }
        }
    }
}

#[test]
fn what_is_not_for_this_machine() {
    let mut file = Image::http(Names::Table).build();
    file[18] = 183; // aarch64
    let error = GoBinary::parse(&file[..]).unwrap_err();
    assert!(matches!(error, GoError::Elf(ElfError::Foreign { class: 2, order: 1, machine: 183 })));
    for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\nexit 0\n", &[0; 4096]] {
        assert!(matches!(GoBinary::parse(bytes), Err(GoError::Elf(ElfError::NotElf))));
    }
}

#[test]
fn sections_that_claim_more_than_the_file() {
    for (name, field) in
        [(".go.buildinfo", 32), (".gopclntab", 32), (".gopclntab", 24), (".symtab", 32), (".strtab", 24)]
    {
        for claim in [1 << 32, u64::MAX, u64::MAX - 0x1000] {
            let names = if name.starts_with(".go") { Names::Table } else { Names::Symbols };
            let mut file = Image::http(names).build();
            let section = section_header(&file, name);
            file[section + field..][..8].copy_from_slice(&claim.to_le_bytes());
            let error = GoBinary::parse(&file[..]).unwrap_err();
            assert!(
                matches!(&error, GoError::Elf(ElfError::Outside { what, .. }) if what == name),
                "{name} {claim:#x}: {error}"
            );
        }
    }
}

/// All sections share one long name; each would copy it.
#[test]
fn names_of_sections_are_not_multiplied() {
    const LONG: usize = 1 << 20;
    let mut file = Image::http(Names::Table).build();
    let names = section_header(&file, ".shstrtab");
    let at = file.len() as u64;
    file.extend([vec![b'x'; LONG], vec![0]].concat());
    file[names + 24..][..8].copy_from_slice(&at.to_le_bytes());
    file[names + 32..][..8].copy_from_slice(&(LONG as u64 + 1).to_le_bytes());
    let table = u64::from_le_bytes(file[40..48].try_into().unwrap()) as usize;
    let n_sections = usize::from(file[60]);
    for index in 0..n_sections {
        file[table + index * SECTION_BYTES..][..4].copy_from_slice(&(index as u32).to_le_bytes());
    }
    let parsed = ElfFile::parse(&file[..]).unwrap();
    assert_eq!(parsed.sections.len(), n_sections);
    let copied: usize = parsed.sections.iter().map(|it| it.name.len()).sum();
    assert!(copied <= n_sections * 64, "{copied} bytes");
}

#[test]
fn a_table_of_functions_that_claims_more_than_it_has() {
    for (word, claim) in [(0, 1 << 32), (0, u64::MAX), (3, 1 << 32), (7, u64::MAX)] {
        let mut file = Image::http(Names::Table).build();
        let table = part(&file, ".gopclntab");
        file[table + 8 + 8 * word..][..8].copy_from_slice(&u64::to_le_bytes(claim));
        let error = GoBinary::parse(&file[..]).unwrap_err();
        assert!(matches!(error, GoError::Functions { source: PclntabError::Damaged { .. }, .. }), "{error}");
        assert!(error.to_string().contains("(.gopclntab)"), "{error}");
    }
}

#[test]
fn a_text_that_starts_elsewhere() {
    let mut file = Image::http(Names::Table).build();
    let module = part(&file, ".noptrdata");
    for start in [0, 1, u64::MAX, u64::MAX - 16, 0x40_1001] {
        file[module + 176..][..8].copy_from_slice(&u64::to_le_bytes(start));
        let error = GoBinary::parse(&file[..]).unwrap_err();
        assert!(matches!(error, GoError::Functions { source: PclntabError::NoTextStart, .. }), "{error}");
    }
}

#[test]
fn versions_that_are_not_supported() {
    let open = |version| GoBinary::parse(&Image { version, ..Image::http(Names::Table) }.build()[..]);
    assert!(matches!(open("go1.20.14"), Err(GoError::TooOld { .. })));
    assert!(matches!(open("go1.28.0"), Err(GoError::TooNew { version }) if version.minor == 28));
    assert!(matches!(open("rust 1.95"), Err(GoError::Version { .. })));
}

/// Not built by Go: this very program, whole and cut off at many places.
#[test]
fn a_program_of_another_language() {
    let path = std::env::current_exe().unwrap();
    assert!(matches!(GoBinary::open(&path), Err(GoError::NotGo)));
    let head = std::fs::read(&path).unwrap();
    for size in (0..head.len()).step_by(head.len() / 64) {
        assert!(GoBinary::parse(&head[..size]).is_err(), "{size} bytes");
    }
}

#[test]
fn what_is_not_a_file() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(GoBinary::open(dir.path()), Err(GoError::Elf(ElfError::NotAFile))));
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert!(matches!(GoBinary::open(&pipe), Err(GoError::Elf(ElfError::NotAFile))));
    assert!(matches!(GoBinary::open(&dir.path().join("none")), Err(GoError::Elf(ElfError::Io { .. }))));
}

fn section_header(file: &[u8], name: &str) -> usize {
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
    let names = word(word(40) + half(62) * SECTION_BYTES + 24);
    (0..half(60))
        .map(|index| word(40) + index * SECTION_BYTES)
        .find(|&at| {
            let start = names + word(at) as u32 as usize;
            file[start..].starts_with(&[name.as_bytes(), &[0]].concat())
        })
        .unwrap()
}

fn part(file: &[u8], name: &str) -> usize {
    let at = section_header(file, name) + 24;
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize
}
