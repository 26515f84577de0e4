use std::process;

use tests::{Observer, Target, eventually, paths::built, require_bpf, residue};

/// Everything is loaded, attached and dropped: the programs of Go, too.
#[test]
fn a_dropped_kernel_half_leaves_nothing() {
    require_bpf!();
    let server = Target::spawn(built("http"), ["server", "-listen", "127.0.0.1:0"]);
    let mut observer = Observer::load();
    let (file, plan) = observer.attach(server.pid());
    observer.watch(server.pid(), plan.process);
    let held = residue::held_by(process::id());
    // A check for what is left of nothing would prove nothing.
    for kind in ["program", "map", "link"] {
        assert!(held.iter().any(|it| it.kind == kind), "no {kind} in {held:?}");
    }
    assert_eq!(residue::remaining(&held).len(), held.len(), "all of them are listed while they are held");
    drop((observer, file));
    eventually("all of them to be gone", || residue::remaining(&held).is_empty().then_some(()));
    println!("{} programs, maps and links, and then none", held.len());
}
