//! Reads BTF, in which the kernel describes its own types: Documentation/bpf/btf.rst.
//!
//! Only places of fields and values of enumerators. Ours, because aya-obj keeps what it reads private,
//! btf-rs is LGPL, and libbpf-rs would bring libbpf in C. Total: any bytes are read in linear time or
//! refused, and a look-up visits a bounded number of members.

use std::{collections::HashMap, iter};

use super::types::{Family, Type, kind, words};

/// What the type of a tracepoint's function begins with.
const TRACEPOINT: &[u8] = b"btf_trace_";

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Later versions of the format may append to the header, and say so in it.
const HEADER_BYTES: usize = 24;
/// KSYM_NAME_LEN: the kernel refuses longer ones. Without a bound, many types could share a long name.
const MAX_NAME_BYTES: usize = 512;
/// Qualifiers and typedefs around a type.
const MAX_WRAPPERS: usize = 32;
/// Hostile structs may contain each other: the way to a field must end.
const MAX_MEMBERS: usize = 1 << 16;

/// Why some bytes are no BTF.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    #[error("it is cut short: byte {at} is missing")]
    Short { at: usize },
    #[error("it begins with {found:#06x} instead of {MAGIC:#06x}")]
    Magic { found: u16 },
    #[error("it has version {found}, only {VERSION} is known")]
    Version { found: u8 },
    #[error("its header has {found} bytes instead of {HEADER_BYTES}")]
    Header { found: u32 },
    #[error("type {id} is of the unknown kind {kind}")]
    Kind { id: u32, kind: u32 },
    #[error("type {id} has no valid name")]
    Name { id: u32 },
}

/// An index over the bytes of a BTF file.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where the type with the number n + 1 begins: 0 is `void`.
    starts: Vec<u32>,
    /// The first type that has a name and a content.
    named: HashMap<(Family, &'a [u8]), u32>,
}

impl<'a> Btf<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let short = BtfError::Short { at: bytes.len() };
        let &[magic_0, magic_1, version, ..] = bytes else {
            return Err(short);
        };
        let found = u16::from_ne_bytes([magic_0, magic_1]);
        if found != MAGIC {
            return Err(BtfError::Magic { found });
        }
        if version != VERSION {
            return Err(BtfError::Version { found: version });
        }
        let Some([header_bytes, type_at, type_bytes, string_at, string_bytes]) = words(bytes, 4) else {
            return Err(short);
        };
        if (header_bytes as usize) < HEADER_BYTES {
            return Err(BtfError::Header { found: header_bytes });
        }
        let types = section(bytes, header_bytes, type_at, type_bytes)?;
        let strings = section(bytes, header_bytes, string_at, string_bytes)?;
        let mut btf = Self { types, strings, starts: Vec::new(), named: HashMap::new() };
        btf.index()?;
        Ok(btf)
    }

    /// One pass: finds where each type begins, and proves that each lies within the bytes.
    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        for id in 1.. {
            if at == self.types.len() {
                break;
            }
            let found = Type::read(self.types, at).ok_or(BtfError::Short { at })?;
            let n_bytes = found.body_bytes().ok_or(BtfError::Kind { id, kind: found.kind })?;
            let next = found.body + n_bytes;
            if self.types.len() < next {
                return Err(BtfError::Short { at: self.types.len() });
            }
            self.starts.push(at as u32);
            if let Some(family) = found.family()
                && 0 < found.n_members
            {
                let name = self.name(found.name).ok_or(BtfError::Name { id })?;
                self.named.entry((family, name)).or_insert(id);
            }
            // Of typedefs, of which there are many, only these are asked for.
            if found.kind == kind::TYPEDEF
                && let Some(name) = self.name(found.name).filter(|it| it.starts_with(TRACEPOINT))
            {
                self.named.entry((Family::Tracepoint, name)).or_insert(id);
            }
            at = next;
        }
        Ok(())
    }

    /// Bytes from the start of the struct that `path` begins with to the field that it ends with.
    pub fn offset(&self, path: &str) -> Option<u32> {
        let (outer, fields) = path.split_once('.')?;
        let mut id = *self.named.get(&(Family::Fields, outer.as_bytes()))?;
        let mut bits = 0_u32;
        for field in fields.split('.') {
            let (at, inner) = self.member(id, field.as_bytes())?;
            bits = bits.checked_add(at)?;
            id = inner;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// What a tracepoint hands over: of each argument the name of its type, or of what it points to.
    pub fn arguments(&self, tracepoint: &str) -> Option<Vec<&'a str>> {
        let name = [TRACEPOINT, tracepoint.as_bytes()].concat();
        let typedef = self.get(*self.named.get(&(Family::Tracepoint, name.as_slice()))?)?;
        let pointer = self.plain(typedef.inner).filter(|it| it.kind == kind::POINTER)?;
        let function = self.plain(pointer.inner).filter(|it| it.kind == kind::FUNCTION)?;
        // The first is the loader's own.
        (1..function.n_members)
            .map(|n| {
                let [_, id] = words(self.types, function.body + n * function.member_bytes())?;
                let given = self.plain(id)?;
                let meant = if given.kind == kind::POINTER { self.plain(given.inner) } else { Some(given) };
                meant.map_or(Some("void"), |it| std::str::from_utf8(self.name(it.name)?).ok())
            })
            .collect()
    }

    /// The value of an enumerator; a negative one in two's complement.
    pub fn enumerator(&self, name: &str, member: &str) -> Option<u64> {
        let id = *self.named.get(&(Family::Values, name.as_bytes()))?;
        let found = self.get(id)?;
        (0..found.n_members).find_map(|n| {
            let at = found.body + n * found.member_bytes();
            let [own, low] = words(self.types, at)?;
            if self.name(own)? != member.as_bytes() {
                return None;
            }
            if found.kind == kind::ENUM64 {
                let [high] = words(self.types, at + 8)?;
                return Some(u64::from(high) << 32 | u64::from(low));
            }
            Some(if found.flag { i64::from(low.cast_signed()).cast_unsigned() } else { low.into() })
        })
    }

    /// Place in bits and type of a field; unnamed structs and unions are looked through.
    fn member(&self, outer: u32, name: &[u8]) -> Option<(u32, u32)> {
        let mut left = MAX_MEMBERS;
        let mut open = vec![(outer, 0_u32)];
        while let Some((id, base)) = open.pop() {
            let Some(found) = self.plain(id).filter(|it| it.family() == Some(Family::Fields)) else {
                continue;
            };
            for n in 0..found.n_members {
                left = left.checked_sub(1)?;
                let [own, inner, place] = words(self.types, found.body + n * found.member_bytes())?;
                // With the flag, the upper byte is the size of a bit field.
                let bits = if found.flag { place & 0x00ff_ffff } else { place };
                let at = base.checked_add(bits)?;
                let own = self.name(own)?;
                if own.is_empty() {
                    open.push((inner, at));
                } else if own == name {
                    return Some((at, inner));
                }
            }
        }
        None
    }

    /// Without typedefs and qualifiers.
    fn plain(&self, id: u32) -> Option<Type> {
        let wrapped =
            |it: &Type| matches!(it.kind, kind::TYPEDEF | kind::VOLATILE | kind::CONST).then_some(it.inner);
        iter::successors(self.get(id), |it| self.get(wrapped(it)?))
            .take(MAX_WRAPPERS)
            .find(|it| wrapped(it).is_none())
    }

    fn get(&self, id: u32) -> Option<Type> {
        let n = id.checked_sub(1)?;
        Type::read(self.types, *self.starts.get(n as usize)? as usize)
    }

    fn name(&self, at: u32) -> Option<&'a [u8]> {
        let rest = self.strings.get(at as usize..)?;
        let n_bytes = rest.iter().take(MAX_NAME_BYTES).position(|it| *it == 0)?;
        Some(&rest[..n_bytes])
    }
}

fn section(bytes: &[u8], header_bytes: u32, at: u32, n_bytes: u32) -> Result<&[u8], BtfError> {
    let start = header_bytes as usize + at as usize;
    bytes.get(start..start + n_bytes as usize).ok_or(BtfError::Short { at: bytes.len() })
}

#[cfg(test)]
mod tests;
