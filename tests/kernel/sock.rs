//! Who owns a connection, and on which side it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use agent::{
    assemble::edge::{Confidence, Peer},
    kernel::{Forms, Options},
};
use agent_common::event::{
    Event,
    sock::{Closed, State, flag, owner, role},
};
use tests::{
    Assembled, CGroup, Observer, Target, netns::two_namespaces, observer, paths::built, require_admin,
    require_bpf, skip,
};

#[test]
fn each_end_of_a_short_connection_has_its_own_process() {
    require_bpf!();
    let older = Forms { received: false, ..Forms::of_this_kernel() };
    for forms in [None, Some(older)] {
        short_connections(&mut Observer::with(Options { forms, ..Options::default() }));
    }
}

#[track_caller]
fn short_connections(observer: &mut Observer) {
    const CONNECTIONS: usize = 200;
    let server = Target::spawn(built("prefork"), ["-w", "4", "-l", "127.0.0.1:0"]);
    let at = server.address();
    let mut client = Target::spawn(built("target-conn"), [""; 0]);
    assert_eq!(client.ask(&format!("short {CONNECTIONS} {at}"))["done"], CONNECTIONS);

    let workers: BTreeMap<SocketAddr, u32> = (0..CONNECTIONS)
        .map(|_| {
            let line = server.json();
            let (peer, pid) = (line["peer"].as_str().unwrap(), line["pid"].as_u64().unwrap());
            (peer.parse().unwrap(), pid.try_into().unwrap())
        })
        .collect();
    assert!(1 < workers.values().collect::<BTreeSet<_>>().len(), "one worker proves little");
    let closed = observer.closed(2 * CONNECTIONS, at.port());
    let mut seen = BTreeMap::new();
    for Closed { row, .. } in &closed {
        let state = &row.state;
        let (local, remote) = (
            observer::address(state.local, state.local_port),
            observer::address(state.remote, state.remote_port),
        );
        if state.role == role::CLIENT {
            assert_eq!((remote, state.tgid), (at, client.pid()));
        } else {
            assert_eq!((state.role, local, state.owner), (role::SERVER, at, owner::READER));
            seen.insert(remote, state.tgid);
        }
        assert_eq!((row.figures.sent_bytes, row.figures.received_bytes), (100, 100));
        assert_eq!(state.close_error, 0);
    }
    assert_eq!(seen, workers);
    println!("{CONNECTIONS} connections, median life {} us", median_life_us(&closed));
}

fn median_life_us(closed: &[Closed]) -> u64 {
    let life = |it: &Closed| it.header.ktime_ns.saturating_sub(it.row.state.opened_ktime_ns) / 1000;
    let mut lives: Vec<u64> = closed.iter().map(life).collect();
    lives.sort_unstable();
    lives[lives.len() / 2]
}

#[test]
fn what_is_older_than_the_agent_has_an_owner_after_the_first_dump() {
    require_bpf!();
    let mut server = Target::spawn(built("target-conn"), [""; 0]);
    let mut client = Target::spawn(built("target-conn"), [""; 0]);
    let listening = server.ask("listen 127.0.0.1:0");
    let at: SocketAddr = listening["local"].as_str().unwrap().parse().unwrap();
    let connected = client.ask(&format!("connect {at}"));
    let here: SocketAddr = connected["local"].as_str().unwrap().parse().unwrap();
    server.ask("accept 1");
    client.ask("send 1 1000");
    server.ask("recv 2 1000");

    let pids = [client.pid(), server.pid()];
    let mut observer = Observer::load();
    observer.kernel.seed().unwrap();
    let rows = observer.rows();
    let owner_of = |local: SocketAddr, remote_port: u16| {
        let is = |state: &&State| {
            observer::address(state.local, state.local_port) == local && state.remote_port == remote_port
        };
        let found: Vec<_> = rows.iter().map(|row| &row.state).filter(is).collect();
        let [state] = found[..] else { panic!("{local}: {found:?}") };
        assert_eq!((state.owner, state.flags), (owner::HOLDER, flag::SEEDED));
        (state.tgid, state.role)
    };
    assert_eq!(owner_of(at, 0), (server.pid(), role::LISTENER));
    assert_eq!(owner_of(here, at.port()), (client.pid(), role::UNKNOWN));
    assert_eq!(owner_of(at, here.port()), (server.pid(), role::UNKNOWN));

    let mut assembled = Assembled::new(&pids);
    assembled.take(&mut observer, &pids);
    client.ask("send 1 500");
    server.ask("recv 2 500");
    assembled.take(&mut observer, &pids);
    let edges = assembled.edges(at.port());
    let [edge] = &edges[..] else { panic!("{edges:?}") };
    let (Peer::Process(from), Peer::Process(to)) = (&edge.client, &edge.server) else { panic!("{edge:?}") };
    assert_eq!([from.tgid.0, to.tgid.0], pids);
    assert_eq!(edge.confidence, Confidence::Listener);
    assert_eq!((edge.connections.active, edge.connections.opened), (1, 0));
    assert_eq!((edge.bytes.to_server, edge.bytes.to_client), (500, 0));
    println!("{} rows in the first dump", rows.len());
}

/// Its listener is older than the agent and has no entry that it could inherit.
#[test]
fn a_connection_made_before_the_seed_has_an_owner() {
    require_bpf!();
    let mut server = Target::spawn(built("target-conn"), [""; 0]);
    let mut client = Target::spawn(built("target-conn"), [""; 0]);
    let listening = server.ask("listen 127.0.0.1:0");
    let at: SocketAddr = listening["local"].as_str().unwrap().parse().unwrap();
    let mut observer = Observer::load();
    client.ask(&format!("connect {at}"));
    server.ask("accept 1");
    observer.kernel.seed().unwrap();

    let mut ends = observer.rows();
    ends.retain(|row| [row.state.local_port, row.state.remote_port].contains(&at.port()));
    let mut owners: Vec<_> = ends.iter().map(|row| (row.state.role, row.state.tgid)).collect();
    owners.sort_unstable();
    let want = [(role::CLIENT, client.pid()), (role::SERVER, server.pid()), (role::LISTENER, server.pid())];
    assert_eq!(owners, want);
}

#[test]
fn namespaces_and_cgroups_are_known_from_outside() {
    require_bpf!();
    require_admin!();
    let (Some(group_a), Some(group_b)) = (CGroup::new("a"), CGroup::new("b")) else {
        return skip("needs a cgroup v2 hierarchy that it may write to");
    };
    let (a, b) = two_namespaces();
    let conn = built("target-conn");
    let mut server = Target::start(b.command(&conn));
    let mut client = Target::start(a.command(&conn));
    group_b.add(server.pid());
    group_a.add(client.pid());
    let mut observer = Observer::load();
    server.ask("listen 10.77.0.2:8080");
    client.ask("connect 10.77.0.2:8080");
    server.ask("accept 1");
    client.ask("close 1");
    server.ask("recv 2 1");
    server.ask("close 2");

    // Others on this machine may use the port, too.
    let pids = [client.pid(), server.pid()];
    let ends = observer.wait_for(2, "ends of sockets", |event| match event {
        Event::Closed(it) if pids.contains(&it.row.state.tgid) => Some(it.row.state),
        _ => None,
    });
    let place = |role_wanted| {
        let it = ends.iter().find(|it| it.role == role_wanted);
        let it = it.unwrap_or_else(|| panic!("no end with role {role_wanted} in {ends:?}"));
        (u64::from(it.netns), it.cgroup_id, it.tgid)
    };
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    assert_eq!(place(role::CLIENT), (inode(a.path()), group_a.id(), client.pid()));
    assert_eq!(place(role::SERVER), (inode(b.path()), group_b.id(), server.pid()));
    drop((client, server));
}
