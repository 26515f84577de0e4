//! How often the programs run for those whom they watch; what a run takes, `cargo xtask bench` measures.

use agent::kernel::RunCount;
use aya::sys::{Stats, enable_stats};
use tests::{Observer, Target, paths::built, require_bpf};

const CONNECTIONS: u32 = 1000;
/// Both ends: ten changes of state, and what is told of each end once or twice.
const MOST_HITS: &[(&str, f64)] =
    &[("sock_state", 10.0), ("sock_received", 4.0), ("sock_closed", 2.0), ("tcp_ca", 1.0)];
/// What else the machine does meanwhile, for a connection.
const OTHERS: f64 = 0.5;

#[test]
fn a_connection_runs_no_program_more_often_than_it_must() {
    require_bpf!();
    let _counting = enable_stats(Stats::RunTime).unwrap();
    let server = Target::spawn(built("prefork"), ["-w", "2", "-l", "127.0.0.1:0"]);
    let mut client = Target::spawn(built("target-conn"), [""; 0]);
    let observer = Observer::load();
    let before = observer.kernel.run_counts();
    let answer = client.ask(&format!("short {CONNECTIONS} {}", server.address()));
    assert_eq!(answer["done"], CONNECTIONS);
    for (program, hits) in since(&observer.kernel.run_counts(), &before) {
        println!("{program}: {hits:.2} hits for a connection");
        let most = MOST_HITS.iter().find(|(it, _)| *it == program).map_or(0.0, |(_, most)| *most);
        assert!(hits <= most + OTHERS, "{program}: {hits:.2} hits for a connection, {most} at most");
    }
}

/// The kernel says of each tracing program how often it was left out.
#[test]
fn hits_that_were_left_out_are_told() {
    require_bpf!();
    let observer = Observer::load();
    let tells = |info: &str| info.contains("prog_id:") && info.contains("\nrecursion_misses:\t");
    let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    let infos = infos.filter_map(|it| std::fs::read_to_string(it.unwrap().path()).ok());
    assert_ne!(infos.filter(|it| tells(it)).count(), 0);
    println!("{} hits were left out", observer.kernel.skipped());
}

/// For a connection: program, hits.
fn since(after: &[RunCount], before: &[RunCount]) -> Vec<(String, f64)> {
    let both = after.iter().zip(before).filter(|(after, before)| before.hits < after.hits);
    both.map(|(after, before)| {
        (after.program.clone(), (after.hits - before.hits) as f64 / f64::from(CONNECTIONS))
    })
    .collect()
}
