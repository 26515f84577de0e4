use std::{net::Ipv6Addr, sync::Arc};

use agent_common::{
    Wire as _,
    event::{
        Event, Header,
        udp::{FlowCount, FlowKey, FlowRow, FlowTotals, UdpOwner, place},
    },
    pure::packet::UDP,
};

use crate::{
    assemble::{
        directory::tests::process,
        edge::Transport,
        services::{Answer, Question},
        state::{State, Wishes},
    },
    clock::Ktime,
    vitals::{Vital, Vitals},
};

const SECOND: u64 = 1_000_000_000;
/// Of the host.
const HOST: u32 = 1;

struct Scene {
    state: State,
    vitals: Arc<Vitals>,
    rows: Vec<FlowRow>,
    /// With the last dump.
    looks_for_owners: bool,
    now: u64,
}

impl Scene {
    fn new() -> Self {
        let vitals = Arc::new(Vitals::new());
        let mut state = State::new(Arc::clone(&vitals), std::time::Duration::from_secs(60));
        state.local_addresses(HOST, ["10.0.0.1".parse().unwrap()]);
        for (tgid, exe) in [(1, "/bin/ask"), (2, "/bin/answer"), (3, "/bin/other")] {
            state.process(process(tgid, exe));
        }
        let mut scene = Self { state, vitals, rows: Vec::new(), looks_for_owners: false, now: 0 };
        // Whoever begins from the third second on begins under observation.
        scene.dump();
        scene.now = 10 * SECOND;
        scene
    }

    /// `FROM>TO PLACE BYTES COOKIE`, as of now; adds to the flow.
    fn packet(&mut self, text: &str) {
        let [ends, met, bytes, cookie] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let (from, to) = ends.split_once('>').unwrap();
        let at = |text: &str| {
            let (ip, port) = text.rsplit_once(':').unwrap();
            let ip: std::net::IpAddr = ip.parse().unwrap();
            let ip = match ip {
                std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                std::net::IpAddr::V6(ip) => ip,
            };
            (ip.octets(), port.parse::<u16>().unwrap())
        };
        let ((source, source_port), (destination, destination_port)) = (at(from), at(to));
        let place = match met {
            "sent" => place::SENT,
            "door" => place::TO_WORKLOAD,
            "nic" => place::FROM_OUTSIDE,
            other => other.parse().unwrap(),
        };
        let key =
            FlowKey { source, destination, source_port, destination_port, protocol: UDP, place, socket: 0 };
        let now = self.now;
        let row = match self.rows.iter_mut().find(|it| it.key == key) {
            Some(row) => row,
            None => {
                let count = FlowCount { first_ktime_ns: now, ..FlowCount::zeroed() };
                self.rows.push(FlowRow { key, count });
                self.rows.last_mut().unwrap()
            }
        };
        row.count.bytes += bytes.parse::<u64>().unwrap();
        row.count.packets += 1;
        row.count.cookie = cookie.parse().unwrap();
        self.now += 1000;
    }

    fn owner(&mut self, cookie: u64, tgid: u32, netns: u32, local: &str, remote_port: u16) {
        let (ip, port) = local.rsplit_once(':').unwrap();
        let ip: std::net::Ipv4Addr = ip.parse().unwrap();
        let record = UdpOwner {
            header: Header { ktime_ns: self.now, tgid, tid: tgid, kind: 11, reserved: 0 },
            cookie,
            cgroup_id: 0,
            local: ip.to_ipv6_mapped().octets(),
            remote: Ipv6Addr::UNSPECIFIED.octets(),
            local_port: port.parse().unwrap(),
            remote_port,
            netns,
        };
        self.state.events(&[Event::UdpOwner(record)], Ktime(self.now));
    }

    /// What was asked of a client's server: `same`, `unknown`, or `SERVER<CLIENT` as the server has it.
    #[track_caller]
    fn answer(&mut self, client: &str, server: &str, answer: &str) {
        let answer = match answer.split_once('<') {
            Some((server, client)) => {
                Answer::Other { server: server.parse().unwrap(), client: client.parse().unwrap() }
            }
            None if answer == "same" => Answer::Same,
            None => Answer::Unknown,
        };
        let [client, server] = [client, server].map(|it| it.parse().unwrap());
        let question = Question { transport: Transport::Udp, client, server };
        self.state.answers(&[(question, answer)], Ktime(self.now));
    }

    fn questions(&mut self) -> Vec<String> {
        let questions = self.state.questions();
        questions.iter().map(|it| format!("{:?} {}>{}", it.transport, it.client, it.server)).collect()
    }

    fn dump(&mut self) -> Vec<FlowKey> {
        let sum = |field: fn(&FlowCount) -> u64| self.rows.iter().map(|it| field(&it.count)).sum();
        let totals = FlowTotals { bytes: sum(|it| it.bytes), packets: sum(|it| it.packets), flows: 0 };
        self.dump_of(totals)
    }

    fn dump_of(&mut self, totals: FlowTotals) -> Vec<FlowKey> {
        let Wishes { ended, owners } = self.state.flows(&self.rows, &totals, Ktime(self.now));
        self.looks_for_owners = owners;
        self.now += SECOND;
        ended
    }

    /// Owners that are not known are not waited for any more.
    fn settle(&mut self) {
        self.dump();
        self.now += 5 * SECOND;
        self.state.tick(Ktime(self.now));
    }

    #[track_caller]
    fn check(&mut self, want: &[&str]) {
        self.settle();
        assert_eq!(self.edges(), want);
    }

    fn edges(&self) -> Vec<String> {
        use crate::assemble::edge::Peer;
        let name = |peer: &Peer| match peer {
            Peer::Process(process) => process.exe.trim_start_matches("/bin/").to_owned(),
            Peer::Address { ip, .. } => ip.to_string(),
        };
        let mut edges: Vec<String> = self
            .state
            .edges()
            .iter()
            .inspect(|it| assert_eq!(it.transport, Transport::Udp))
            .map(|it| {
                let (client, server) = (name(&it.client), name(&it.server));
                let (bytes, packets, of) = (it.bytes, it.packets, it.connections);
                format!(
                    "{client} -> {server}:{} {} {}+{} bytes {}+{} packets {} opened {} open",
                    it.server_port,
                    it.confidence.name(),
                    bytes.to_server,
                    bytes.to_client,
                    packets.to_server,
                    packets.to_client,
                    of.opened,
                    of.active
                ) + &it.vip.map_or(String::new(), |vip| format!(" vip {}>{}", vip.ip, vip.backend_port))
            })
            .collect();
        edges.sort();
        edges
    }
}

#[test]
fn both_ends_here_are_one_edge_and_each_byte_counts_once() {
    let mut scene = Scene::new();
    scene.owner(7, 1, 10, "10.1.0.2:40000", 5000);
    scene.owner(8, 2, 11, "0.0.0.0:5000", 0);
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 100 7");
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 door 100 0");
    scene.packet("10.1.0.3:5000>10.1.0.2:40000 sent 2000 8");
    scene.packet("10.1.0.3:5000>10.1.0.2:40000 door 2000 0");
    scene.check(&["ask -> answer:5000 service 100+2000 bytes 1+1 packets 1 opened 1 open"]);
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 11 7");
    scene.check(&["ask -> answer:5000 service 111+2000 bytes 2+1 packets 1 opened 1 open"]);
}

/// Behind a service address the receiver's door sees other addresses than the sender.
#[test]
fn translated_packets_of_this_node_count_at_their_sender_only() {
    let mut scene = Scene::new();
    scene.owner(7, 1, 10, "10.1.0.2:40000", 53);
    scene.packet("10.1.0.2:40000>10.96.0.10:53 sent 40 7");
    scene.packet("10.1.0.2:40000>10.1.0.3:53 door 40 0");
    scene.check(&["ask -> 10.96.0.10:53 service 40+0 bytes 1+0 packets 1 opened 1 open"]);
}

#[test]
fn from_outside_counts_at_the_door_or_at_the_hosts_socket() {
    let mut scene = Scene::new();
    scene.owner(7, 1, 10, "10.1.0.2:40000", 123);
    scene.packet("10.1.0.2:40000>192.0.2.7:123 sent 48 7");
    scene.packet("192.0.2.7:123>10.1.0.2:40000 nic 48 0");
    scene.packet("192.0.2.7:123>10.1.0.2:40000 door 48 0");
    // A port that is forwarded to a workload, and one of the host.
    scene.packet("192.0.2.8:3000>10.0.0.1:30053 nic 60 0");
    scene.packet("192.0.2.8:3000>10.1.0.3:5353 door 60 0");
    scene.owner(9, 3, HOST, "0.0.0.0:514", 0);
    scene.packet("192.0.2.9:3000>10.0.0.1:514 nic 70 0");
    scene.check(&[
        "192.0.2.8 -> 10.1.0.3:5353 service 60+0 bytes 1+0 packets 1 opened 1 open",
        "192.0.2.9 -> other:514 service 70+0 bytes 1+0 packets 1 opened 1 open",
        "ask -> 192.0.2.7:123 service 48+48 bytes 1+1 packets 1 opened 1 open",
    ]);
}

#[test]
fn who_speaks_first_is_the_client_unless_the_other_is_a_server() {
    let mut scene = Scene::new();
    // The server of a fixed port pushes first.
    scene.owner(7, 1, 10, "10.1.0.2:40000", 5000);
    scene.owner(8, 2, 11, "0.0.0.0:5000", 0);
    scene.packet("10.1.0.3:5000>10.1.0.2:40000 sent 10 8");
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 20 7");
    scene.check(&["ask -> answer:5000 service 20+10 bytes 1+1 packets 1 opened 1 open"]);

    // Both ports are chosen by the kernel.
    let mut scene = Scene::new();
    scene.packet("10.1.0.9:50001>10.1.0.8:50000 sent 10 5");
    scene.packet("10.1.0.8:50000>10.1.0.9:50001 sent 20 6");
    scene.check(&["10.1.0.9 -> 10.1.0.8:50000 service 10+20 bytes 1+1 packets 1 opened 1 open"]);

    // An answer is seen first.
    let mut scene = Scene::new();
    scene.packet("10.1.0.8:53>10.1.0.9:50001 sent 20 6");
    scene.check(&["10.1.0.9 -> 10.1.0.8:53 service 0+20 bytes 0+1 packets 1 opened 1 open"]);
}

#[test]
fn what_is_older_goes_by_its_ports() {
    let mut scene = Scene::new();
    scene.now = SECOND;
    scene.packet("10.1.0.8:123>10.1.0.9:50001 sent 20 6");
    scene.check(&["10.1.0.9 -> 10.1.0.8:123 port 0+20 bytes 0+1 packets 0 opened 1 open"]);
}

#[test]
fn an_owner_that_is_late_is_waited_for_and_then_the_edge_moves() {
    let mut scene = Scene::new();
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 100 7");
    scene.dump();
    assert_eq!(scene.edges(), [""; 0], "waits");
    assert!(scene.looks_for_owners);
    scene.owner(7, 1, 10, "10.1.0.2:40000", 5000);
    scene.dump();
    assert!(!scene.looks_for_owners);
    scene.state.tick(Ktime(scene.now));
    assert_eq!(scene.edges(), ["ask -> 10.1.0.3:5000 service 100+0 bytes 1+0 packets 1 opened 1 open"]);
    // The server turns up with its first answer.
    scene.owner(8, 2, 11, "0.0.0.0:5000", 0);
    scene.packet("10.1.0.3:5000>10.1.0.2:40000 sent 5 8");
    scene.check(&["ask -> answer:5000 service 100+5 bytes 1+1 packets 1 opened 1 open"]);
}

#[test]
fn fragments_go_with_their_socket_if_that_has_one_talk_only() {
    let mut scene = Scene::new();
    scene.owner(7, 1, 10, "10.1.0.2:40000", 5000);
    scene.packet("10.1.0.2:0>10.1.0.3:0 sent 3000 7");
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 1472 7");
    scene.check(&["ask -> 10.1.0.3:5000 service 4472+0 bytes 2+0 packets 1 opened 1 open"]);

    let mut scene = Scene::new();
    scene.owner(7, 1, 10, "10.1.0.2:40000", 0);
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 1 7");
    scene.packet("10.1.0.2:40000>10.1.0.3:6000 sent 2 7");
    scene.packet("10.1.0.2:0>10.1.0.3:0 sent 3000 7");
    scene.check(&[
        "ask -> 10.1.0.3:0 service 3000+0 bytes 1+0 packets 1 opened 1 open",
        "ask -> 10.1.0.3:5000 service 1+0 bytes 1+0 packets 1 opened 1 open",
        "ask -> 10.1.0.3:6000 service 2+0 bytes 1+0 packets 1 opened 1 open",
    ]);
}

#[test]
fn a_flow_is_over_after_a_minute_and_nothing_counts_twice_when_it_comes_back() {
    let mut scene = Scene::new();
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 100 7");
    scene.settle();
    assert_eq!(scene.dump(), []);
    scene.now += 60 * SECOND;
    assert_eq!(scene.dump().len(), 1);
    // The kernel half was too busy to forget it.
    assert_eq!(scene.dump().len(), 1);
    assert_eq!(scene.edges(), ["10.1.0.2 -> 10.1.0.3:5000 service 100+0 bytes 1+0 packets 1 opened 1 open"]);
    let read = std::mem::take(&mut scene.rows);
    let totals = FlowTotals { bytes: 100, packets: 1, flows: 1 };
    for _ in 0..3 {
        scene.dump_of(totals);
    }
    assert_eq!(scene.edges(), ["10.1.0.2 -> 10.1.0.3:5000 service 100+0 bytes 1+0 packets 1 opened 0 open"]);
    // A new entry of the same name.
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 5 7");
    scene.settle();
    assert_eq!(scene.edges(), ["10.1.0.2 -> 10.1.0.3:5000 service 105+0 bytes 2+0 packets 2 opened 1 open"]);
    assert_eq!(read.len(), 1);
}

/// An entry that was evicted and made anew between two dumps has counted from zero.
#[test]
fn what_was_let_go_unread_is_known_to_the_byte() {
    let mut scene = Scene::new();
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 100 7");
    scene.settle();
    scene.rows.clear();
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 sent 30 7");
    // 100 were read; of 150 that came then, 30 are there.
    scene.dump_of(FlowTotals { bytes: 250, packets: 5, flows: 2 });
    assert_eq!(scene.vitals.get(Vital::UdpBytesUnread), 120);
    assert_eq!(scene.vitals.get(Vital::UdpBytes), 250);
    scene.now += 5 * SECOND;
    scene.state.tick(Ktime(scene.now));
    assert_eq!(scene.edges(), ["10.1.0.2 -> 10.1.0.3:5000 service 130+0 bytes 2+0 packets 1 opened 1 open"]);
}

#[test]
fn a_place_that_is_none_is_counted_and_left_out() {
    let mut scene = Scene::new();
    scene.packet("10.1.0.2:40000>10.1.0.3:5000 9 100 7");
    scene.check(&[]);
    assert_ne!(scene.vitals.get(Vital::RecordsContradictory), 0);
}

const ASKED: [&str; 2] = ["10.1.0.2:40000", "10.96.0.10:53"];
const THROUGH: &str = "10.1.0.3:5300<10.0.0.1:1024";

/// A pod asks a service: each way is met as it is sent, and once more under other addresses as it arrives.
fn through_a_service() -> Scene {
    let mut scene = Scene::new();
    scene.state.servers_are_known();
    scene.owner(7, 1, 10, "10.1.0.2:40000", 53);
    scene.owner(8, 2, 11, "0.0.0.0:5300", 0);
    exchange(&mut scene);
    scene
}

fn exchange(scene: &mut Scene) {
    scene.packet("10.1.0.2:40000>10.96.0.10:53 sent 40 7");
    scene.packet("10.0.0.1:1024>10.1.0.3:5300 door 40 0");
    scene.packet("10.1.0.3:5300>10.0.0.1:1024 sent 400 8");
    scene.packet("10.96.0.10:53>10.1.0.2:40000 door 400 0");
}

#[test]
fn a_service_between_two_ends_is_no_second_edge_and_each_byte_counts_once() {
    let mut scene = through_a_service();
    scene.dump();
    assert_eq!(scene.questions(), ["Udp 10.1.0.2:40000>10.96.0.10:53"]);
    scene.answer(ASKED[0], ASKED[1], THROUGH);
    let edge = "ask -> answer:53 service 40+400 bytes 1+1 packets 1 opened 1 open vip 10.96.0.10>5300";
    scene.check(&[edge]);
    // What comes later goes there as well, and is not asked for again.
    exchange(&mut scene);
    scene.packet("10.1.0.3:5300>10.0.0.1:1024 sent 5 8");
    scene.check(&["ask -> answer:53 service 80+805 bytes 2+3 packets 1 opened 1 open vip 10.96.0.10>5300"]);
    assert_eq!(scene.questions(), [""; 0]);
    let counts = [Vital::NatByConntrack, Vital::NatUnresolved, Vital::ServersNotAsked];
    assert_eq!(counts.map(|it| scene.vitals.get(it)), [1, 0, 0]);
}

/// The server is slow to answer, or has just not been met.
#[test]
fn what_is_met_of_the_half_later_is_a_part_of_it_too() {
    let mut scene = through_a_service();
    let met = scene.rows.split_off(1);
    scene.dump();
    scene.answer(ASKED[0], ASKED[1], THROUGH);
    scene.settle();
    assert_eq!(
        scene.edges(),
        ["ask -> 10.1.0.3:53 service 40+0 bytes 1+0 packets 1 opened 1 open vip 10.96.0.10>5300"]
    );
    scene.rows.extend(met);
    scene.check(&["ask -> answer:53 service 40+400 bytes 1+1 packets 1 opened 1 open vip 10.96.0.10>5300"]);
}

/// Both halves are on edges by then.
#[test]
fn an_answer_that_comes_late_makes_two_edges_one() {
    let mut scene = through_a_service();
    scene.check(&[
        "10.0.0.1 -> answer:5300 service 0+400 bytes 0+1 packets 1 opened 1 open",
        "ask -> 10.96.0.10:53 service 40+400 bytes 1+1 packets 1 opened 1 open",
    ]);
    scene.answer(ASKED[0], ASKED[1], THROUGH);
    scene.check(&["ask -> answer:53 service 40+400 bytes 1+1 packets 1 opened 1 open vip 10.96.0.10>5300"]);
    let counts = [Vital::NatByConntrack, Vital::NatUnresolved, Vital::ServersNotAsked];
    assert_eq!(counts.map(|it| scene.vitals.get(it)), [0, 1, 1]);
}

/// Its answers are met at the card, too, under the addresses that they have there.
#[test]
fn a_server_elsewhere_behind_a_service_is_its_address() {
    let mut scene = Scene::new();
    scene.state.servers_are_known();
    scene.owner(7, 1, 10, "10.1.0.2:40000", 53);
    scene.packet("10.1.0.2:40000>10.96.0.10:53 sent 40 7");
    scene.packet("192.0.2.9:5300>10.0.0.1:1024 nic 400 0");
    scene.packet("10.96.0.10:53>10.1.0.2:40000 door 400 0");
    scene.dump();
    scene.answer(ASKED[0], ASKED[1], "192.0.2.9:5300<10.0.0.1:1024");
    scene
        .check(&["ask -> 192.0.2.9:53 service 40+400 bytes 1+1 packets 1 opened 1 open vip 10.96.0.10>5300"]);
}

#[test]
fn an_address_that_is_no_services_or_of_which_nobody_knows_stays() {
    for (answer, unresolved) in [("same", 0), ("unknown", 1)] {
        let mut scene = through_a_service();
        scene.rows.retain(|it| it.key.source_port != 5300 && it.key.destination_port != 5300);
        scene.dump();
        scene.answer(ASKED[0], ASKED[1], answer);
        scene.check(&["ask -> 10.96.0.10:53 service 40+400 bytes 1+1 packets 1 opened 1 open"]);
        assert_eq!(scene.vitals.get(Vital::NatUnresolved), unresolved, "{answer}");
        // Of another one to the same address it is known already.
        scene.questions();
        scene.packet("10.1.0.2:40001>10.96.0.10:53 sent 1 7");
        scene.dump();
        assert_eq!(scene.questions(), [""; 0], "{answer}");
    }
}

/// The same ports may lead elsewhere by then.
#[test]
fn a_talk_that_is_over_takes_its_half_along() {
    let mut scene = through_a_service();
    scene.dump();
    scene.answer(ASKED[0], ASKED[1], THROUGH);
    scene.settle();
    scene.rows.clear();
    for _ in 0..3 {
        scene.dump_of(FlowTotals::zeroed());
    }
    // Nothing is kept of it, of either transport.
    assert_eq!(format!("{:?}", scene.state).matches("halves: {}").count(), 2);
    scene.packet("10.1.0.3:5300>10.0.0.1:1024 sent 5 8");
    scene.check(&[
        "10.0.0.1 -> answer:5300 service 0+5 bytes 0+1 packets 1 opened 1 open",
        "ask -> answer:53 service 40+400 bytes 1+1 packets 1 opened 0 open vip 10.96.0.10>5300",
    ]);
}

#[test]
fn only_clients_that_are_here_are_asked_for_and_not_too_many() {
    let mut scene = Scene::new();
    scene.state.servers_are_known();
    for packet in [
        // To a server here, to nobody in particular, to oneself; from a server to a client outside.
        "10.1.0.2:40000>10.1.0.3:5000 sent 1 7",
        "10.1.0.3:5000>10.1.0.2:40000 sent 1 8",
        "10.1.0.2:5353>224.0.0.251:5353 sent 1 7",
        "10.1.0.2:40000>255.255.255.255:67 sent 1 7",
        "127.0.0.1:40000>127.0.0.1:53 sent 1 9",
        "10.1.0.3:53>192.0.2.9:40000 sent 1 8",
        "192.0.2.9:4000>10.1.0.3:5000 door 1 0",
    ] {
        scene.packet(packet);
    }
    scene.settle();
    assert_eq!(scene.questions(), [""; 0]);
    for port in 0..70 {
        scene.packet(&format!("10.1.0.2:{}>10.96.0.10:{} sent 1 7", 50_000 + port, 100 + port));
    }
    scene.settle();
    assert_eq!(scene.questions().len(), 64);
    scene.settle();
    assert_eq!(scene.vitals.get(Vital::ServersNotAsked), 70);
}
