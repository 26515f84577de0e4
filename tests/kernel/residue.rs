use tests::{eventually, require_bpf, residue};

/// What aya calls such a map; longer than the kernel keeps.
const NAME: &str = "standalone_array";

/// A check for leftovers that finds nothing must be able to find something.
#[test]
fn a_map_is_found_as_long_as_it_lives() {
    require_bpf!();
    residue::assert_none(&[NAME]);
    let map = aya::maps::Array::<_, u32>::create(1, 0).unwrap();
    let found = residue::find(&[NAME]);
    assert_eq!(found.iter().map(|it| it.kind).collect::<Vec<_>>(), ["map"]);
    drop(map);
    eventually("the map to be freed", || residue::find(&[NAME]).is_empty().then_some(()));
}
