//! Both ends of a connection are one connection, whatever is translated between them.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use agent::{
    assemble::{
        edge::{BothWays, Edge, Peer, Vip},
        services::{Answer, Question},
    },
    kernel::{Conntrack, Ends},
    run,
    vitals::Vital,
};
use agent_common::pure::packet::{TCP, UDP};
use tests::{
    Assembled, Cluster, NetNs, Observer, Target,
    cluster::{BACKEND, BACKEND_PORT, SERVICE, Translation},
    eventually,
    netns::Refusal,
    paths::built,
    pods::{BRIDGE, REMOTE},
    require_admin, require_bpf,
};

/// On each way.
const CONNECTIONS: u64 = 5;
const VIA: Option<Vip> = Some(Vip { ip: std::net::IpAddr::V4(*SERVICE.ip()), backend_port: BACKEND_PORT });

/// Processes in a cluster; the servers listen.
struct Scene {
    cluster: Cluster,
    client: Target,
    on_node: Target,
    server: Target,
    outside: Target,
}

impl Scene {
    #[track_caller]
    fn new(translation: Translation) -> Self {
        let cluster = Cluster::new(translation);
        // Programs of one name are one workload.
        let start = |namespace: &NetNs, name: &str| {
            let mut command = namespace.command(built("target-conn"));
            command.env("OTEL_SERVICE_NAME", name);
            Target::start(command)
        };
        let (client, on_node) = (start(&cluster.client, "client"), start(&cluster.node, "node"));
        let mut servers = [start(&cluster.server, "server"), start(&cluster.outside, "outside")];
        let anywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, BACKEND_PORT);
        servers.iter_mut().for_each(|it| assert_eq!(it.ask(&format!("listen {anywhere}"))["id"], 1));
        let [server, outside] = servers;
        Self { cluster, client, on_node, server, outside }
    }

    fn pids(&self) -> [u32; 4] {
        [&self.client, &self.on_node, &self.server, &self.outside].map(Target::pid)
    }
}

/// Opens connections, each with some bytes.
#[track_caller]
fn connect(client: &mut Target, server: &mut Target, to: SocketAddrV4, bytes: u64) {
    for _ in 0..CONNECTIONS {
        let connected = client.ask(&format!("connect {to}"));
        let id = connected["id"].as_u64().unwrap_or_else(|| panic!("{to}: {connected}"));
        let accepted = server.ask("accept 1")["accepted"][0]["id"].as_u64().unwrap();
        client.ask(&format!("send {id} {bytes}"));
        assert_eq!(server.ask(&format!("recv {accepted} {bytes}"))["bytes"], bytes);
    }
}

#[test]
fn connections_through_translated_addresses_are_joined_by_their_sequence_numbers() {
    require_bpf!();
    require_admin!();
    let mut observer = Observer::load();
    let mut scene = Scene::new(Translation::Tracked);
    let outside = SocketAddrV4::new(REMOTE, BACKEND_PORT);
    connect(&mut scene.client, &mut scene.server, BACKEND, 1001);
    connect(&mut scene.client, &mut scene.server, SERVICE, 1002);
    connect(&mut scene.client, &mut scene.outside, outside, 1003);
    connect(&mut scene.on_node, &mut scene.server, SERVICE, 1004);

    let pids = scene.pids();
    let [client, on_node, server, remote] = pids;
    let mut assembled = Assembled::new(&pids);
    assembled.take(&mut observer, &pids);
    let edges = [assembled.edges(BACKEND_PORT), assembled.edges(SERVICE.port())].concat();
    let joined = [
        (client, server, BACKEND_PORT, None, 1001),
        (client, server, SERVICE.port(), VIA, 1002),
        (client, remote, BACKEND_PORT, None, 1003),
        (on_node, server, SERVICE.port(), VIA, 1004),
    ]
    .map(|want| edges.iter().find(|it| is(it, &want)).map_or(0, |it| it.connections.opened));
    println!("joined {joined:?} of {CONNECTIONS} each: pod, service, outside, service from the node");
    assert_eq!((joined, edges.len()), ([CONNECTIONS; 4], 4), "{edges:#?}");
    let counts = [Vital::NatBySequence, Vital::NatByConntrack, Vital::NatUnresolved];
    assert_eq!(counts.map(|it| assembled.vital(it)), [3 * CONNECTIONS, 0, 0]);
}

#[test]
fn connections_that_nobody_tracks_are_joined_as_well() {
    require_bpf!();
    require_admin!();
    let mut observer = Observer::load();
    let mut scene = Scene::new(Translation::Untracked);
    connect(&mut scene.client, &mut scene.server, SERVICE, 1001);
    for namespace in [&scene.cluster.client, &scene.cluster.node, &scene.cluster.server] {
        let tracked = namespace.exec("cat", ["/proc/sys/net/netfilter/nf_conntrack_count"]);
        assert_eq!(tracked, "0\n", "{namespace:?}");
    }

    let pids = scene.pids();
    let mut assembled = Assembled::new(&pids);
    assembled.take(&mut observer, &pids);
    let edges = assembled.edges(SERVICE.port());
    let [edge] = &edges[..] else { panic!("{edges:?}") };
    assert!(is(edge, &(scene.client.pid(), scene.server.pid(), SERVICE.port(), VIA, 1001)), "{edge:#?}");
    assert_eq!(edge.connections.opened, CONNECTIONS);
    assert_eq!(assembled.vital(Vital::NatBySequence), CONNECTIONS);
    println!("joined {} of {CONNECTIONS}", edge.connections.opened);

    // Of these connection tracking knows nothing, and says so.
    let mut assembled = unobserved(&mut observer, &scene);
    let mut conntrack = conntrack(&scene.cluster);
    assert_eq!(assembled.answers(|it| answer(&mut conntrack, it)), 5);
    unresolved(&mut assembled);
}

#[test]
fn a_server_that_is_not_seen_is_named_by_connection_tracking() {
    require_bpf!();
    require_admin!();
    let mut observer = Observer::load();
    let mut scene = Scene::new(Translation::Tracked);
    connect(&mut scene.client, &mut scene.server, SERVICE, 1001);
    let mut conntrack = conntrack(&scene.cluster);
    let mut assembled = unobserved(&mut observer, &scene);
    let begin = agent::clock::now();
    let mut spent = Duration::ZERO;
    let asked = assembled.answers(|it| {
        let begin = agent::clock::now();
        let answer = answer(&mut conntrack, it);
        spent += agent::clock::now().since(begin);
        // Masqueraded, because both pods are on one bridge.
        let client = SocketAddr::from((BRIDGE, it.client.port()));
        assert_eq!(answer, Answer::Other { server: SocketAddr::V4(BACKEND), client });
        answer
    });
    println!("{asked} questions, {spent:?} of {:?}", agent::clock::now().since(begin));
    let edges = assembled.edges(SERVICE.port());
    let [edge] = &edges[..] else { panic!("{edges:?}") };
    assert_eq!((&edge.server, edge.vip), (&address(*BACKEND.ip()), VIA));
    assert_eq!(edge.connections.opened, CONNECTIONS);
    assembled.later(Duration::from_secs(9));
    let counts = [Vital::NatBySequence, Vital::NatByConntrack, Vital::NatUnresolved];
    assert_eq!(counts.map(|it| assembled.vital(it)), [0, CONNECTIONS, 0]);

    // As without connection tracking: the service itself is the other end.
    let mut assembled = unobserved(&mut observer, &scene);
    assert_eq!(assembled.answers(|_| Answer::Unknown), 5);
    unresolved(&mut assembled);
}

#[test]
fn connection_tracking_tells_what_it_does_not_know() {
    require_admin!();
    let mut scene = Scene::new(Translation::Tracked);
    let mut conntrack = conntrack(&scene.cluster);
    let nobody = SocketAddr::from((REMOTE, 1));
    let ends = |client, server| Ends { client, server };
    assert_eq!(conntrack.at_server(TCP, &ends(nobody, nobody)).unwrap(), None);
    connect(&mut scene.on_node, &mut scene.outside, SocketAddrV4::new(REMOTE, BACKEND_PORT), 1);
    let client = scene.on_node.ask(&format!("connect {REMOTE}:{BACKEND_PORT}"))["local"].clone();
    let client: SocketAddr = client.as_str().unwrap().parse().unwrap();
    let server = SocketAddr::from((REMOTE, BACKEND_PORT));
    let itself = ends(client, server);
    assert_eq!(conntrack.at_server(TCP, &itself).unwrap(), Some(itself), "its own address");
    assert_eq!(conntrack.at_server(TCP, &ends(server, client)).unwrap(), None, "the server is no client");
    assert_eq!(conntrack.at_server(UDP, &itself).unwrap(), None, "another protocol");
}

/// A SYN that is not answered, and one that is refused: of the latter connection tracking knows nothing any more.
#[test]
fn a_connect_to_a_service_that_fails_is_at_its_server() {
    require_bpf!();
    require_admin!();
    let mut observer = Observer::load();
    let mut scene = Scene::new(Translation::Tracked);
    let mut conntrack = conntrack(&scene.cluster);
    let pids = [scene.client.pid(), scene.server.pid()];
    let mut assembled = Assembled::new(&pids);
    assembled.servers_are_known();
    let mut fails = |scene: &mut Scene, assembled: &mut Assembled, refusal, what| {
        scene.cluster.server.refuse(BACKEND_PORT, refusal);
        let failed = scene.client.ask(&format!("connect {SERVICE} 300"));
        assert!(failed["error"].is_string(), "{failed}");
        scene.cluster.server.accept_all();
        let mut asked = 0;
        let edge = eventually(what, || {
            assembled.take(&mut observer, &pids);
            asked += assembled.answers(|it| answer(&mut conntrack, it));
            let edges = assembled.edges(SERVICE.port());
            edges.into_iter().find(|it| match refusal {
                Refusal::Reset => it.connections.refused == 1,
                _ => it.connections.abandoned == 1,
            })
        });
        (asked, edge)
    };
    let (asked, edge) = fails(&mut scene, &mut assembled, Refusal::Drop, "a SYN without an answer");
    assert_eq!((asked, &edge.server, edge.vip), (1, &address(*BACKEND.ip()), VIA), "{edge:#?}");
    // Now there is one that serves.
    connect(&mut scene.client, &mut scene.server, SERVICE, 1001);
    let (_, edge) = fails(&mut scene, &mut assembled, Refusal::Reset, "a SYN that is refused");
    assert!(is(&edge, &(pids[0], pids[1], SERVICE.port(), VIA, 1001)), "{edge:#?}");
}

/// Of these there are no sequence numbers; each half has its own addresses.
#[test]
fn a_connection_older_than_the_agent_is_joined_by_connection_tracking() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new(Translation::Tracked);
    let id = scene.client.ask(&format!("connect {SERVICE}"))["id"].as_u64().unwrap();
    let accepted = scene.server.ask("accept 1")["accepted"][0]["id"].as_u64().unwrap();
    let mut observer = Observer::load();
    observer.kernel.seed().unwrap();
    let mut conntrack = conntrack(&scene.cluster);
    let pids = [scene.client.pid(), scene.server.pid()];
    let mut assembled = Assembled::new(&pids);
    assembled.servers_are_known();
    assembled.take(&mut observer, &pids);
    // Each half is an edge of its own.
    let alone = [assembled.edges(SERVICE.port()).len(), assembled.edges(BACKEND_PORT).len()];
    assert_eq!(alone, [1, 1]);
    assert_eq!(assembled.answers(|it| answer(&mut conntrack, it)), 1);
    scene.client.ask(&format!("send {id} 1001"));
    assert_eq!(scene.server.ask(&format!("recv {accepted} 1001"))["bytes"], 1001);
    assembled.take(&mut observer, &pids);
    let edges = [assembled.edges(SERVICE.port()), assembled.edges(BACKEND_PORT)].concat();
    let [edge] = &edges[..] else { panic!("{edges:#?}") };
    let bytes = BothWays { to_server: 1001, to_client: 0 };
    assert_eq!((edge.bytes, edge.vip, edge.connections.active), (bytes, VIA, 1), "{edge:#?}");
    for (peer, pid) in [(&edge.client, pids[0]), (&edge.server, pids[1])] {
        assert!(matches!(peer, Peer::Process(it) if it.tgid.0 == pid), "{edge:#?}");
    }
    assert_eq!(assembled.vital(Vital::NatByConntrack), 1);
}

/// What is assembled of the client's ends only.
#[track_caller]
fn unobserved(observer: &mut Observer, scene: &Scene) -> Assembled {
    let mut assembled = Assembled::new(&[scene.client.pid()]);
    assembled.servers_are_known();
    assembled.take(observer, &[scene.client.pid()]);
    assembled
}

#[track_caller]
fn unresolved(assembled: &mut Assembled) {
    assembled.later(Duration::from_secs(9));
    let edges = assembled.edges(SERVICE.port());
    let [edge] = &edges[..] else { panic!("{edges:?}") };
    assert_eq!((&edge.server, edge.vip), (&address(*SERVICE.ip()), None));
    assert_eq!(edge.connections.opened, CONNECTIONS);
    assert_eq!(assembled.vital(Vital::NatUnresolved), CONNECTIONS);
}

fn conntrack(cluster: &Cluster) -> Conntrack {
    cluster.node.inside(|| Conntrack::open().unwrap_or_else(|error| panic!("{error:?}")))
}

fn answer(conntrack: &mut Conntrack, question: &Question) -> Answer {
    run::answer(conntrack, question).unwrap_or_else(|error| panic!("{error:?}"))
}

fn address(ip: Ipv4Addr) -> Peer {
    Peer::Address { ip: ip.into(), name: None }
}

/// Client, server, port, service, and bytes of each connection.
fn is(edge: &Edge, (client, server, port, service, bytes): &(u32, u32, u16, Option<Vip>, u64)) -> bool {
    let pid = |peer: &Peer| match peer {
        Peer::Process(process) => process.tgid.0,
        Peer::Address { .. } => 0,
    };
    let to_server = bytes * CONNECTIONS;
    (pid(&edge.client), pid(&edge.server), edge.server_port) == (*client, *server, *port)
        && edge.vip == *service
        && edge.bytes == BothWays { to_server, to_client: 0 }
}
