//! The support itself: if namespaces lie, so does each test in them.

use std::io::{Error, ErrorKind};

use tests::{
    Snmp, Target,
    netns::{Refusal, two_namespaces},
    paths, require_admin,
};

#[test]
fn traffic_is_counted_refused_and_gone_with_the_namespaces() {
    require_admin!();
    let (a, b) = two_namespaces();
    let conn = paths::built("target-conn");
    let mut server = Target::start(b.command(&conn));
    let mut client = Target::start(a.command(&conn));
    let netns = |pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(netns(server.pid()), netns(client.pid()));
    assert_ne!(netns(server.pid()), netns(std::process::id()));
    assert_eq!(server.ask("listen 10.77.0.2:80")["id"], 1);

    let mut connect = || client.ask("connect 10.77.0.2:80 500");
    let kind = |answer: serde_json::Value| {
        let errno = answer["errno"].as_i64().unwrap_or_else(|| panic!("{answer}"));
        Error::from_raw_os_error(errno.try_into().unwrap()).kind()
    };
    let before = Snmp::of(&a);
    assert_eq!(connect()["peer"], "10.77.0.2:80");
    assert_eq!(Snmp::of(&a).since(&before).get("Tcp.ActiveOpens"), Some(&1));
    b.refuse(80, Refusal::Reset);
    assert_eq!(kind(connect()), ErrorKind::ConnectionRefused);
    b.accept_all();
    b.refuse(80, Refusal::Drop);
    assert_eq!(connect()["error"], "abandoned");
    b.accept_all();
    b.refuse(80, Refusal::Unreachable);
    assert_eq!(kind(connect()), ErrorKind::HostUnreachable);
    b.accept_all();
    assert_eq!(connect()["peer"], "10.77.0.2:80");

    let path = a.path();
    assert!(path.exists());
    drop((client, server, a, b));
    assert!(!path.exists());
}
