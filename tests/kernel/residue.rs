use agent::kernel::POINTS;
use agent_common::names;
use tests::{Observer, Target, eventually, paths::built, require_bpf, residue};

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

/// Everything is loaded, attached and dropped: the programs of Go, too.
#[test]
fn a_dropped_kernel_half_leaves_nothing() {
    require_bpf!();
    let ours = [
        names::MAP_COUNTERS,
        names::MAP_EVENTS,
        names::MAP_SOCKS,
        names::MAP_WATCHED,
        names::PROG_NIC_IN,
        names::PROG_NIC_IN_TC,
        names::PROG_PROC_EXEC,
        names::PROG_PROC_EXIT,
        names::PROG_SEED,
        names::PROG_SOCK_CLOSED,
        names::PROG_SOCK_DUMP,
        names::PROG_SOCK_READER,
        names::PROG_SOCK_STATE,
    ];
    let programs = POINTS.iter().map(|it| it.program);
    let ours: Vec<&str> = ours.into_iter().chain(programs).collect();
    // Another agent on this machine has objects of the same names.
    let before = residue::find(&ours);
    let server = Target::spawn(built("http"), ["server", "-listen", "127.0.0.1:0"]);
    let mut observer = Observer::load();
    let (file, plan) = observer.attach(server.pid());
    observer.watch(server.pid(), plan.process);
    let mut made = residue::find(&ours);
    made.retain(|it| !before.contains(it));
    for kind in ["program", "map", "link"] {
        assert!(made.iter().any(|it| it.kind == kind), "no {kind} in {made:?}");
    }
    drop((observer, file));
    eventually("all of them to be gone", || {
        let left = residue::find(&ours);
        (!left.iter().any(|it| made.contains(it))).then_some(())
    });
    println!("{} programs, maps and links, and then none", made.len());
}
