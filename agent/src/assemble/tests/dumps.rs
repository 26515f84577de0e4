//! What dumps say of those that they do not show.

use super::*;

/// A dump shows all sockets, and comes to its end, or says nothing of those that it does not show.
#[test]
fn only_whole_dumps_show_that_an_end_is_gone() {
    let story = "0 open 1 client a:40000 x:443 10/20";
    for (what_then, n_vanished) in [
        ("1 news; 2 news; 3 news; 4 news; 5 tick", 0),
        ("1 broken; 2 broken; 3 broken; 4 broken; 5 tick", 0),
        ("1 dump; 2 dump; 3 broken; 4 tick", 0),
        ("1 dump; 2 broken; 3 dump; 4 news; 5 dump; 6 tick", 1),
    ] {
        let active = 1 - n_vanished;
        let vitals = check(
            &format!("{story}; {what_then}"),
            &format!("p1 -> 10.9.0.120:443 opened 1 active {active} bytes 10/20 exact"),
        );
        assert_eq!(vitals.get(Vital::SocketsVanished), n_vanished, "{what_then}");
    }
}

#[test]
fn a_listener_is_believed_until_a_dump_has_ended_without_it() {
    let worker = "closed 99 server b:80 x:5000 7/9";
    check(
        &format!("0 listen 2 b:80; 1 broken; 1 {worker}"),
        "10.9.0.120 -> p2:80 opened 1 active 0 bytes 9/7 exact",
    );
    check(
        &format!("0 listen 2 b:80; 1 news; 1 {worker}"),
        "10.9.0.120 -> 10.9.0.98:80 opened 1 active 0 bytes 9/7 exact",
    );
}
