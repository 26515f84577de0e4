//! What the programs cost those whom they watch, by the kernel's own count.

use agent::kernel::RunTime;
use aya::sys::{Stats, enable_stats};
use tests::{Observer, Target, paths::built, require_bpf};

/// Both ends, over all programs.
const MOST_NS: f64 = 4000.0;
const CONNECTIONS: u32 = 1000;
const ROUNDS: u32 = 10;

#[test]
fn a_connection_costs_at_most_four_microseconds() {
    require_bpf!();
    let _counting = enable_stats(Stats::RunTime).unwrap();
    let server = Target::spawn(built("prefork"), ["-w", "2", "-l", "127.0.0.1:0"]);
    let connect = format!("short {CONNECTIONS} {}", server.address());
    let mut client = Target::spawn(built("target-conn"), [""; 0]);
    let observer = Observer::load();
    // What else runs on the machine makes a round dearer, never cheaper.
    let rounds = (0..ROUNDS).map(|_| {
        let before = observer.kernel.run_times();
        assert_eq!(client.ask(&connect)["done"], CONNECTIONS);
        let spent = since(&observer.kernel.run_times(), &before);
        (spent.iter().map(|(_, _, ns)| ns).sum::<f64>(), spent)
    });
    let (each, programs) = rounds.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    for (program, hits, ns) in programs {
        println!("{program}: {hits:.1} hits of {:.0} ns", ns / hits);
    }
    println!("{each:.0} ns for a connection, both ends");
    assert!(each <= MOST_NS, "{each} ns");
}

/// For a connection: program, hits, nanoseconds.
fn since(after: &[RunTime], before: &[RunTime]) -> Vec<(String, f64, f64)> {
    let both = after.iter().zip(before);
    both.filter(|(after, before)| before.hits < after.hits)
        .map(|(after, before)| {
            let hits = (after.hits - before.hits) as f64 / f64::from(CONNECTIONS);
            let ns = (after.spent - before.spent).as_nanos() as f64 / f64::from(CONNECTIONS);
            (after.program.clone(), hits, ns)
        })
        .collect()
}
