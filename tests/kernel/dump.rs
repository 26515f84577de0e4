//! Dumps of sockets: in parts, and of those only that are not as they were shown before.

use std::collections::BTreeSet;

use agent::kernel::{Dump, DumpPart};
use agent_common::{
    event::sock::{Row, role},
    limits,
};
use serde_json::Value;
use tests::{Observer, Target, eventually, paths::built, require_bpf};

/// Both ends of each are more than fit into the ring, but not twice as many.
const CONNECTIONS: usize = limits::ROWS_BYTES as usize / size_of::<Row>();

#[test]
fn a_dump_of_many_sockets_comes_in_parts_and_shows_each() {
    require_bpf!();
    let mut observer = Observer::load();
    let mut holder = Target::spawn(built("target-conn"), ["hold", &CONNECTIONS.to_string()]);
    holder.address();
    assert_eq!(holder.ask("open")["open"], CONNECTIONS);
    let pid = holder.pid();

    let whole = |observer: &mut Observer, mut dump: Dump| {
        let in_parts = parts(observer, &mut dump, pid);
        assert!(2 <= in_parts.len(), "{} parts", in_parts.len());
        let rows = in_parts.concat();
        let cookies: BTreeSet<_> = rows.iter().map(|row| row.cookie).collect();
        assert_eq!((cookies.len(), rows.len()), (2 * CONNECTIONS + 1, 2 * CONNECTIONS + 1));
        assert_eq!(rows.iter().filter(|row| row.state.role == role::LISTENER).count(), 1);
    };
    // All are news at first.
    let dump = observer.kernel.begin_news().unwrap().unwrap();
    whole(&mut observer, dump);
    assert_eq!(news(&mut observer, pid), [role::LISTENER]);
    // One that is broken off leaves nothing behind for the next.
    let mut broken = observer.kernel.begin_dump().unwrap().unwrap();
    assert_eq!(observer.kernel.dump_part(&mut broken, drop).unwrap(), DumpPart::Middle);
    drop(broken);
    let dump = observer.kernel.begin_dump().unwrap().unwrap();
    whole(&mut observer, dump);
    holder.ask("talk");
    let dump = observer.kernel.begin_news().unwrap().unwrap();
    whole(&mut observer, dump);
}

#[test]
fn news_are_what_was_not_shown_before() {
    require_bpf!();
    let mut observer = Observer::load();
    let (mut conn, at, [client, server]) = with_both_ends();
    let pid = conn.pid();
    assert_eq!(news(&mut observer, pid), [role::CLIENT, role::SERVER, role::LISTENER]);
    assert_eq!(news(&mut observer, pid), [role::LISTENER], "nothing is new");
    conn.ask(&format!("send {server} 1"));
    assert_eq!(news(&mut observer, pid), [role::CLIENT, role::SERVER, role::LISTENER]);
    until_all_is_old(&mut observer, pid);
    // Its reader is known better than its opener.
    conn.ask(&format!("recv {client} 1"));
    assert_eq!(news(&mut observer, pid), [role::CLIENT, role::LISTENER]);

    // A whole dump shows them all, and then they are no news either.
    assert_eq!(observer.rows().iter().filter(|row| row.state.tgid == pid).count(), 3);
    assert_eq!(news(&mut observer, pid), [role::LISTENER]);
    conn.ask(&format!("connect {at}"));
    conn.ask("accept 1");
    assert_eq!(news(&mut observer, pid), [role::CLIENT, role::SERVER, role::LISTENER]);
}

/// Who judges how long something has lasted sees it at each dump.
#[test]
fn sockets_that_are_owed_something_are_shown_again_and_again() {
    require_bpf!();
    let mut observer = Observer::load();
    let (mut conn, _, [client, server]) = with_both_ends();
    let pid = conn.pid();

    // A question that is not answered.
    conn.ask(&format!("send {client} 100"));
    conn.ask(&format!("recv {server} 100"));
    news(&mut observer, pid);
    for _ in 0..3 {
        assert_eq!(news(&mut observer, pid), [role::CLIENT, role::LISTENER]);
    }
    conn.ask(&format!("send {server} 100"));
    conn.ask(&format!("recv {client} 100"));
    until_all_is_old(&mut observer, pid);

    // A window that closes: the rest of what is written is not taken.
    conn.tell(&format!("send {server} 100000000"));
    eventually("a closed window", || {
        let rows = observer.rows();
        let is_closed = |row: &Row| row.state.role == role::SERVER && row.figures.send_window == 0;
        rows.iter().any(|row| row.state.tgid == pid && is_closed(row)).then_some(())
    });
    for _ in 0..3 {
        assert!(news(&mut observer, pid).contains(&role::SERVER));
    }
}

/// A process with a listener, where that is, and the numbers of a connection's client and server.
#[track_caller]
fn with_both_ends() -> (Target, String, [Value; 2]) {
    let mut conn = Target::spawn(built("target-conn"), [""; 0]);
    let at = conn.ask("listen 127.0.0.1:0")["local"].as_str().unwrap().to_owned();
    let client = conn.ask(&format!("connect {at}"))["id"].clone();
    let server = conn.ask("accept 1")["accepted"][0]["id"].clone();
    (conn, at, [client, server])
}

/// What is sent is acknowledged a little later.
#[track_caller]
fn until_all_is_old(observer: &mut Observer, pid: u32) {
    eventually("no news", || (news(observer, pid) == [role::LISTENER]).then_some(()));
}

/// The roles of a process's sockets that are news.
#[track_caller]
fn news(observer: &mut Observer, pid: u32) -> Vec<u8> {
    let mut dump = observer.kernel.begin_news().unwrap().unwrap();
    let mut roles: Vec<_> = parts(observer, &mut dump, pid).concat().iter().map(|it| it.state.role).collect();
    roles.sort_unstable();
    roles
}

/// The rows of a process, as they came.
#[track_caller]
fn parts(observer: &mut Observer, dump: &mut Dump, pid: u32) -> Vec<Vec<Row>> {
    let mut parts = Vec::new();
    loop {
        let mut rows = Vec::new();
        let part = observer.kernel.dump_part(dump, |row| rows.push(row)).unwrap();
        rows.retain(|row| row.state.tgid == pid);
        parts.push(rows);
        if part == DumpPart::Last {
            return parts;
        }
    }
}
