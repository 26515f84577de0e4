//! UDP, as the binary shows it from inside of a node.

use std::{net::SocketAddr, time::Duration};

use tests::{
    Agent, Pods, Target, eventually,
    paths::built,
    pods::{CARD, POD_A, POD_B},
    require_admin, require_bpf, residue,
};

use crate::schema::assert_valid;

#[test]
fn udp_between_pods_is_an_edge_with_its_processes() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    let agent = Agent::start_in(&pods.node, ["--interface", CARD, "--no-http-spans"]);
    eventually("programs on all interfaces", || {
        (agent.log().matches("Packets are looked at").count() == 4).then_some(())
    });
    let conn = built("target-conn");
    let mut server = Target::start(pods.b.command(&conn));
    let mut client = Target::start(pods.a.command(&conn));
    let at = SocketAddr::from((POD_B, 5353));
    server.ask(&format!("udp 0.0.0.0:{}", at.port()));
    client.ask(&format!("udp {POD_A}:0"));
    client.ask(&format!("send_to 1 {at} 10 100"));
    let from = server.ask("recv_from 1 10")["from"].as_str().unwrap().to_owned();
    server.ask(&format!("send_to 1 {from} 1 1400"));
    client.ask("recv_from 1 1");

    let edge = eventually("the edge, both ways", || {
        let edges = agent.items(["topology"]);
        let edge = edges.into_iter().find(|it| it["server"]["port"] == at.port())?;
        (edge["bytes"]["to_client"] == 1400).then_some(edge)
    });
    println!("{edge}");
    assert_eq!((&edge["transport"], &edge["bytes"]["to_server"]), (&"udp".into(), &1000.into()));
    assert_eq!(
        (&edge["client"]["pid"], &edge["server"]["pid"]),
        (&client.pid().into(), &server.pid().into())
    );
    assert_eq!(edge["packets"]["to_server"], 10);
    assert_valid("topology", &agent.ask(["topology"]));
    let table = String::from_utf8(agent.run(["topology"]).stdout).unwrap();
    assert!(table.lines().any(|it| it.contains("udp") && it.contains(":5353")), "{table}");
    assert_eq!(agent.status().lost("udp_bytes_unread"), 0);

    // What comes later is looked at as well.
    let other = tests::NetNs::new();
    pods.pod(&other, "vhc", [10, 88, 0, 4].into());
    eventually("a program on the new one", || agent.log().contains("interface=\"vhc\"").then_some(()));
    let held = residue::held_by(agent.pid());
    let ended = agent.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    eventually("an empty kernel", || residue::remaining(&held).is_empty().then_some(()));
    println!("it held {} objects, and ended after {:?}", held.len(), ended.took);
}
