//! What every type of BTF begins with, and how long it is.

const TYPE_BYTES: usize = 12;

pub(super) mod kind {
    pub(in super::super) const POINTER: u32 = 2;
    pub(in super::super) const STRUCT: u32 = 4;
    pub(in super::super) const UNION: u32 = 5;
    pub(in super::super) const ENUM: u32 = 6;
    pub(in super::super) const TYPEDEF: u32 = 8;
    pub(in super::super) const VOLATILE: u32 = 9;
    pub(in super::super) const CONST: u32 = 10;
    pub(in super::super) const FUNCTION: u32 = 13;
    pub(in super::super) const ENUM64: u32 = 19;
}

/// In C, too, a struct and an enumeration of different files may have the same name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Fields,
    Values,
    Tracepoint,
}

pub(super) struct Type {
    pub(super) name: u32,
    pub(super) kind: u32,
    pub(super) flag: bool,
    pub(super) n_members: usize,
    /// What a typedef or qualifier stands before; the size of others.
    pub(super) inner: u32,
    /// Where what is special to the kind begins.
    pub(super) body: usize,
}

impl Type {
    pub(super) fn read(types: &[u8], at: usize) -> Option<Self> {
        let [name, info, inner] = words(types, at)?;
        Some(Self {
            name,
            kind: (info >> 24) & 0x1f,
            flag: info >> 31 != 0,
            n_members: (info & 0xffff) as usize,
            inner,
            body: at + TYPE_BYTES,
        })
    }

    pub(super) fn family(&self) -> Option<Family> {
        match self.kind {
            kind::STRUCT | kind::UNION => Some(Family::Fields),
            kind::ENUM | kind::ENUM64 => Some(Family::Values),
            _ => None,
        }
    }

    pub(super) fn member_bytes(&self) -> usize {
        if matches!(self.kind, kind::ENUM | kind::FUNCTION) { 8 } else { 12 }
    }

    /// `None`: a kind that this reader cannot step over.
    pub(super) fn body_bytes(&self) -> Option<usize> {
        const INT: u32 = 1;
        const ARRAY: u32 = 3;
        const VAR: u32 = 14;
        const DATASEC: u32 = 15;
        const DECL_TAG: u32 = 17;
        Some(match self.kind {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FUNCTION | DATASEC => {
                self.n_members * self.member_bytes()
            }
            // Pointers, qualifiers and whatever else is said in the three words already.
            kind::POINTER | 7..=12 | 16 | 18 => 0,
            _ => return None,
        })
    }
}

pub(super) fn words<const N: usize>(bytes: &[u8], at: usize) -> Option<[u32; N]> {
    let (words, _) = bytes.get(at..)?.as_chunks::<4>();
    Some(words.first_chunk::<N>()?.map(u32::from_ne_bytes))
}
