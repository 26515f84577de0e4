//! What the linker notes about a build: the version of Go, those of modules, and the build ids.

use crate::targets::elf::u32_at;

pub(crate) const SECTION: &str = ".go.buildinfo";
pub(crate) const GO_ID_SECTION: &str = ".note.go.buildid";
pub(crate) const GNU_ID_SECTION: &str = ".note.gnu.build-id";

const MAGIC: &[u8] = b"\xff Go buildinf:";
const FLAGS_OFFSET: usize = 15;
/// Set since Go 1.18: the strings follow the header, each with its length before it.
const FLAG_INLINE_STRINGS: u8 = 2;
const STRINGS_OFFSET: usize = 32;
/// A version is some ten bytes long; experiments that were switched on add theirs.
const MAX_VERSION_BYTES: usize = 512;
const MAX_ID_BYTES: usize = 256;
/// A large program has some hundred modules of some hundred bytes each.
const MAX_MODULES_BYTES: usize = 1 << 20;
/// Before and after the list of modules are 16 bytes each that mark it in the memory of a process.
const MARK_BYTES: usize = 16;

/// The version of Go, as it is in the section of build information.
pub fn version_text(section: &[u8]) -> Option<&str> {
    Some(strings(section)?.0)
}

/// The version of a module that was built in; `None` when it is replaced by something else, or not noted.
pub fn module_version<'a>(section: &'a [u8], module: &str) -> Option<&'a str> {
    let mut lines = modules(section)?.lines();
    let mut words = lines.by_ref().find_map(|line| {
        let mut words = line.split('\t');
        let is_it = words.next() == Some("dep") && words.next() == Some(module);
        is_it.then_some(words)
    })?;
    let version = words.next()?;
    let is_replaced = lines.next().is_some_and(|it| it.starts_with("=>\t"));
    (!is_replaced).then_some(version)
}

/// Whether a module may be built in: builds without a list of modules do not tell.
pub(crate) fn may_have(section: &[u8], module: &str) -> bool {
    modules(section).is_none_or(|it| it.contains(module))
}

fn modules(section: &[u8]) -> Option<&str> {
    let (_, rest) = strings(section)?;
    let (size, list) = varint(rest)?;
    if MAX_MODULES_BYTES < size {
        return None;
    }
    let list = list.get(..size)?.get(MARK_BYTES..)?;
    str::from_utf8(list.get(..list.len().checked_sub(MARK_BYTES)?)?).ok()
}

/// The version of Go, and what follows it.
fn strings(section: &[u8]) -> Option<(&str, &[u8])> {
    if !section.starts_with(MAGIC) || section.get(FLAGS_OFFSET)? & FLAG_INLINE_STRINGS == 0 {
        return None;
    }
    let (size, text) = varint(section.get(STRINGS_OFFSET..)?)?;
    if MAX_VERSION_BYTES < size {
        return None;
    }
    Some((str::from_utf8(text.get(..size)?).ok()?, &text[size..]))
}

/// Go's build id is text.
pub(crate) fn go_build_id(note: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(description(note)?).ok()?;
    (!text.is_empty() && text.chars().all(|it| it.is_ascii_graphic())).then(|| text.to_owned())
}

/// The GNU build id is a number, written in hexadecimal everywhere else.
pub(crate) fn gnu_build_id(note: &[u8]) -> Option<String> {
    let id = description(note)?;
    (!id.is_empty()).then(|| id.iter().map(|it| format!("{it:02x}")).collect())
}

fn description(note: &[u8]) -> Option<&[u8]> {
    let name_size = usize::try_from(u32_at(note, 0)?).ok()?;
    let size = usize::try_from(u32_at(note, 4)?).ok()?;
    if MAX_ID_BYTES < name_size || MAX_ID_BYTES < size {
        return None;
    }
    let start = 12 + name_size.next_multiple_of(4);
    note.get(start..start + size)
}

/// Seven bits a byte, the lowest first; returns what follows too.
pub(crate) fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    const MAX_BYTES: usize = 5;
    let mut value = 0;
    for (n, &byte) in bytes.iter().take(MAX_BYTES).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version() {
        assert_eq!(version_text(&section(2, &[8], b"go1.26.8rest")), Some("go1.26.8"));
        let long = format!("go1.27.4 X:{}", "x".repeat(189));
        assert_eq!(version_text(&section(2, &[0xc8, 1], long.as_bytes())), Some(long.as_str()));
    }

    #[test]
    fn what_is_damaged_has_no_version() {
        assert_eq!(version_text(b""), None);
        assert_eq!(version_text(&section(0, &[8], b"go1.17.1")), None, "pointers, as before 1.18");
        assert_eq!(version_text(&section(2, &[9], b"go1.26.8")), None, "longer than the section");
        assert_eq!(version_text(&section(2, &[0xff; 9], b"")), None, "a length without end");
        assert_eq!(version_text(&section(2, &[0xff, 0xff, 0xff, 0x7f], b"go1.26.8")), None);
        let whole = section(2, &[8], b"go1.26.8");
        for size in 0..whole.len() {
            assert_eq!(version_text(&whole[..size]), None, "{size} bytes");
        }
    }

    #[test]
    fn reads_versions_of_modules() {
        let check = |list: &str, module, want| {
            let list = [&[0x30; MARK_BYTES], list.as_bytes(), &[0xf9; MARK_BYTES]].concat();
            let sizes =
                [&b"go1.26.8"[..], &[list.len() as u8 & 0x7f | 0x80, (list.len() >> 7) as u8]].concat();
            let whole = section(2, &[8], &[sizes, list].concat());
            assert_eq!(version_text(&whole), Some("go1.26.8"));
            assert_eq!(module_version(&whole, module), want, "{module}");
            assert_eq!(may_have(&whole, module), module != "x.test/none", "{module}");
            for size in 0..whole.len() {
                assert_eq!(module_version(&whole[..size], module), None, "{size} bytes");
            }
        };
        let list = "path\tx.test/shop\nmod\tx.test/shop\t(devel)\t\ndep\tx.test/grpc/more\tv0.1.0\th1:a=\n\
            dep\tx.test/grpc\tv1.85.0\th1:b=\ndep\tx.test/other\tv1.2.0\n=>\t../other\t(devel)\t\n\
            build\t-compiler=gc\n";
        check(list, "x.test/grpc", Some("v1.85.0"));
        check(list, "x.test/grpc/more", Some("v0.1.0"));
        check(list, "x.test/other", None);
        check(list, "x.test/none", None);
        assert!(may_have(b"", "x.test/none"), "no list, no answer");
        check(list, "x.test/shop", None);
        check("dep\tx.test/grpc", "x.test/grpc", None);
        check("dep\tx.test/grpc\tv1.2.3", "x.test/grpc", Some("v1.2.3"));
    }

    #[test]
    fn reads_build_ids() {
        let go = note(b"Go\0\0", b"abc/def-1");
        assert_eq!(go_build_id(&go).as_deref(), Some("abc/def-1"));
        let gnu = note(b"GNU\0", &[0, 0xab, 0x10]);
        assert_eq!(gnu_build_id(&gnu).as_deref(), Some("00ab10"));
        for size in 0..gnu.len() {
            assert_eq!(gnu_build_id(&gnu[..size]), None, "{size} bytes");
        }
        assert_eq!(go_build_id(&note(b"Go\0\0", b"\x1b[31m")), None, "not for a terminal");
        assert_eq!(gnu_build_id(&[0xff; 64]), None);
    }

    fn section(flags: u8, length: &[u8], text: &[u8]) -> Vec<u8> {
        let mut bytes = [MAGIC, &[8, flags], &[0; 16], length, text].concat();
        bytes.truncate(4096);
        bytes
    }

    fn note(name: &[u8], description: &[u8]) -> Vec<u8> {
        let sizes = [name.len() as u32, description.len() as u32, 4].map(u32::to_le_bytes).concat();
        [&sizes, name, description].concat()
    }
}
