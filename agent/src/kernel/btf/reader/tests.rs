use super::*;

/// Types as words, strings as they come; the header is made.
#[derive(Default)]
struct Made {
    types: Vec<u8>,
    strings: Vec<u8>,
    n_types: u32,
}

impl Made {
    fn new() -> Self {
        Self { strings: vec![0], ..Self::default() }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// `members` are the words after the first three; returns the type's number.
    fn add(&mut self, name: &str, kind: u32, n_members: u32, inner: u32, members: &[u32]) -> u32 {
        let name = self.string(name);
        let info = kind << 24 | n_members;
        for word in [name, info, inner].iter().chain(members) {
            self.types.extend(word.to_ne_bytes());
        }
        self.n_types += 1;
        self.n_types
    }

    fn fields(&mut self, name: &str, kind: u32, fields: &[(&str, u32, u32)]) -> u32 {
        let words: Vec<u32> =
            fields.iter().flat_map(|(name, id, bits)| [self.string(name), *id, *bits]).collect();
        self.add(name, kind, fields.len() as u32, 0, &words)
    }

    fn bytes(&self) -> Vec<u8> {
        let (n_types, n_strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([VERSION, 0]);
        for word in [HEADER_BYTES as u32, 0, n_types, n_types, n_strings] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

const INT: u32 = 1;
const FLAG: u32 = 1 << 7;

/// `struct outer { int a; union { const inner_t in; struct { int deep, low: 3; }; }; }`
fn nested() -> Made {
    let mut made = Made::new();
    let int = made.add("int", INT, 0, 4, &[32]);
    let inner = made.fields("inner", kind::STRUCT, &[("x", int, 0), ("y", int, 32)]);
    let typedef = made.add("inner_t", kind::TYPEDEF, 0, inner, &[]);
    let constant = made.add("", kind::CONST, 0, typedef, &[]);
    let deep = made.fields(
        "",
        kind::STRUCT | FLAG,
        &[("deep", int, 64), ("low", int, 3 << 24 | 97), ("", int, 100)],
    );
    let either = made.fields("", kind::UNION, &[("in", constant, 0), ("", deep, 0)]);
    made.fields("outer", kind::STRUCT, &[("a", int, 0), ("", either, 64)]);
    made
}

#[test]
fn a_path_leads_through_unnamed_members_typedefs_and_qualifiers() {
    let bytes = nested().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let check = |path: &str, want: Option<u32>| assert_eq!(btf.offset(path), want, "{path}");
    check("outer.a", Some(0));
    check("outer.in", Some(8));
    check("outer.in.y", Some(12));
    check("outer.deep", Some(16));
    check("inner.y", Some(4));
    // It does not begin at a byte.
    check("outer.low", None);
    check("outer.x", None);
    check("outer.a.x", None);
    check("outer", None);
    check("outer.", None);
    check("inner_t.y", None);
    check("", None);
}

#[test]
fn enumerators_of_both_sizes_have_their_values() {
    let mut made = Made::new();
    let [one, minus, big] = ["ONE", "MINUS", "BIG"].map(|it| made.string(it));
    made.add("declared_only", kind::ENUM, 0, 4, &[]);
    made.add("plain", kind::ENUM, 2, 4, &[one, 1, minus, u32::MAX]);
    made.add("signed", kind::ENUM | FLAG, 1, 4, &[minus, u32::MAX]);
    made.add("wide", kind::ENUM64, 2, 8, &[one, 1, 0, big, 2, 3]);
    let bytes = made.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.enumerator("plain", "ONE"), Some(1));
    assert_eq!(btf.enumerator("plain", "MINUS"), Some(u64::from(u32::MAX)));
    assert_eq!(btf.enumerator("signed", "MINUS"), Some(u64::MAX));
    assert_eq!(btf.enumerator("wide", "ONE"), Some(1));
    assert_eq!(btf.enumerator("wide", "BIG"), Some(3 << 32 | 2));
    assert_eq!(btf.enumerator("wide", "MINUS"), None);
    assert_eq!(btf.enumerator("declared_only", "ONE"), None);
}

#[test]
fn a_tracepoint_has_the_arguments_of_its_function() {
    let mut made = Made::new();
    let int = made.add("int", INT, 0, 4, &[32]);
    let other = made.add("other_t", kind::TYPEDEF, 0, int, &[]);
    let sock = made.fields("sock", kind::STRUCT, &[("a", int, 0)]);
    let constant = made.add("", kind::CONST, 0, sock, &[]);
    let [to_sock, to_void] = [constant, 0].map(|it| made.add("", kind::POINTER, 0, it, &[]));
    let function = made.add("", kind::FUNCTION, 4, 0, &[0, to_void, 0, to_sock, 0, other, 0, to_void]);
    let to_function = made.add("", kind::POINTER, 0, function, &[]);
    made.add("btf_trace_hit", kind::TYPEDEF, 0, to_function, &[]);
    made.add("btf_trace_no_function", kind::TYPEDEF, 0, to_sock, &[]);
    made.add("btf_trace_far", kind::TYPEDEF, 0, 99, &[]);
    let bytes = made.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.arguments("hit"), Some(vec!["sock", "int", "void"]));
    for name in ["no_function", "far", "absent", ""] {
        assert_eq!(btf.arguments(name), None, "{name}");
    }
}

#[test]
fn every_prefix_is_refused() {
    let bytes = nested().bytes();
    for len in 0..bytes.len() {
        let got = Btf::parse(&bytes[..len]).map(drop);
        assert_eq!(got, Err(BtfError::Short { at: len }), "{len} bytes");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let check = |at: usize, value: u8, want: BtfError| {
        let mut bytes = nested().bytes();
        bytes[at] = value;
        assert_eq!(Btf::parse(&bytes).map(drop), Err(want));
    };
    check(2, 7, BtfError::Version { found: 7 });
    check(4, 23, BtfError::Header { found: 23 });
    // The kind of the first type.
    check(HEADER_BYTES + 7, 31, BtfError::Kind { id: 1, kind: 31 });
    assert!(matches!(Btf::parse(b"\x7fELF").map(drop), Err(BtfError::Magic { .. })));
    let mut made = Made::new();
    made.fields("s", kind::STRUCT, &[("a", 1, 0)]);
    made.types[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(Btf::parse(&made.bytes()).map(drop), Err(BtfError::Name { id: 1 }));
}

#[test]
fn types_that_contain_themselves_and_numbers_that_lead_nowhere_are_not_followed_for_ever() {
    let mut made = Made::new();
    // Each look at it would double the work.
    made.fields("twice", kind::STRUCT, &[("", 1, 0), ("", 1, 0), ("self", 1, 8), ("loop", 3, 0)]);
    made.fields("far", kind::STRUCT, &[("", 99, 0), ("", 0, 0), ("end", 99, u32::MAX - 7)]);
    made.add("", kind::CONST, 0, 3, &[]);
    let bytes = made.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.offset("twice.self.self"), Some(2));
    assert_eq!(btf.offset("twice.no_such_field"), None);
    assert_eq!(btf.offset("twice.loop.x"), None);
    assert_eq!(btf.offset("far.end"), Some(u32::MAX / 8));
    assert_eq!(btf.offset("far.end.x"), None);
}

#[test]
fn no_single_wrong_byte_makes_it_panic() {
    let good = nested().bytes();
    for at in 0..good.len() {
        for wrong in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = wrong;
            if let Ok(btf) = Btf::parse(&bytes) {
                let found = btf.offset("outer.in.y");
                assert!(found.is_none_or(|it| it <= u32::MAX / 8), "byte {at}");
            }
        }
    }
}
