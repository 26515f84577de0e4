//! Segments that get lost: each class of retransmit is as many as the kernel's own counter of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use agent::{
    assemble::{edge::Edge, faults::Faults},
    clock,
    detect::finding::FindingKind,
};
use agent_common::event::{
    Event,
    fault::{Retransmit, RtoEnded},
    sock::{Row, class, flag, role},
};
use tests::{
    Assembled, Observer, Snmp, eventually, lossy::Lossy, netns::ADDRESS_FAR, require_admin, require_bpf,
};

/// Payload of a segment: of 1500 bytes, 40 are headers and 12 time stamps.
const MSS: u64 = 1448;

struct Scene {
    link: Lossy,
    observer: Observer,
    assembled: Assembled,
    /// Connections so far; sockets of the client have these numbers, those of the server one more.
    made: u64,
}

/// What a loss must lead to. `None`: as many as the kernel says.
#[derive(Default)]
struct Want {
    syn: Option<u32>,
    fast: Option<u32>,
    rto: Option<u32>,
    slow_start: Option<u32>,
    tlp: Option<u32>,
}

#[test]
fn each_class_of_retransmit_equals_its_counter_of_the_kernel() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let some = Some;
    scene.check("one of a burst", Want { fast: some(1), ..Want::default() }, |it| {
        it.transfer("data 3 3", 40 * MSS);
    });
    scene.check("the last", Want { tlp: some(1), fast: some(0), rto: some(0), ..Want::default() }, |it| {
        it.transfer("data 10 10", 10 * MSS);
    });
    let want = Want { tlp: some(1), rto: some(1), fast: some(0), ..Want::default() };
    scene.check("the last and its probe", want, |it| it.transfer("data 10 11", 10 * MSS));
    scene.check("a black hole for a while", Want { fast: some(0), ..Want::default() }, |it| {
        it.black_hole(3, 2 * MSS);
    });
    scene.check("one in fifty of 4000", Want::default(), |it| it.transfer("one-in 50", 4000 * MSS));
    scene.check("the answer to a SYN", Want::default(), |it| {
        it.link.lose("syn-acks 1");
        it.connect();
    });
    // A packet of many segments is sent again as one, and counts as many.
    let mut offloaded = Scene::of(Lossy::offloaded());
    offloaded.check("a black hole, with offload", Want::default(), |it| {
        it.black_hole(2, 40 * MSS);
    });
    // Every class was there, or equality proves little.
    let all = scene.edge().faults.retransmits;
    assert!([all.syn, all.fast, all.rto, all.slow_start, all.tlp].iter().all(|it| *it != 0), "{all:?}");
    assert_eq!(all.other, 0, "{all:?}");
}

impl Scene {
    fn new() -> Self {
        Self::of(Lossy::new())
    }

    fn of(mut link: Lossy) -> Self {
        let observer = Observer::load();
        let assembled = Assembled::new(&[link.client.pid(), link.server.pid()]);
        assert_eq!(link.server.ask(&format!("listen {ADDRESS_FAR}:80"))["id"], 1);
        Self { link, observer, assembled, made: 0 }
    }

    /// Does something on a link that has just begun to lose, and compares.
    #[track_caller]
    fn check(&mut self, what: &str, want: Want, work: impl FnOnce(&mut Self)) {
        let before = [Snmp::of(&self.link.a), Snmp::of(&self.link.b)];
        let sent_before = self.sent_again();
        work(self);
        self.link.lose("nothing");
        // A probe or a repeated answer may still be under way.
        let mut last = None;
        let theirs = eventually(what, || {
            let now = [Snmp::of(&self.link.a), Snmp::of(&self.link.b)];
            let theirs = [0, 1].map(|it| now[it].since(&before[it]));
            let is_quiet = last.replace(theirs.clone()).is_some_and(|last| last == theirs);
            is_quiet.then_some(theirs)
        });
        let sent_after = self.sent_again();
        let ours: [u32; class::COUNT] = std::array::from_fn(|it| sent_after[it] - sent_before[it]);
        let in_a = theirs[0].clone();
        let by_kernel = theirs.clone();
        let theirs = |name: &str| {
            let count = theirs.iter().map(|it| it.get(name).copied().unwrap_or(0)).sum::<i64>();
            u32::try_from(count).unwrap()
        };
        assert_eq!(ours.iter().sum::<u32>(), theirs("Tcp.RetransSegs"), "{what}: {ours:?} of {by_kernel:?}");
        let twins = [
            ("syn", class::SYN, "TcpExt.TCPSynRetrans", want.syn),
            ("fast", class::FAST, "TcpExt.TCPFastRetrans", want.fast),
            ("slow_start", class::SLOW_START, "TcpExt.TCPSlowStartRetrans", want.slow_start),
            ("tlp", class::TLP, "TcpExt.TCPLossProbes", want.tlp),
        ];
        for (name, class, twin, want) in twins {
            // A probe with data that was not sent before is no retransmit.
            let same =
                if class == class::TLP { ours[class] <= theirs(twin) } else { ours[class] == theirs(twin) };
            assert!(same, "{what}: {name} and {twin}: {ours:?} of {by_kernel:?}");
            assert_eq!(ours[class], want.unwrap_or(ours[class]), "{what}: {name}");
        }
        // The client's: of a server's SYN-ACKs, some are repeated by a timer, some for a repeated SYN.
        let timeouts = in_a.get("TcpExt.TCPTimeouts").copied().unwrap_or(0);
        let of_timers = i64::from(ours[class::RTO]) + in_a.get("TcpExt.TCPSynRetrans").copied().unwrap_or(0);
        assert_eq!(of_timers, timeouts, "{what}: rto and TCPTimeouts: {ours:?}");
        assert_eq!(ours[class::RTO], want.rto.unwrap_or(ours[class::RTO]), "{what}: rto");
        println!("{what}: {ours:?} [syn, fast, rto, slow start, tlp, other], each as the kernel counts");
    }

    /// By class, of all sockets of both programs. SYN-ACKs are their listener's: a child has them again.
    #[track_caller]
    fn sent_again(&mut self) -> [u32; class::COUNT] {
        let mut sum = [0; class::COUNT];
        for row in self.rows() {
            let of_child = row.state.role == role::SERVER;
            for (class, count) in row.state.retransmits.iter().enumerate() {
                sum[class] += if of_child && class == class::SYN { 0 } else { *count };
            }
        }
        sum
    }

    #[track_caller]
    fn rows(&mut self) -> Vec<Row> {
        let pids = [self.link.client.pid(), self.link.server.pid()];
        let mut rows = self.observer.rows();
        rows.retain(|row| pids.contains(&row.state.tgid));
        rows
    }

    /// A connection whose round trip is known; returns the number of the client's socket.
    #[track_caller]
    fn connect(&mut self) -> u64 {
        let id = self.made + 1;
        assert_eq!(self.link.client.ask(&format!("connect {ADDRESS_FAR}:80"))["id"], id);
        self.link.server.ask("accept 1");
        self.made += 1;
        id
    }

    #[track_caller]
    fn warm(&mut self) -> u64 {
        let id = self.connect();
        self.link.client.ask(&format!("nodelay {id}"));
        for _ in 0..20 {
            self.send(id, MSS);
            self.received(id, MSS);
        }
        id
    }

    #[track_caller]
    fn send(&mut self, id: u64, n_bytes: u64) {
        assert_eq!(self.link.client.ask(&format!("send {id} {n_bytes}"))["bytes"], n_bytes);
    }

    #[track_caller]
    fn received(&mut self, id: u64, n_bytes: u64) {
        let there = id + 1;
        assert_eq!(self.link.server.ask(&format!("recv {there} {n_bytes}"))["bytes"], n_bytes);
    }

    #[track_caller]
    fn transfer(&mut self, lose: &str, n_bytes: u64) {
        let id = self.warm();
        self.link.lose(lose);
        self.link.client.tell(&format!("send {id} {n_bytes}"));
        self.received(id, n_bytes);
        assert_eq!(self.link.client.json()["bytes"], n_bytes);
    }

    /// Until the timer has fired so often.
    #[track_caller]
    fn black_hole(&mut self, timeouts: i64, n_bytes: u64) -> u64 {
        let id = self.warm();
        let before = Snmp::of(&self.link.a);
        self.link.lose("everything");
        self.send(id, n_bytes);
        eventually("the timer to fire", || {
            let fired = Snmp::of(&self.link.a).since(&before).get("TcpExt.TCPTimeouts").copied();
            (Some(timeouts) <= fired).then_some(())
        });
        self.link.lose("nothing");
        self.received(id, n_bytes);
        id
    }

    #[track_caller]
    fn edge(&mut self) -> Arc<Edge> {
        let pids = [self.link.client.pid(), self.link.server.pid()];
        self.assembled.take(&mut self.observer, &pids);
        let edges = self.assembled.edges(80);
        let [edge] = &edges[..] else { panic!("{edges:?}") };
        Arc::clone(edge)
    }
}

/// And one that died is not waited for.
#[test]
fn an_episode_lasts_as_long_as_nothing_was_acknowledged() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let before = Snmp::of(&scene.link.a);
    let began = clock::now();
    let id = scene.black_hole(3, 2 * MSS);
    let took = clock::now().since(began);
    let pid = scene.link.client.pid();
    let ended = scene.observer.wait_for(1, "ends of episodes", |event| match event {
        Event::RtoEnded(it) if it.tgid == pid => Some(*it),
        _ => None,
    });
    let [RtoEnded { header, began_ktime_ns, expiries, episodes, remote_port, .. }] = ended[..] else {
        unreachable!()
    };
    let lasted = Duration::from_nanos(header.ktime_ns - began_ktime_ns);
    let fired = Snmp::of(&scene.link.a).since(&before)["TcpExt.TCPTimeouts"];
    assert_eq!((i64::from(expiries), episodes, remote_port), (fired, 1, 80));
    assert!(lasted <= took, "{lasted:?} of {took:?}");
    // The kernel's own count begins when the timer fires first, and not when it was set.
    let stats = scene.link.client.ask(&format!("stats {id}"));
    let kernel = stats["total_rto_ms"].as_u64().map(Duration::from_millis);
    let kernel = kernel.expect("the kernel is newer than 6.7");
    assert_eq!((stats["total_rto"].as_i64(), stats["total_rto_recoveries"].as_i64()), (Some(fired), Some(1)));
    let first = lasted.saturating_sub(kernel);
    assert!(
        (Duration::from_millis(150)..Duration::from_millis(600)).contains(&first),
        "{lasted:?}, {kernel:?}"
    );

    let classes = classes_told(&scene.observer, pid);
    let edge = scene.edge();
    let n_segments = edge.faults.retransmits.rto;
    let powers: Vec<u32> = (0..).map(|it| 1 << it).take_while(|it| u64::from(*it) <= n_segments).collect();
    assert_eq!(classes[&class::RTO], powers, "of {n_segments}");
    assert_eq!(edge.faults.rto_episodes, 1);
    assert!(edge.faults.rto.abs_diff(lasted) < Duration::from_millis(1), "{:?}", edge.faults.rto);
    assert_eq!(findings(&scene), ["rto_episode"]);
    println!(
        "{expiries} time-outs, nothing acknowledged for {lasted:?}; by the kernel {kernel:?} after the first"
    );
}

/// Numbers of segments, by class, as they were told of.
fn classes_told(observer: &Observer, pid: u32) -> BTreeMap<usize, Vec<u32>> {
    let mut told: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for event in &observer.events {
        if let Event::Retransmit(Retransmit { tgid, class, segments, .. }) = event
            && *tgid == pid
        {
            told.entry((*class).into()).or_default().push(*segments);
        }
    }
    told
}

/// Without how it looked while it lasted, which depends on when the dumps come.
fn findings(scene: &Scene) -> Vec<&'static str> {
    let found = scene.assembled.findings();
    let stand = [FindingKind::NetworkSilent, FindingKind::WindowClosed, FindingKind::ApplicationSilent];
    found.iter().map(|it| it.kind).filter(|it| !stand.contains(it)).map(FindingKind::name).collect()
}

#[test]
fn each_way_to_die_is_a_class_of_its_own() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let mut want = Faults::default().closed;

    let id = scene.warm();
    scene.link.client.ask(&format!("user-timeout {id} 1500"));
    scene.link.lose("everything");
    scene.send(id, 2000);
    want.unacknowledged = 1;
    scene.dies(id, want, &["data_unacknowledged"]);

    let id = scene.warm();
    scene.link.client.ask(&format!("keepalive {id} 1 1 2"));
    scene.link.lose("everything");
    want.keepalive = 1;
    scene.dies(id, want, &["data_unacknowledged", "keepalive_failed"]);

    // The server does not read.
    let id = scene.warm();
    scene.link.client.ask(&format!("user-timeout {id} 1500"));
    scene.link.client.tell(&format!("send {id} 20000000"));
    want.window = 1;
    scene.dies(id, want, &["data_unacknowledged", "keepalive_failed", "window_gave_up"]);
    assert_eq!(scene.link.client.json()["errno"], libc::ETIMEDOUT);
    println!("{want:?}");
}

impl Scene {
    /// While the program still has the socket.
    #[track_caller]
    fn dies(&mut self, id: u64, want: agent::assemble::faults::Closed, want_findings: &[&str]) {
        let edge = eventually(&format!("socket {id} to die"), || {
            let edge = self.edge();
            (edge.faults.closed == want).then_some(edge)
        });
        assert_eq!(edge.connections.active, id, "nobody has closed anything");
        self.link.lose("nothing");
        let mut found = findings(self);
        found.sort_unstable();
        assert_eq!(found, want_findings);
    }
}

#[test]
fn a_connection_that_took_two_syns_is_told_apart() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    scene.link.lose("syn-acks 1");
    scene.connect();
    let edge = scene.edge();
    assert_eq!((edge.connections.opened, edge.connections.failed, edge.faults.retried), (1, 0, 1));
    // Of both ends: the child of the listener has what was repeated for it.
    let again = [&scene.link.a, &scene.link.b].map(|it| Snmp::of(it).get("TcpExt.TCPSynRetrans"));
    assert!(again.iter().all(|it| *it != 0), "{again:?}");
    assert_eq!(i64::try_from(edge.faults.retransmits.syn).unwrap(), again.iter().sum::<i64>());
    // The kernel repeats the first SYN after a second.
    let times = edge.network.connect_times.buckets().filter(|(_, count)| *count != 0);
    let times: Vec<_> = times.map(|(upper, count)| (upper.unwrap().as_millis(), count)).collect();
    assert!(times == [(1024, 1)] || times == [(2048, 1)], "{times:?}");
    let found = scene.assembled.findings();
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!(finding.kind.name(), "connect_late");
    println!("{}", finding.summary);
}

#[test]
fn who_resets_a_connection_is_known_from_both_ends() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let closed = |scene: &mut Scene, by_client: bool| {
        let id = scene.connect();
        let (first, second) = if by_client { (id, id + 1) } else { (id + 1, id) };
        let [one, other] = if by_client {
            [&mut scene.link.client, &mut scene.link.server]
        } else {
            [&mut scene.link.server, &mut scene.link.client]
        };
        one.ask(&format!("reset {first}"));
        assert_eq!(other.ask(&format!("recv {second} 1"))["errno"], libc::ECONNRESET);
        other.ask(&format!("close {second}"));
        // Of a peer outside there is only the own end.
        let pids = [scene.link.client.pid(), scene.link.server.pid()];
        let who = eventually("both ends", || {
            scene.observer.drain();
            let flags = scene.observer.events.iter().filter_map(|event| match event {
                Event::Closed(it) => Some((it.row.state.tgid, it.row.state.flags)),
                _ => None,
            });
            let told: BTreeMap<u32, u8> = flags.filter(|(tgid, _)| pids.contains(tgid)).collect();
            (told.len() == 2).then_some(pids.map(|pid| told[&pid] & (flag::RST_IN | flag::RST_OUT)))
        });
        let [by, from] = [flag::RST_OUT, flag::RST_IN];
        assert_eq!(who, if by_client { [by, from] } else { [from, by] });
        eventually("the end", || {
            let edge = scene.edge();
            (edge.connections.active == 0).then_some(edge.faults.closed)
        })
    };
    let first = closed(&mut scene, true);
    assert_eq!((first.reset_by_client, first.reset_by_server, first.fin), (1, 0, 0));
    let second = closed(&mut scene, false);
    assert_eq!((second.reset_by_client, second.reset_by_server, second.fin), (1, 1, 0));
    assert_eq!(scene.edge().connections.reset, 2);
}

/// A round trip is what the socket itself measured.
#[test]
fn round_trips_are_sampled() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let id = scene.warm();
    let first = scene.edge().network.round_trips.count();
    let idle = scene.edge().network.round_trips.count();
    scene.send(id, MSS);
    scene.received(id, MSS);
    let later = scene.edge().network.round_trips.count();
    assert_eq!((first, idle, later), (1, 1, 2));
    let median = scene.edge().network.round_trips.median().unwrap();
    assert!(median < Duration::from_millis(50), "{median:?}");
    println!("median at most {median:?}");
}
