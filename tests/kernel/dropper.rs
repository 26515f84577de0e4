//! The support itself: a link that loses something else than it was told proves nothing.

use tests::{Snmp, Target, lossy::Lossy, netns::ADDRESS_FAR, require_admin, require_bpf};

#[test]
fn a_link_loses_what_it_is_told_and_nothing_else() {
    require_bpf!();
    require_admin!();
    let mut link = Lossy::new();
    let at = format!("{ADDRESS_FAR}:80");
    assert_eq!(link.server.ask(&format!("listen {at}"))["id"], 1);
    assert_eq!(link.client.ask(&format!("connect {at}"))["peer"], at);
    link.server.ask("accept 1");
    let sends = |link: &mut Lossy, n: u64| {
        link.client.ask(&format!("send 1 {n}"));
        assert_eq!(link.server.ask(&format!("recv 2 {n}"))["bytes"], n, "all arrives in the end");
    };
    let retransmits = |link: &Lossy, before: &Snmp| {
        Snmp::of(&link.a).since(before).get("Tcp.RetransSegs").copied().unwrap_or(0)
    };
    let before = Snmp::of(&link.a);
    sends(&mut link, 100_000);
    assert_eq!(link.lose("data 2 3"), (0, 0), "it was told to lose nothing");
    sends(&mut link, 14_480);
    let (seen, dropped) = link.lose("one-in 5");
    assert_eq!(dropped, 2);
    assert!(10 <= seen, "{seen}");
    assert!(2 <= retransmits(&link, &before));
    sends(&mut link, 100_000);
    let (seen, dropped) = link.lose("syn-acks 1");
    assert_eq!(dropped, seen / 5, "of {seen}");
    assert_eq!(link.client.ask(&format!("connect {at}"))["peer"], at);
    assert_eq!(link.lose("everything").1, 1);
    assert_eq!(link.client.ask(&format!("connect {at} 300"))["error"], "abandoned");
    assert_eq!(link.lose("nothing"), (1, 1), "one SYN");
    assert_eq!(link.client.ask(&format!("connect {at}"))["peer"], at);
    assert_eq!(link.lose("figures"), (0, 0));
}

#[test]
fn another_port_is_left_alone() {
    require_bpf!();
    require_admin!();
    let mut link = Lossy::of_port(81);
    for port in [80, 81] {
        link.server.ask(&format!("listen {ADDRESS_FAR}:{port}"));
    }
    link.lose("everything");
    assert!(link.client.ask(&format!("connect {ADDRESS_FAR}:80"))["peer"].is_string());
    assert_eq!(link.client.ask(&format!("connect {ADDRESS_FAR}:81 200"))["error"], "abandoned");
    let mut dropper = Target::start({
        let mut command = link.host.command(tests::paths::built("target-dropper"));
        command.arg("hb");
        command
    });
    assert!(dropper.ask("dance")["error"].is_string());
}
