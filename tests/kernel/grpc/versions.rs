//! Versions of google.golang.org/grpc: what is found in the files, and that it is right.

use agent::targets::golang::{GoBinary, GrpcLayout, PointName, Side};
use tests::{paths::built, require_bpf};

use super::Run;

/// Minor version and patch, by the fixture.
const VERSIONS: &[(&str, u16, u16)] =
    &[("grpc-1.45", 45, 0), ("grpc-1.64", 64, 1), ("grpc-1.70", 70, 0), ("grpc", 85, 0)];

/// What the table of versions says is what the compiler did.
#[test]
fn the_table_agrees_with_the_debug_information() {
    for &(name, minor, patch) in VERSIONS {
        let binary = GoBinary::open(&built(name)).unwrap();
        assert_eq!(binary.refused, [], "{name}");
        assert_eq!(binary.grpc, GrpcLayout::of_version(minor, patch), "{name}");
    }
}

/// Without symbols and debug information there are the same points and offsets.
#[test]
fn a_stripped_program_has_the_same_points() {
    for name in ["grpc-1.45", "grpc-1.70"] {
        let whole = GoBinary::open(&built(name)).unwrap();
        let stripped = GoBinary::open(&built(&format!("{name}-stripped"))).unwrap();
        assert!(stripped.stripped && !whole.stripped);
        assert_eq!(whole.points, stripped.points, "{name}");
        assert_eq!(whole.grpc, stripped.grpc, "{name}");
        let of_grpc = |it: &&PointName| it.side().is_grpc();
        let found: Vec<_> = whole.points.iter().map(|it| it.name).collect();
        let wanted: Vec<_> = PointName::ALL.iter().filter(of_grpc).collect();
        assert!(wanted.iter().all(|it| found.contains(it)), "{name}: {found:?}");
    }
}

#[test]
fn a_program_without_grpc_has_nothing_of_it() {
    let binary = GoBinary::open(&built("http-both")).unwrap();
    assert_eq!(binary.grpc, None);
    let sides: Vec<Side> = binary.points.iter().map(|it| it.name.side()).collect();
    assert!(!sides.iter().any(|it| it.is_grpc()));
}

#[test]
fn each_call_is_joined_in_every_version() {
    require_bpf!();
    for name in ["grpc-1.45", "grpc-1.64", "grpc-1.70", "grpc-1.45-stripped", "grpc-1.70-stripped"] {
        Run { name, n: 1000, ..Run::default() }.joins();
        Run { name, kind: "B", n: 500, ..Run::default() }.joins();
        Run { name, kind: "B", n: 100, client: &["-c", "8", "-cancel"], ..Run::default() }.joins();
        Run { name, n: 100, server: &["-tls"], client: &["-c", "8", "-tls"], ..Run::default() }.joins();
    }
}
