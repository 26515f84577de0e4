use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{self, Command, Stdio},
};

use agent::{
    kernel::{Forms, Options},
    targets::golang::GoBinary,
};
use tests::{Observer, Target, eventually, paths::built, require_admin, require_bpf, residue};

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

/// For the next test's child: the process whose probes it is to hold.
const HOLD: &str = "TASKSCOPE_TESTS_HOLD";

/// As above, but nobody is left to drop anything, and uprobes hang on perf events.
#[test]
fn a_killed_process_leaves_nothing_in_the_forms_of_older_kernels() {
    require_bpf!();
    require_admin!();
    if let Ok(pid) = env::var(HOLD) {
        let forms = Forms { uprobe_multi: false, xdp_frags: false, tcx: true, received: false };
        let mut observer = Observer::with(Options { forms: Some(forms), ..Options::default() });
        let (_file, _plan) = observer.attach(pid.parse().unwrap());
        println!("holding");
        // Until it is killed.
        drop(std::io::stdin().read_line(&mut String::new()));
        return;
    }
    let server = Target::spawn(built("http"), ["server", "-listen", "127.0.0.1:0"]);
    let name = "residue::a_killed_process_leaves_nothing_in_the_forms_of_older_kernels";
    let mut child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(HOLD, server.pid().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|it| it.ends_with("holding")), "the child did not get that far");
    let held = residue::held_by(child.id());
    let links = held.iter().filter(|it| it.kind == "link").count();
    let points = GoBinary::open(&built("http")).unwrap().points.len();
    assert!(points < links, "{points} points, {links} links");
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("an empty kernel", || residue::remaining(&held).is_empty().then_some(()));
    println!("{} objects, and then none", held.len());
}
