//! Go programs as the compiler and the linker really leave them, and the processes made of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use agent::targets::{
    golang::{
        Checked, ConnItabs, Field, GoBinary, HttpLayout, OffsetsFrom, PointKind, PointName, SelfCheckError,
        Side, load_bias, self_check,
    },
    memory::TargetMemory,
};
use procfs::process::Process;
use tests::{Target, paths::built};

const VARIANTS: &[(&str, OffsetsFrom)] = &[
    ("http-both", OffsetsFrom::Dwarf),
    ("http-both-stripped", OffsetsFrom::Table),
    ("http-both-stripped-pie", OffsetsFrom::Table),
    ("http-both-go1.21-cgo-pie", OffsetsFrom::Table),
    ("http-both-go1.27", OffsetsFrom::Dwarf),
    ("http-both-go1.27-stripped", OffsetsFrom::Table),
];

const ROUTES: [PointName; 2] = [PointName::ServerRoute, PointName::ServerRoute121];

#[test]
fn every_point_is_found_in_every_variant() {
    for (name, offsets_from) in VARIANTS {
        let (path, binary) = open(name);
        assert_eq!(binary.refused, [], "{name}");
        let found: Vec<_> = binary.points.iter().map(|it| it.name).collect();
        // In Go 1.21 `ServeMux` finds the handler in another function, which is not looked for; and none has golang.org/x/net
        // or `database/sql`.
        let has_routes = binary.version.minor != 21;
        let is_there = |it: &&PointName| {
            let is_other = it.side() == Side::Sql || it.side().is_grpc() || it.name().starts_with("x/net ");
            (has_routes || !ROUTES.contains(it)) && !is_other
        };
        let want: Vec<_> = PointName::ALL.iter().filter(is_there).copied().collect();
        assert_eq!(found, want, "{name}");
        assert_eq!(binary.stripped, name.contains("stripped") || name.contains("cgo"), "{name}");
        assert_eq!(binary.pie, name.contains("pie"), "{name}");
        assert_eq!(binary.offsets_from, *offsets_from, "{name}");
        assert!(binary.build_id.is_some(), "{name}");

        let file = fs::read(path).unwrap();
        for point in &binary.points {
            let first = file[point.file_offset as usize];
            match point.kind {
                PointKind::PushRbp => assert_eq!(first, 0x55, "{name} {}", point.name),
                // No-op, short or long jump.
                PointKind::AfterCall => {
                    assert!(
                        matches!(first, 0x90 | 0x70..=0x7f | 0x0f | 0xeb | 0xe9),
                        "{name} {}",
                        point.name
                    );
                }
                other => panic!("{name} {}: {other:?}", point.name),
            }
        }
    }
}

/// Where a program's statements are: those of `database/sql` in every version, stripped or not.
#[test]
fn every_point_of_statements_is_found_in_every_variant() {
    let wanted: Vec<_> = PointName::ALL.iter().filter(|it| it.side() == Side::Sql).collect();
    for name in [
        "sql",
        "sql-stripped",
        "sql-stripped-pie",
        "sql-go1.21",
        "sql-go1.21-stripped",
        "sql-go1.27-stripped",
    ] {
        let (_, binary) = open(name);
        let sql: Vec<_> = binary.points.iter().filter(|it| it.name.side() == Side::Sql).collect();
        let mut names: Vec<_> = sql.iter().map(|it| &it.name).collect();
        names.dedup();
        assert_eq!(names, wanted, "{name}: {:?}", binary.refused);
        let after_calls = sql.iter().filter(|it| it.kind == PointKind::AfterCall).count();
        assert_eq!((sql.len(), after_calls), (13, 7), "{name}");
        assert_eq!(Some(binary.layout), HttpLayout::of_version(&binary.version), "{name}");
    }
}

/// What the table of versions says is what the compiler did.
#[test]
fn the_table_agrees_with_the_debug_information() {
    for (name, _) in VARIANTS.iter().filter(|(_, from)| *from == OffsetsFrom::Dwarf) {
        let (_, binary) = open(name);
        assert_eq!(Some(binary.layout), HttpLayout::of_version(&binary.version), "{name}");
    }
}

/// Symbols and Go's own table are two independent ways to the same functions.
#[test]
fn a_stripped_program_has_the_same_points() {
    for name in ["http-both", "http-both-go1.27"] {
        let ((_, whole), (_, stripped)) = (open(name), open(&format!("{name}-stripped")));
        assert_eq!(whole.points, stripped.points, "{name}");
        assert_eq!(whole.layout, stripped.layout, "{name}");
        assert_eq!(whole.checks.runtime_main, stripped.checks.runtime_main, "{name}");
    }
}

#[test]
fn every_variant_passes_the_check_of_its_process() {
    for (name, _) in VARIANTS {
        let running = Running::start(name);
        let checked = running.check(&running.binary).unwrap();
        let Checked { itabs: ConnItabs { tcp, tls, grpc_wrapped: None, grpc_server: None }, .. } = checked
        else {
            panic!("{name}: {checked:?}");
        };
        assert_eq!((tcp.len(), tls.len()), (1, 1), "{name}");
        assert_ne!(tcp, tls, "{name}");
    }
}

/// The tables of connections from symbols and those found by walking through the process.
#[test]
fn a_walk_finds_what_the_symbols_say() {
    for (name, args, has_grpc) in
        [("http-both", &[][..], false), ("grpc", &["server"], true), ("grpc-1.70", &["server"], true)]
    {
        let running = Running::start_with(name, args);
        let by_symbols = running.check(&running.binary).unwrap();
        let mut without_symbols = running.binary.clone();
        without_symbols.checks.itabs = ConnItabs::default();
        assert_eq!(running.check(&without_symbols).unwrap(), by_symbols, "{name}");
        let of_grpc = [by_symbols.itabs.grpc_wrapped, by_symbols.itabs.grpc_server];
        assert_eq!(of_grpc.map(|it| it.is_some()), [has_grpc; 2], "{name}");
    }
}

#[test]
fn wrong_offsets_do_not_pass() {
    let running = Running::start("http-both-stripped-pie");
    for field in [Field::GGoid, Field::GStartpc] {
        for shift in [-8i16, 8] {
            let mut wrong = running.binary.clone();
            let offset = match field {
                Field::GGoid => &mut wrong.layout.g_goid,
                _ => &mut wrong.layout.g_startpc,
            };
            *offset = offset.wrapping_add_signed(shift);
            let error = running.check(&wrong).unwrap_err();
            assert!(matches!(error, SelfCheckError::WrongOffsets { .. }), "{field:?} {shift}: {error}");
        }
    }
}

#[test]
fn a_process_that_has_ended_is_an_error() {
    let Running { target, memory, bias, binary } = Running::start("http-both-stripped");
    drop(target);
    let error = self_check(&memory, bias, &binary).unwrap_err();
    assert!(matches!(error, SelfCheckError::Memory { .. }), "{error}");
}

struct Running {
    target: Target,
    memory: TargetMemory,
    bias: u64,
    binary: GoBinary,
}

impl Running {
    #[track_caller]
    fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    #[track_caller]
    fn start_with(name: &str, args: &[&str]) -> Self {
        let (path, binary) = open(name);
        let target = Target::spawn(path, args.iter().map(Path::new));
        let pid = target.pid().try_into().expect("a pid is small");
        let process = Process::new(pid).expect("it runs until it is dropped");
        let maps = process.maps().expect("it is our child");
        let exe = process.exe().expect("it is our child");
        let bias = load_bias(&maps, &exe, &binary).expect("it has mapped its own file");
        assert_eq!(bias != 0, binary.pie, "{name}");
        let memory = TargetMemory::new(target.pid()).expect("a pid is small");
        Self { target, memory, bias, binary }
    }

    fn check(&self, binary: &GoBinary) -> Result<Checked, SelfCheckError> {
        self_check(&self.memory, self.bias, binary)
    }
}

#[track_caller]
fn open(name: &str) -> (PathBuf, GoBinary) {
    let path = built(name);
    let binary = GoBinary::open(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    (path, binary)
}
