//! Small files that look like Go's: for tests of the reader as a whole.

pub(crate) const TEXT_ADDRESS: u64 = 0x40_1000;
const TEXT_OFFSET: usize = 0x1000;
const FUNCTION_BYTES: usize = 128;
const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;

/// A function that starts as most of Go's do.
pub(crate) const PLAIN: &[u8] = &[0x49, 0x3b, 0x66, 0x10, 0x76, 0x2b, 0x55, 0x48, 0x89, 0xe5, 0xc3];
/// Where the push is in [`PLAIN`].
pub(crate) const PUSH: u64 = 6;

const SHOULD_RETRY: &str = "net/http.(*persistConn).shouldRetryRequest";

const GRPC: [&str; 7] = [
    "google.golang.org/grpc.(*Server).handleStream",
    "google.golang.org/grpc/internal/transport.(*http2Server).writeStatus",
    "google.golang.org/grpc/internal/transport.(*http2Server).Close",
    "google.golang.org/grpc/internal/transport.(*http2Client).NewStream",
    "google.golang.org/grpc/internal/transport.(*http2Client).NewStream.func3",
    "google.golang.org/grpc/internal/transport.(*http2Client).closeStream",
    "google.golang.org/grpc/internal/transport.(*http2Client).Close",
];

#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) version: &'static str,
    /// Of google.golang.org/grpc; `None`: there is no list of modules.
    pub(crate) grpc: Option<&'static str>,
    pub(crate) names: Names,
    pub(crate) functions: Vec<(&'static str, Vec<u8>)>,
}

/// Where the names of functions are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Names {
    Symbols,
    Table,
    /// As [`Self::Table`], in a program linked by the linker of C.
    TableOfC,
}

struct Part {
    name: &'static str,
    kind: u32,
    flags: u64,
    address: u64,
    link: u32,
    data: Vec<u8>,
}

impl Image {
    /// All functions of the HTTP/1 probes but the one that a program without hijacking has not.
    pub(crate) fn http(names: Names) -> Self {
        let mut functions = vec![
            ("net/http.serverHandler.ServeHTTP", PLAIN.to_vec()),
            ("net/http.(*response).finishRequest", PLAIN.to_vec()),
            ("net/http.(*conn).serve.func1", PLAIN.to_vec()),
            ("net/http.(*conn).close", PLAIN.to_vec()),
            ("net/http.(*persistConn).roundTrip", PLAIN.to_vec()),
            ("net/http.(*persistConn).closeLocked", PLAIN.to_vec()),
            ("net/http.(*Transport).getConn", PLAIN.to_vec()),
            (SHOULD_RETRY, PLAIN.to_vec()),
            ("runtime.main", PLAIN.to_vec()),
            ("runtime.allgadd", allgadd()),
        ];
        let caller = functions.len();
        let mut code = PLAIN[..7].to_vec();
        for callee in ["net/http.(*Transport).getConn", "net/http.(*persistConn).roundTrip", SHOULD_RETRY] {
            let callee = functions.iter().position(|it| it.0 == callee).unwrap();
            code.extend(call_and_test(caller, callee, code.len()));
        }
        functions.push(("net/http.(*Transport).roundTrip", code));
        Self { version: "go1.26.8", grpc: None, names, functions }
    }

    /// As [`Self::http`], with all functions of the gRPC probes as they are called since 1.69.
    pub(crate) fn grpc(version: Option<&'static str>) -> Self {
        let mut image = Self::http(Names::Symbols);
        image.grpc = version;
        image.functions.extend(GRPC.iter().map(|it| (*it, PLAIN.to_vec())));
        image
    }

    /// As [`Self::http`], with those of HTTP/2 in net/http.
    pub(crate) fn http2() -> Self {
        let mut image = Self::http(Names::Symbols);
        let called = ["net/http.(*http2ClientConn).roundTrip", "net/http.http2shouldRetryRequest"];
        let entered = [
            "net/http.(*http2serverConn).runHandler",
            "net/http.(*http2serverConn).runHandler.func1",
            "net/http.(*http2serverConn).closeAllStreamsOnConnClose",
            "net/http.(*http2clientStream).encodeAndWriteHeaders",
            "net/http.(*http2clientConnReadLoop).cleanup",
        ];
        let first = image.functions.len();
        image.functions.extend(called.iter().chain(&entered).map(|it| (*it, PLAIN.to_vec())));
        let mut code = PLAIN[..7].to_vec();
        for n in 0..called.len() {
            code.extend(call_and_test(image.functions.len(), first + n, code.len()));
        }
        image.functions.push(("net/http.(*http2Transport).RoundTripOpt", code));
        image
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        // The others must stay where the calls expect them.
        for function in self.functions.iter_mut().filter(|it| it.0 == name) {
            function.0 = "main.other";
        }
        self
    }

    pub(crate) fn address_of(&self, name: &str) -> u64 {
        let index = self.functions.iter().position(|it| it.0 == name).unwrap();
        TEXT_ADDRESS + (index * FUNCTION_BYTES) as u64
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let text: Vec<u8> = self
            .functions
            .iter()
            .flat_map(|(_, code)| {
                let mut code = code.clone();
                code.resize(FUNCTION_BYTES, 0xcc);
                code
            })
            .collect();
        let data_address = TEXT_ADDRESS + text.len().next_multiple_of(0x1000) as u64;
        let mut parts = vec![
            Part::new("", 0, 0, 0, vec![]),
            Part::new(".text", 1, 6, TEXT_ADDRESS, text),
            Part::new(".go.buildinfo", 1, 3, 0, self.buildinfo()),
        ];
        match self.names {
            Names::Symbols => parts.extend(self.symbols(parts.len() as u32 + 1)),
            Names::Table | Names::TableOfC => parts.extend(self.table(data_address)),
        }
        link(parts, data_address)
    }

    fn buildinfo(&self) -> Vec<u8> {
        let header = [b"\xff Go buildinf:\x08\x02", &[0; 16][..]].concat();
        let version = [&header[..], &[self.version.len() as u8], self.version.as_bytes()].concat();
        let Some(grpc) = self.grpc else {
            return version;
        };
        let list = format!("{0}dep\tgoogle.golang.org/grpc\t{grpc}\th1:x=\n{0}", "0123456789abcdef");
        [&version[..], &[list.len() as u8], list.as_bytes()].concat()
    }

    fn symbols(&self, names_index: u32) -> [Part; 2] {
        let (mut table, mut names) = (vec![0; 24], vec![0]);
        for (name, _) in &self.functions {
            table.extend((names.len() as u32).to_le_bytes());
            table.extend([2, 0, 1, 0]);
            table.extend(self.address_of(name).to_le_bytes());
            table.extend((FUNCTION_BYTES as u64).to_le_bytes());
            names.extend(name.bytes().chain([0]));
        }
        let mut symbols = Part::new(".symtab", 2, 0, 0, table);
        symbols.link = names_index;
        [symbols, Part::new(".strtab", 3, 0, 0, names)]
    }

    /// Go's own table, and the module data that tells where the text starts.
    fn table(&self, module_address: u64) -> [Part; 2] {
        const TABLE_ADDRESS: u64 = 0x80_0000;
        const TABLE_HEADER_BYTES: usize = 72;
        let (mut names, mut entries, mut descriptions) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (name, _)) in self.functions.iter().enumerate() {
            let description = self.functions.len() * 8 + 4 + index * 8;
            entries
                .extend([(index * FUNCTION_BYTES) as u32, description as u32].map(u32::to_le_bytes).concat());
            descriptions.extend([0, names.len() as u32].map(u32::to_le_bytes).concat());
            names.extend(name.bytes().chain([0]));
        }
        entries.extend(((self.functions.len() * FUNCTION_BYTES) as u32).to_le_bytes());
        let words =
            [self.functions.len(), 0, 0, TABLE_HEADER_BYTES, 0, 0, 0, TABLE_HEADER_BYTES + names.len()];
        let header = [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
        let words = words.map(|it| (it as u64).to_le_bytes()).concat();
        let table = [&header, &words[..], &names, &entries, &descriptions].concat();

        let mut module = vec![0; 400];
        module[..8].copy_from_slice(&TABLE_ADDRESS.to_le_bytes());
        module[8..16].copy_from_slice(&(TABLE_ADDRESS + TABLE_HEADER_BYTES as u64).to_le_bytes());
        module[176..184].copy_from_slice(&TEXT_ADDRESS.to_le_bytes());
        let section = if self.names == Names::Table { ".gopclntab" } else { ".data.rel.ro" };
        let pclntab = Part::new(section, 1, 2, TABLE_ADDRESS, table);
        [Part::new(".noptrdata", 1, 3, module_address, module), pclntab]
    }
}

impl Part {
    fn new(name: &'static str, kind: u32, flags: u64, address: u64, data: Vec<u8>) -> Self {
        Self { name, kind, flags, address, link: 0, data }
    }
}

/// `mov rax, [rip+…]` for each word of a slice that starts 0x100 bytes behind the code.
fn allgadd() -> Vec<u8> {
    [0x100, 0x108, 0x110]
        .into_iter()
        .enumerate()
        .flat_map(|(n, word): (usize, i32)| {
            [&[0x48, 0x8b, 0x05][..], &(word - 7 * (n as i32 + 1)).to_le_bytes()].concat()
        })
        .collect()
}

/// `call; test rbx, rbx; je`, placed `offset` bytes behind the start of the caller.
fn call_and_test(caller: usize, callee: usize, offset: usize) -> Vec<u8> {
    let from = (caller * FUNCTION_BYTES + offset + 5) as i32;
    let distance = ((callee * FUNCTION_BYTES) as i32 - from).to_le_bytes();
    [&[0xe8][..], &distance, &[0x48, 0x85, 0xdb, 0x74, 0x40]].concat()
}

fn link(mut parts: Vec<Part>, data_address: u64) -> Vec<u8> {
    let names_index = parts.len();
    parts.push(Part::new(".shstrtab", 3, 0, 0, vec![]));
    let mut names = Vec::new();
    let name_offsets: Vec<usize> = parts
        .iter()
        .map(|it| {
            let offset = names.len();
            names.extend(it.name.bytes().chain([0]));
            offset
        })
        .collect();
    parts[names_index].data = names;

    let mut file = vec![0; TEXT_OFFSET];
    let mut sections = Vec::new();
    let mut segments = Vec::new();
    for (part, name_offset) in parts.iter().zip(name_offsets) {
        file.resize(file.len().next_multiple_of(16), 0);
        let (offset, size) = (file.len() as u64, part.data.len() as u64);
        sections.extend([name_offset as u32, part.kind].map(u32::to_le_bytes).concat());
        sections.extend([part.flags, part.address, offset, size].map(u64::to_le_bytes).concat());
        sections.extend([u64::from(part.link), 1, 0].map(u64::to_le_bytes).concat());
        if part.address == TEXT_ADDRESS || part.address == data_address {
            let flags = if part.address == TEXT_ADDRESS { 5 } else { 6 };
            segments.extend([1u32, flags].map(u32::to_le_bytes).concat());
            segments.extend([offset, part.address, 0, size, size, 0x1000].map(u64::to_le_bytes).concat());
        }
        file.extend(&part.data);
    }
    let sections_offset = file.len() as u64;
    file.extend(sections);
    file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file[16..20].copy_from_slice(&[2, 0, 62, 0]);
    file[32..40].copy_from_slice(&(HEADER_BYTES as u64).to_le_bytes());
    file[40..48].copy_from_slice(&sections_offset.to_le_bytes());
    let n_segments = (segments.len() / SEGMENT_BYTES) as u16;
    let counts = [HEADER_BYTES as u16, 56, n_segments, 64, parts.len() as u16, names_index as u16];
    file[52..64].copy_from_slice(&counts.map(u16::to_le_bytes).concat());
    file[HEADER_BYTES..HEADER_BYTES + segments.len()].copy_from_slice(&segments);
    file
}
