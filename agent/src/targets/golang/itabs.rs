//! Finds the method tables of connections, of gRPC's server, of drivers and errors in a process, by the names of their types.
//!
//! A damaged table gives fewer results, never an endless walk: all counts are bounded.

use std::collections::HashMap;

use super::{
    buildinfo::varint,
    check::{ConnItabs, read, read_u64},
    error::SelfCheckError,
    sql_types::SqlTypes,
    version::GoVersion,
};
use crate::targets::{
    elf::{u32_at, u64_at},
    memory::TargetMemory,
};

const MAX_ITABS: usize = 20_000;
const MAX_TABLE_BYTES: usize = 4 << 20;
const MAX_METHODS: u64 = 4096;
/// The names looked for are shorter; a longer one is read in part and matches none.
const NAME_BYTES: usize = 96;

const TYPES_OFFSET: u64 = 296;
const ITAB_HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 72;
const KIND_STRUCT: u8 = 25;
const KIND_INTERFACE: u8 = 20;
const KIND_POINTER: u8 = 22;
const KIND_MASK: u8 = 31;

/// Addresses in the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Itabs {
    pub conns: ConnItabs,
    pub sql: SqlTypes,
}

/// Interfaces whose tables are looked for.
#[derive(Clone, Copy, PartialEq)]
enum Interface {
    NetConn,
    ServerTransport,
    DriverConn,
    Error,
    Other,
}

/// All of them.
///
/// # Errors
///
/// When the module data or the list of tables cannot be read.
pub fn find(memory: &TargetMemory, module_data: u64, version: &GoVersion) -> Result<Itabs, SelfCheckError> {
    let what = "the module data";
    let types = read_u64(memory, what, module_data.wrapping_add(TYPES_OFFSET))?;
    let word = |offset: u64| read_u64(memory, what, module_data.wrapping_add(offset));
    let mut walk = Walk { memory, types, interfaces: HashMap::new(), n_methods: HashMap::new() };
    let mut found = Itabs::default();
    if version.minor < 27 {
        // A field in front of it came with 1.26.
        let links = if version.minor < 26 { 376 } else { 384 };
        walk.linked(word(links)?, word(links + 8)?, &mut found)?;
    } else {
        walk.in_place(types.wrapping_add(word(320)?), word(328)?, &mut found)?;
    }
    Ok(found)
}

const GRPC_TRANSPORT: &[u8] = b"google.golang.org/grpc/internal/transport";
const GRPC_CREDENTIALS: &[u8] = b"google.golang.org/grpc/internal/credentials";

struct Walk<'a> {
    memory: &'a TargetMemory,
    types: u64,
    /// By address; a program has far fewer interfaces than tables.
    interfaces: HashMap<u64, Interface>,
    n_methods: HashMap<u64, u64>,
}

impl Walk<'_> {
    /// Up to Go 1.26: a slice of pointers to tables.
    fn linked(&mut self, links: u64, n_links: u64, found: &mut Itabs) -> Result<(), SelfCheckError> {
        let n_links = usize::try_from(n_links).unwrap_or(MAX_ITABS).min(MAX_ITABS);
        let mut addresses = vec![0; n_links * 8];
        read(self.memory, "the list of method tables", links, &mut addresses)?;
        for address in addresses.chunks_exact(8).filter_map(|it| u64_at(it, 0)) {
            let mut itab = [0; 16];
            if self.memory.read(address, &mut itab).is_ok() {
                self.look_at(address, &itab, found);
            }
        }
        Ok(())
    }

    /// Since Go 1.27: the tables themselves, one after the other.
    fn in_place(&mut self, start: u64, size: u64, found: &mut Itabs) -> Result<(), SelfCheckError> {
        let size = usize::try_from(size).unwrap_or(MAX_TABLE_BYTES).min(MAX_TABLE_BYTES);
        let mut tables = vec![0; size];
        read(self.memory, "the method tables", start, &mut tables)?;
        let mut offset = 0;
        for _ in 0..MAX_ITABS {
            let Some(itab) = tables.get(offset..).filter(|it| ITAB_HEADER_BYTES <= it.len()) else {
                break;
            };
            self.look_at(start.wrapping_add(offset as u64), itab, found);
            let Some(n_methods) = u64_at(itab, 0).and_then(|it| self.n_methods(it)) else {
                break;
            };
            offset += ITAB_HEADER_BYTES + 8 * n_methods;
        }
        Ok(())
    }

    fn look_at(&mut self, address: u64, itab: &[u8], found: &mut Itabs) -> Option<()> {
        let (interface, concrete) = (u64_at(itab, 0)?, u64_at(itab, 8)?);
        match self.interface(interface) {
            Interface::NetConn => self.conn(address, concrete, &mut found.conns)?,
            Interface::ServerTransport => {
                let pointer = self.read_type(concrete)?;
                let is_server = self.type_name(&pointer)? == b"*transport.http2Server";
                if is_server && self.package_of(&pointer)? == GRPC_TRANSPORT {
                    found.conns.grpc_server = Some(address);
                }
            }
            Interface::DriverConn => {
                let package = self.package_of(&self.read_type(concrete)?)?;
                found.sql.add_driver(address, &String::from_utf8_lossy(&package));
            }
            Interface::Error => {
                let name = self.type_name(&self.read_type(concrete)?)?;
                found.sql.add_error(address, &String::from_utf8_lossy(&name));
            }
            Interface::Other => {}
        }
        Some(())
    }

    fn conn(&self, address: u64, concrete: u64, found: &mut ConnItabs) -> Option<()> {
        // `*T`: the name is that of the pointer, the package that of `T`.
        let pointer = self.read_type(concrete)?;
        let name = self.type_name(&pointer)?;
        if name == b"*h2c.bufConn" {
            // It tells no package. Another type of this name has no TCP connection where this one has it.
            found.tls.push(address);
            return Some(());
        }
        match (name.as_slice(), self.package_of(&pointer)?.as_slice()) {
            (b"*net.TCPConn", b"net") => found.tcp.push(address),
            (b"*tls.Conn", b"crypto/tls") => found.tls.push(address),
            (b"*credentials.syscallConn", GRPC_CREDENTIALS) => found.grpc_wrapped = Some(address),
            _ => return None,
        }
        Some(())
    }

    /// Of a struct, or of that which a pointer points to.
    fn package_of(&self, of: &[u8; TYPE_BYTES]) -> Option<Vec<u8>> {
        if of[23] & KIND_MASK != KIND_POINTER {
            return self.package(of, KIND_STRUCT);
        }
        self.package(&self.read_type(u64_at(of, 48)?)?, KIND_STRUCT)
    }

    fn interface(&mut self, address: u64) -> Interface {
        if let Some(&known) = self.interfaces.get(&address) {
            return known;
        }
        let interface = self.read_type(address).and_then(|it| self.interface_of(&it));
        let interface = interface.unwrap_or(Interface::Other);
        self.interfaces.insert(address, interface);
        interface
    }

    fn interface_of(&self, of: &[u8; TYPE_BYTES]) -> Option<Interface> {
        let is_of = |package: &[u8]| self.package(of, KIND_INTERFACE).as_deref() == Some(package);
        Some(match self.type_name(of)?.as_slice() {
            b"net.Conn" if is_of(b"net") => Interface::NetConn,
            b"transport.ServerTransport" if is_of(GRPC_TRANSPORT) => Interface::ServerTransport,
            b"driver.Conn" if is_of(b"database/sql/driver") => Interface::DriverConn,
            // Of no package, and no other type is.
            b"error" => Interface::Error,
            _ => Interface::Other,
        })
    }

    /// As many as a table of the interface has room for: at least one.
    fn n_methods(&mut self, interface: u64) -> Option<usize> {
        let n_methods = match self.n_methods.get(&interface) {
            Some(&known) => known,
            None => {
                let n_methods = u64_at(&self.read_type(interface)?, 64)?;
                self.n_methods.insert(interface, n_methods);
                n_methods
            }
        };
        (n_methods <= MAX_METHODS).then_some(n_methods.max(1) as usize)
    }

    fn read_type(&self, address: u64) -> Option<[u8; TYPE_BYTES]> {
        let mut bytes = [0; TYPE_BYTES];
        self.memory.read(address, &mut bytes).ok()?;
        Some(bytes)
    }

    fn type_name(&self, of: &[u8; TYPE_BYTES]) -> Option<Vec<u8>> {
        const EXTRA_STAR: u8 = 2;
        let offset = u32_at(of, 40)?;
        let name = self.name(self.types.wrapping_add(u64::from(offset)))?;
        if of[20] & EXTRA_STAR == 0 {
            return Some(name);
        }
        Some(name.strip_prefix(b"*")?.to_vec())
    }

    /// Of a struct with a field that is not exported, or of an interface.
    fn package(&self, of: &[u8; TYPE_BYTES], kind: u8) -> Option<Vec<u8>> {
        if of[23] & KIND_MASK != kind {
            return None;
        }
        self.name(u64_at(of, 48)?)
    }

    /// A byte of flags, the length, the text.
    fn name(&self, address: u64) -> Option<Vec<u8>> {
        let mut bytes = [0; NAME_BYTES];
        let n_read = self.memory.read_some(address, &mut bytes).ok()?;
        let (size, text) = varint(bytes.get(1..n_read)?)?;
        Some(text.get(..size)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTRA_STAR: u8 = 2;

    #[test]
    fn finds_both_kinds_of_connections_in_every_layout() {
        for raw in ["go1.21.13", "go1.25.6", "go1.26.8", "go1.27.4"] {
            let mut program = Program::new();
            let tables = program.tables();
            let module_data = program.module_data(raw, &tables, |it| it);
            let found = find(&program.memory(), module_data, &GoVersion::parse(raw).unwrap()).unwrap().conns;
            // The others are types of other packages, and interfaces that are not meant.
            let want = ConnItabs {
                tcp: vec![tables[1].0],
                tls: vec![tables[3].0],
                grpc_wrapped: Some(tables[4].0),
                grpc_server: Some(tables[5].0),
            };
            assert_eq!(found, want, "{raw}");
        }
    }

    #[test]
    fn finds_drivers_and_errors() {
        for raw in ["go1.21.13", "go1.26.8", "go1.27.4"] {
            let mut program = Program::new();
            let conn = program.interface("driver.Conn", "database/sql/driver", 1);
            let foreign = program.interface("driver.Conn", "example.test/driver", 1);
            let error = program.interface("error", "", 1);
            let pq = program.pointer("pq.conn", "github.com/lib/pq");
            let errors = program.pointer("pq.Error", "github.com/lib/pq");
            let mut tables: Vec<Table> =
                [(conn, pq), (foreign, pq), (error, errors)].map(|it| (0, [it.0, it.1, 0, 7])).into();
            tables.iter_mut().for_each(|it| it.0 = program.put(&[0; 32]));
            let module_data = program.module_data(raw, &tables, |it| it);
            let found = find(&program.memory(), module_data, &GoVersion::parse(raw).unwrap()).unwrap().sql;
            let mut want = SqlTypes::default();
            want.add_driver(tables[0].0, "github.com/lib/pq");
            want.add_error(tables[2].0, "*pq.Error");
            assert_eq!(found, want, "{raw}");
        }
    }

    #[test]
    fn a_count_beyond_the_table_ends_with_the_memory_or_the_bound() {
        for raw in ["go1.26.8", "go1.27.4"] {
            let mut program = Program::new();
            let tables = program.tables();
            let module_data = program.module_data(raw, &tables, |_| u64::MAX);
            let want = ConnItabs { tcp: vec![tables[1].0], tls: vec![tables[3].0], ..ConnItabs::default() };
            match find(&program.memory(), module_data, &GoVersion::parse(raw).unwrap()) {
                // Behind the table is this process's heap, where other tests have tables of their own.
                Ok(Itabs { conns: found, .. }) => {
                    assert!(found.tcp.starts_with(&want.tcp) && found.tls.starts_with(&want.tls), "{raw}");
                }
                Err(error) => assert!(matches!(error, SelfCheckError::Memory { .. }), "{raw}: {error}"),
            }
        }
    }

    #[test]
    fn an_interface_with_too_many_methods_ends_the_walk() {
        let mut program = Program::new();
        let mut tables = program.tables();
        let hostile = program.interface("net.Conn", "net", u64::MAX / 8);
        tables[0].1[0] = hostile;
        let module_data = program.module_data("go1.27.4", &tables, |it| it);
        let found =
            find(&program.memory(), module_data, &GoVersion::parse("go1.27.4").unwrap()).unwrap().conns;
        assert_eq!(
            found,
            ConnItabs { tcp: vec![tables[0].0], ..ConnItabs::default() },
            "nothing behind the first"
        );
    }

    /// Types and method tables as the runtime lays them out, in the memory of this very process.
    struct Program {
        bytes: Vec<u8>,
    }

    type Table = (u64, [u64; 4]);

    impl Program {
        fn new() -> Self {
            // It must never move: addresses in it point into it.
            Self { bytes: Vec::with_capacity(1 << 20) }
        }

        fn memory(&self) -> TargetMemory {
            TargetMemory::new(std::process::id()).unwrap()
        }

        fn base(&self) -> u64 {
            self.bytes.as_ptr() as u64
        }

        fn put(&mut self, bytes: &[u8]) -> u64 {
            let at = self.bytes.len().next_multiple_of(8);
            assert!(at + bytes.len() <= self.bytes.capacity());
            self.bytes.resize(at, 0);
            self.bytes.extend(bytes);
            self.base() + at as u64
        }

        fn name(&mut self, name: &str) -> u64 {
            self.put(&[&[0, name.len() as u8], name.as_bytes()].concat())
        }

        fn put_type(&mut self, name: &str, flags: u8, kind: u8, words: [u64; 3]) -> u64 {
            let offset = (self.name(name) - self.base()) as u32;
            let mut bytes = [0; TYPE_BYTES];
            (bytes[20], bytes[23]) = (flags, kind);
            bytes[40..44].copy_from_slice(&offset.to_le_bytes());
            bytes[48..].copy_from_slice(&words.map(u64::to_le_bytes).concat());
            self.put(&bytes)
        }

        fn interface(&mut self, name: &str, package: &str, n_methods: u64) -> u64 {
            let package = self.name(package);
            self.put_type(&format!("*{name}"), EXTRA_STAR, KIND_INTERFACE, [package, 0, n_methods])
        }

        fn pointer(&mut self, name: &str, package: &str) -> u64 {
            let package = self.name(package);
            let pointed_to = self.put_type(name, 0, KIND_STRUCT, [package, 0, 0]);
            self.put_type(&format!("*{name}"), 0, KIND_POINTER, [pointed_to, 0, 0])
        }

        /// One method each: four words.
        fn tables(&mut self) -> Vec<Table> {
            let conn = self.interface("net.Conn", "net", 1);
            let reader = self.interface("io.Reader", "io", 1);
            let tcp = self.pointer("net.TCPConn", "net");
            let tls = self.pointer("tls.Conn", "crypto/tls");
            let foreign = self.pointer("tls.Conn", "example.test/tls");
            let [transport, credentials] =
                [GRPC_TRANSPORT, GRPC_CREDENTIALS].map(|it| str::from_utf8(it).unwrap());
            let wrapped = self.pointer("credentials.syscallConn", credentials);
            let server_transport = self.interface("transport.ServerTransport", transport, 1);
            let server = self.pointer("transport.http2Server", transport);
            let others = self.pointer("transport.http2Server", "example.test/transport");
            let mut tables: Vec<Table> = [
                (reader, tcp),
                (conn, tcp),
                (conn, foreign),
                (conn, tls),
                (conn, wrapped),
                (server_transport, server),
                (server_transport, others),
                (conn, server),
            ]
            .map(|it| (0, [it.0, it.1, 0, 7]))
            .into();
            for table in &mut tables {
                table.0 = self.put(&[0; 32]);
            }
            tables
        }

        fn module_data(&mut self, raw: &str, tables: &[Table], count: impl Fn(u64) -> u64) -> u64 {
            let start = tables[0].0;
            for (address, words) in tables {
                let at = (address - self.base()) as usize;
                self.bytes[at..at + 32].copy_from_slice(&words.map(u64::to_le_bytes).concat());
            }
            let links: Vec<u8> = tables.iter().flat_map(|it| it.0.to_le_bytes()).collect();
            let links = self.put(&links);
            let n_tables = tables.len() as u64;
            let base = self.base();
            let mut words = [0u64; 50];
            words[296 / 8] = base;
            match GoVersion::parse(raw).unwrap().minor {
                27 => (words[320 / 8], words[328 / 8]) = (start - base, count(32 * n_tables)),
                26 => (words[384 / 8], words[392 / 8]) = (links, count(n_tables)),
                _ => (words[376 / 8], words[384 / 8]) = (links, count(n_tables)),
            }
            self.put(&words.map(u64::to_le_bytes).concat())
        }
    }
}
