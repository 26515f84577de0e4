//! What stands still, dump by dump, as real sockets show it.

use serde_json::json;
use tests::{
    Assembled, Observer, Target, eventually,
    netns::{ADDRESS_B, two_namespaces},
    paths::built,
    require_admin, require_bpf,
};

#[test]
fn a_full_accept_queue_is_a_finding_on_the_server_with_the_first_dump() {
    const BACKLOG: u64 = 2;
    require_bpf!();
    require_admin!();
    let (a, b) = two_namespaces();
    let mut client = Target::start(a.command(built("target-conn")));
    let mut server = Target::start(b.command(built("target-conn")));
    let pids = [client.pid(), server.pid()];
    let mut observer = Observer::load();
    let mut assembled = Assembled::new(&pids);
    let at = format!("{ADDRESS_B}:80");
    server.ask(&format!("listen {at} {BACKLOG}"));
    let mut dump = |assembled: &mut Assembled| {
        assembled.take(&mut observer, &pids);
        assembled.findings()
    };
    // As many as it was told, and nothing is wrong.
    for n in 1..=BACKLOG {
        assert_eq!(client.ask(&format!("connect {at} 5000"))["id"], n);
    }
    assert_eq!(dump(&mut assembled), []);
    // The kernel takes one more, and then none.
    assert_eq!(client.ask(&format!("connect {at} 5000"))["id"], BACKLOG + 1);
    assert_eq!(client.ask(&format!("connect {at} 1100"))["error"], "abandoned");
    let found = dump(&mut assembled);
    let full: Vec<_> = found.iter().filter(|it| it.kind.name() == "accept_queue_full").collect();
    let [full] = full[..] else { panic!("{found:?}") };
    println!("after one dump: {} {:?}", full.summary, full.evidence);
    assert_eq!(full.target.as_ref().map(|it| it.tgid.0), Some(server.pid()));
    assert_eq!((full.severity.name(), full.about.as_str(), full.count), ("warning", at.as_str(), 1));
    // It lasts, and is the same.
    let found = dump(&mut assembled);
    let full = found.iter().find(|it| it.kind.name() == "accept_queue_full").unwrap();
    assert_eq!((full.severity.name(), full.count), ("critical", 1));
    // Somebody accepts: it is over, and would be another.
    assert_eq!(server.ask("accept 1 2")["accepted"].as_array().map(Vec::len), Some(2));
    let before = full.last_seen;
    let found = eventually("room in the queue", || {
        let found = dump(&mut assembled);
        let full = found.iter().find(|it| it.kind.name() == "accept_queue_full")?;
        (full.last_seen == before).then(|| full.clone())
    });
    assert_eq!(found.count, 1);
    assert_eq!(client.ask("close 1"), json!({}));
}
