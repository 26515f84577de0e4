//! Stories of connections that ended, and what is remembered of them.

use super::*;

#[test]
fn what_ended_is_remembered_on_its_edge() {
    check_recent(
        "1 open 1 client a:40000 b:80 10/20; 2 closed 1 client a:40000 b:80 30/40+5/5/3; \
         2 closed 2 server b:80 a:40000 40/30+5/5/1",
        "p1 -> p2: 1 10.9.0.97:40000 2 10.9.0.98:80 began 0.5 ended 2 bytes 30/40 retransmits 4 closed",
    );
    // Of whoever is outside there is an address and no process.
    check_recent(
        "1 closed 2 server b:80 x:5000 20/10; 9 tick",
        "10.9.0.120 -> p2: 0 10.9.0.120:5000 2 10.9.0.98:80 began 0.5 ended 1 bytes 10/20 retransmits 0 closed",
    );
    check_recent("1 open 1 client a:40000 x:443 10/20", "");
    for (how, want) in [("rst-in", "reset"), ("rst-out", "reset"), ("error=110/3/0/0", "unacknowledged")] {
        check_recent(
            &format!("1 closed 1 client a:40000 b:80 10/20 {how}; 1 closed 2 server b:80 a:40000 20/10"),
            &format!(
                "p1 -> p2: 1 10.9.0.97:40000 2 10.9.0.98:80 began 0.5 ended 1 bytes 10/20 retransmits 0 {want}"
            ),
        );
    }
    check_recent(
        "3 failed 1 a:40000 x:80 111; 4 failed 1 a:40001 x:80 0",
        "p1 -> 10.9.0.120: 1 10.9.0.97:40000 0 10.9.0.120:80 began ? ended 3 bytes 0/0 retransmits 0 refused; \
         p1 -> 10.9.0.120: 1 10.9.0.97:40001 0 10.9.0.120:80 began ? ended 4 bytes 0/0 retransmits 0 abandoned",
    );
}

/// Its end was not seen, or its beginning.
#[test]
fn what_was_not_seen_of_an_ended_connection_is_not_guessed() {
    check_recent(
        "0 open 1 client a:40000 x:443 10/20; 1 dump; 2 dump; 3 dump; 4 tick; 9 tick",
        "p1 -> 10.9.0.120: 1 10.9.0.97:40000 0 10.9.0.120:443 began 0.5 ended 9 bytes 10/20 retransmits 0 vanished",
    );
    check_recent(
        "0 old 1 a:40000 x:443 7/9; 2 ended 1 a:40000 x:443 7/9; 9 tick",
        "p1 -> 10.9.0.120: 1 10.9.0.97:40000 0 10.9.0.120:443 began ? ended 2 bytes 7/9 retransmits 0 closed",
    );
}

/// The pod's address is learned late: the connection is remembered where it was counted.
#[test]
fn an_ended_connection_is_remembered_once_and_where_it_belongs() {
    check_recent(
        "0 closed 1 client a:40000 x:80 10/20; 1 closed 2 server x:80>b:80 a:40000 20/10; 9 tick",
        "p1 -> p2: 1 10.9.0.97:40000 2 10.9.0.98:80 began 0.5 ended 1 bytes 10/20 retransmits 0 closed",
    );
}

/// What the client used is the edge's, not the connection's.
#[test]
fn an_ended_connection_is_remembered_with_the_server_that_was_named() {
    check_recent(
        "0 known; 1 closed 1 client a:40000 x:80 10/20; 1 answer a:40000 x:80 y:7100; 9 tick",
        "p1 -> 10.9.0.121: 1 10.9.0.97:40000 0 10.9.0.121:7100 began 0.5 ended 1 bytes 10/20 retransmits 0 closed",
    );
}

#[track_caller]
fn check_recent(story: &str, want: &str) {
    let (state, _) = told(story);
    let mut lines = Vec::new();
    for edge in &*state.edges() {
        for it in edge.recent.iter().flat_map(|recents| recents.iter()) {
            let seconds = |it: Ktime| it.0 as f64 / 1e9;
            lines.push(format!(
                "{} -> {}: {} {}:{} {} {}:{} began {} ended {} bytes {}/{} retransmits {} {}",
                peer(&edge.client),
                peer(&edge.server),
                it.client_tgid.0,
                it.client.0,
                it.client.1,
                it.server_tgid.0,
                it.server.0,
                it.server.1,
                it.began.map_or("?".to_owned(), |it| seconds(it).to_string()),
                seconds(it.ended),
                it.bytes.to_server,
                it.bytes.to_client,
                it.retransmits,
                it.outcome.name(),
            ));
        }
    }
    assert_eq!(lines.join("; "), want, "\n{story}");
}
