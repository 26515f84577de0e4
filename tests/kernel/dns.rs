//! DNS messages as they pass an interface: copied once for each lookup, whole or cut, and nothing else.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

use agent::{
    assemble::{
        lookup::{Lookup, Outcome},
        state::State,
    },
    clock::{self, Clock},
    config::settings::XdpMode,
    decode::dns::{Body, DnsMessage, message},
    kernel::Hook,
    links,
    targets::{proc, process::Tgid},
    vitals::{Vital, Vitals},
};
use agent_common::{
    counter,
    event::{Event, dns::DnsPacket},
    limits::{DNS_BYTES, DNS_MESSAGES_PER_SECOND},
    pure::packet::TCP,
};
use socket2::{Domain, Protocol, Socket, Type};
use tests::{
    NetNs, Observer,
    dns::{self, A, AAAA},
    eventually,
    netns::{ADDRESS_A, ADDRESS_B, two_namespaces},
    observer, require_admin, require_bpf,
};

const NAMES: &[(&str, u16, &str)] = &[
    ("none.test", A, "NOERROR"),
    ("one.test", A, "NOERROR 192.0.2.1"),
    ("chain.test", A, "NOERROR 192.0.2.99"),
    ("six.test", AAAA, "NOERROR 2001:db8::6"),
    ("fail.test", A, "SERVFAIL"),
    ("absent.test", A, "NXDOMAIN"),
    ("garbage.test", A, "malformed"),
];

/// As the node sees a pod: the pod's socket asks, and its answer goes out to it.
#[test]
fn each_lookup_of_a_pod_is_copied_once() {
    require_bpf!();
    require_admin!();
    let (pod, node) = two_namespaces();
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "b0");
    lookups(&mut observer, &pod, &node, ADDRESS_B.into());
    let counters = [counter::DNS_SHORT, counter::DNS_THROTTLED, counter::DNS_RING_FULL];
    assert_eq!(counters.map(|slot| observer.counter(slot)), [0; 3]);
}

#[test]
fn lookups_over_ipv6_are_copied() {
    require_bpf!();
    require_admin!();
    let (pod, node) = two_namespaces();
    for (namespace, link, address) in [(&pod, "a0", "fd77::1/64"), (&node, "b0", "fd77::2/64")] {
        namespace.exec("ip", ["address", "add", address, "dev", link, "nodad"]);
    }
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "b0");
    lookups(&mut observer, &pod, &node, "fd77::2".parse().unwrap());
}

/// On loopback the one that runs is the one that sends.
#[test]
fn on_loopback_the_process_that_asks_is_known() {
    require_bpf!();
    require_admin!();
    let node = NetNs::new();
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "lo");
    let resolver = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53);
    lookups(&mut observer, &node, &node, resolver.ip());
    let askers: Vec<u32> = queries(&observer).map(|it| it.header.tgid).collect();
    assert_eq!(askers, vec![std::process::id(); NAMES.len()]);
}

/// An answer passes several hooks; a query points to its socket at one of them.
#[test]
fn an_answer_that_is_met_twice_is_one() {
    require_bpf!();
    require_admin!();
    let (pod, node) = two_namespaces();
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "b0");
    let _card = pod.inside(|| observer.kernel.attach_packets("a0", XdpMode::Native)).unwrap();
    let client = Client::new(&pod, &node, ADDRESS_B.into());
    client.ask(7, "one.test", A);
    client.ask(8, "none.test", A);
    let answers = |it: &Observer| it.messages.iter().filter(|(it, _)| it.source_port == 53).count();
    eventually("both answers, twice", || {
        observer.drain();
        (answers(&observer) == 4).then_some(())
    });
    assert_eq!(queries(&observer).count(), 2);
    let (got, vitals) = assembled(&observer);
    assert_eq!((got.len(), vitals.get(Vital::DnsAnswersUnasked)), (2, 2));
}

/// 64 addresses take more than a copy has room for.
#[test]
fn a_long_answer_is_cut_and_says_so() {
    require_bpf!();
    require_admin!();
    let (pod, node) = two_namespaces();
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "b0");
    let client = Client::new(&pod, &node, ADDRESS_B.into());
    let sent = client.ask(7, "many.test", A);
    let (packet, copy) = eventually("the answer", || {
        observer.drain();
        observer.messages.iter().find(|(it, _)| it.source_port == 53).cloned()
    });
    assert_eq!((usize::from(packet.wire_bytes), copy.len()), (sent.len(), DNS_BYTES));
    assert_eq!(copy, sent[..DNS_BYTES]);
    let Ok(DnsMessage { body: Body::Answer { addresses, .. }, .. }) = message(&packet, &copy) else {
        panic!("{copy:?}");
    };
    // The header and the question take 27 bytes, an address 16.
    assert_eq!(addresses.len(), (DNS_BYTES - 27) / 16);
    println!("{} of 64 addresses in {} of {} bytes", addresses.len(), copy.len(), sent.len());
}

/// One connection, and the process that asks is that of its socket.
#[test]
fn lookups_over_tcp_are_copied_once_and_their_process_is_known() {
    require_bpf!();
    require_admin!();
    let (pod, node) = two_namespaces();
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "b0");
    let mut client = TcpClient::new(&pod, &node, ADDRESS_B.into());
    let mut sent = Vec::new();
    for ((name, kind, _), id) in NAMES.iter().zip(1..) {
        sent.extend([dns::query(id, name, *kind), client.ask(id, name, *kind)]);
    }
    copied(&mut observer, &sent);
    for query in queries(&observer) {
        assert_eq!((query.header.tgid, query.protocol), (std::process::id(), TCP));
        assert_ne!(query.cookie, 0);
    }
    let (got, vitals) = assembled(&observer);
    let got: Vec<_> = got.iter().map(|it| addresses(&decoded(&observer), it)).collect();
    assert_eq!(got, ["", " 192.0.2.1", " 192.0.2.99", " 2001:db8::6", "", ""]);
    assert_eq!(vitals.get(Vital::DnsAnswersUnasked), 0);
    // Handshakes and acknowledgements have no message in them.
    let counters = [counter::DNS_TCP_NOT_READ, counter::DNS_SHORT, counter::DNS_THROTTLED];
    assert_eq!(counters.map(|slot| observer.counter(slot)), [0; 3]);
}

/// What libc does when an answer does not fit.
#[test]
fn a_truncated_answer_is_followed_by_one_over_tcp() {
    require_bpf!();
    require_admin!();
    let node = NetNs::new();
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "lo");
    let resolver: IpAddr = Ipv4Addr::LOCALHOST.into();
    let short = Client::new(&node, &node, resolver).ask(7, dns::LONG, A);
    assert!(dns::is_truncated(&short));
    let long = TcpClient::new(&node, &node, resolver).ask(7, dns::LONG, A);
    let query = dns::query(7, dns::LONG, A);
    copied(&mut observer, &[query.clone(), short, query, long[..DNS_BYTES].to_vec()]);
    let messages = decoded(&observer);
    let ways: Vec<_> = messages.iter().map(|it| it.is_tcp).collect();
    assert_eq!(ways, [false, false, true, true]);
    let n_addresses: Vec<_> = messages
        .iter()
        .filter_map(|it| match &it.body {
            Body::Answer { addresses, .. } => Some(addresses.len()),
            _ => None,
        })
        .collect();
    println!("{n_addresses:?} addresses in the two answers");
    assert_eq!(n_addresses, [0, (DNS_BYTES - 27) / 16]);
    assert_eq!(assembled(&observer).0.len(), 2);
    assert_eq!(observer.counter(counter::DNS_TCP_NOT_READ), 0);
}

/// Nothing is put together: what a segment does not begin with is counted, and so is what it has besides.
#[test]
fn segments_that_are_no_messages_are_counted_and_do_no_harm() {
    require_bpf!();
    require_admin!();
    let (pod, node) = two_namespaces();
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "b0");
    let mut client = TcpClient::new(&pod, &node, ADDRESS_B.into());
    // Its id looks like a length.
    let query = dns::query(20, "one.test", A);
    let (length, answered) = (query.len().to_be_bytes(), dns::answer(&query).unwrap());
    // The length goes alone, as with two writes.
    client.write(&length[6..]);
    client.write(&query);
    assert_eq!(client.receive(), answered);
    copied(&mut observer, std::slice::from_ref(&answered));
    assert_eq!(observer.counter(counter::DNS_TCP_NOT_READ), 2);
    // Nobody was seen to ask.
    assert_eq!(assembled(&observer).0.len(), 0);

    // It begins, and goes on in the next.
    let whole = dns::framed(&query);
    client.write(&whole[..22]);
    client.write(&whole[22..]);
    assert_eq!(client.receive(), answered);
    copied(&mut observer, &[answered.clone(), answered.clone()]);
    assert_eq!(observer.counter(counter::DNS_TCP_NOT_READ), 4);

    // Two messages in one segment: the first is read.
    let (first, second) = (dns::query(8, "one.test", A), dns::query(9, "none.test", A));
    client.write(&[dns::framed(&first), dns::framed(&second)].concat());
    let answers = [client.receive(), client.receive()];
    let [one, none] = answers;
    copied(&mut observer, &[answered.clone(), answered, first, one, none]);
    assert_eq!(observer.counter(counter::DNS_TCP_NOT_READ), 5);

    // To another port the same is nobody's business.
    let other = node.inside(|| TcpListener::bind((ADDRESS_B, 54))).unwrap();
    let mut stream = pod.inside(|| TcpStream::connect((ADDRESS_B, 54))).unwrap();
    stream.write_all(&dns::framed(&query)).unwrap();
    assert_eq!(dns::receive(&mut other.accept().unwrap().0).unwrap(), query);
    observer.drain();
    assert_eq!((observer.messages.len(), observer.counter(counter::DNS_TCP_NOT_READ)), (5, 5));
}

/// The first part has as much as is copied; the rest is no message.
#[test]
fn a_long_answer_in_several_segments_is_read_from_its_first() {
    require_bpf!();
    require_admin!();
    let (host, resolver) = two_namespaces();
    for (namespace, link) in [(&host, "a0"), (&resolver, "b0")] {
        namespace.exec("ip", ["link", "set", link, "mtu", "600"]);
    }
    let mut observer = Observer::load();
    let _card = host.inside(|| observer.kernel.attach_packets("a0", XdpMode::Native)).unwrap();
    let mut client = TcpClient::new(&host, &resolver, ADDRESS_B.into());
    let sent = client.ask(7, "many.test", A);
    copied(&mut observer, &[sent[..DNS_BYTES].to_vec()]);
    assert_eq!(usize::from(observer.messages[0].0.wire_bytes), sent.len());
    // The headers of IP and of TCP, with its time stamps.
    let n_segments = (sent.len() + 2).div_ceil(600 - 20 - 32) as u64;
    println!("{} bytes in {n_segments} segments", sent.len());
    assert_eq!((n_segments, observer.counter(counter::DNS_TCP_NOT_READ)), (2, 1));
}

/// On the interface of the client's host: what comes in are answers.
#[test]
fn answers_to_a_host_are_copied_on_xdp_and_on_tcx() {
    require_bpf!();
    require_admin!();
    let (host, resolver) = two_namespaces();
    let client = Client::new(&host, &resolver, ADDRESS_B.into());
    let mut on_xdp = Observer::load();
    let hook = host.inside(|| on_xdp.kernel.attach_packets("a0", XdpMode::Native)).unwrap().unwrap();
    assert!(matches!(hook, Hook::Xdp(_)), "{}", hook.name());
    let mut on_tcx = Observer::load();
    let hook_2 = host.inside(|| on_tcx.kernel.attach_packets("a0", XdpMode::Auto)).unwrap().unwrap();
    assert!(matches!(hook_2, Hook::Tc(..)), "{}", hook_2.name());
    let sent: Vec<_> =
        NAMES.iter().zip(1..).map(|((name, kind, _), id)| client.ask(id, name, *kind)).collect();
    for observer in [&mut on_xdp, &mut on_tcx] {
        eventually("all answers", || {
            observer.drain();
            (sent.len() <= observer.messages.len()).then_some(())
        });
        let copies: Vec<_> = observer.messages.iter().map(|(_, copy)| copy.clone()).collect();
        assert_eq!(copies, sent);
    }
}

/// A message is as long as its packet, whatever the header says.
#[test]
fn lengths_that_lie_are_counted() {
    require_bpf!();
    require_admin!();
    let (a, b) = two_namespaces();
    let mut observer = Observer::load();
    let _card = b.inside(|| observer.kernel.attach_packets("b0", XdpMode::Native)).unwrap();
    for bytes in [65_535, 7, 8, 0] {
        a.inside(|| send_raw(bytes, &[7; 20]));
    }
    // A length that the header itself is longer than is refused by the parser.
    let refused = [counter::DNS_SHORT, counter::PACKET_HEADER];
    eventually("four lies", || (refused.map(|slot| observer.counter(slot)) == [3, 1]).then_some(()));
    a.inside(|| send_raw(28, &[7; 20]));
    eventually("a true one", || {
        observer.drain();
        (observer.messages.len() == 1).then_some(())
    });
    assert_eq!(observer.messages[0].1, [7; 20]);
}

/// What is not copied is counted, one by one.
#[test]
fn a_flood_is_throttled() {
    require_bpf!();
    require_admin!();
    const MESSAGES: u64 = 5000;
    let node = NetNs::new();
    let mut observer = Observer::load();
    let _hooks = attach(&mut observer, &node, "lo");
    let (sender, _receiver) = node.inside(|| {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        (sender, UdpSocket::bind("127.0.0.1:53").unwrap())
    });
    let query = dns::query(1, "one.test", A);
    for _ in 0..MESSAGES {
        sender.send_to(&query, "127.0.0.1:53").unwrap();
    }
    observer.drain();
    let (copied, throttled) = (observer.messages.len() as u64, observer.counter(counter::DNS_THROTTLED));
    println!("{copied} of {MESSAGES} copied, {throttled} throttled");
    assert_eq!(copied + throttled, MESSAGES);
    assert!((1..4 * DNS_MESSAGES_PER_SECOND).contains(&copied), "{copied}");
}

/// As the agent does on loopback, and on the node's end of a pod.
#[track_caller]
fn attach(observer: &mut Observer, namespace: &NetNs, name: &str) -> Vec<Hook> {
    namespace.inside(|| {
        let link = links::all().unwrap().into_iter().find(|it| it.name == name).unwrap();
        match name {
            "lo" => observer.kernel.attach_egress(&link).map(Vec::from),
            _ => observer.kernel.attach_workload(&link).map(Vec::from),
        }
        .unwrap()
    })
}

/// Asks for each of [`NAMES`]: two copies each, byte for byte, and lookups with their results.
#[track_caller]
fn lookups(observer: &mut Observer, from: &NetNs, at: &NetNs, resolver: IpAddr) {
    let client = Client::new(from, at, resolver);
    let mut sent = Vec::new();
    let mut took = Vec::new();
    for ((name, kind, _), id) in NAMES.iter().zip(1..) {
        let begin = clock::now();
        let answer = client.ask(id, name, *kind);
        took.push(clock::now().since(begin));
        sent.extend([dns::query(id, name, *kind), answer]);
    }
    copied(observer, &sent);
    for query in queries(observer) {
        assert_ne!(query.cookie, 0);
        assert_eq!(observer::address(query.source, query.source_port), client.address());
        assert_eq!(observer::address(query.destination, query.destination_port).ip(), resolver);
    }
    let (got, vitals) = assembled(observer);
    assert_eq!(vitals.get(Vital::DnsAnswersUnasked), 0);
    let readable: Vec<_> = NAMES.iter().zip(took).filter(|(it, _)| it.2 != "malformed").collect();
    assert_eq!(got.len(), readable.len());
    for (lookup, ((name, kind, want), took)) in got.iter().zip(readable) {
        // It asks from a thread of this process, whatever the hook could tell.
        assert_eq!(lookup.client.as_ref().map(|it| it.tgid.0), Some(std::process::id()));
        let Outcome::Answered { code, took: seen } = lookup.outcome else { panic!("{lookup:?}") };
        assert_eq!((&*lookup.question.name, lookup.question.kind.0), (*name, *kind));
        assert_eq!(format!("{}{}", code.name(), addresses(&decoded(observer), lookup)), *want);
        assert!(Duration::ZERO < seen && seen < took, "{seen:?} of {took:?}");
        println!("{name}: {want} in {seen:?}, {took:?} for the client");
    }
}

/// Waits for these copies; there must be no others.
#[track_caller]
fn copied(observer: &mut Observer, want: &[Vec<u8>]) {
    eventually("all messages", || {
        observer.drain();
        (want.len() <= observer.messages.len()).then_some(())
    });
    let copies: Vec<_> = observer.messages.iter().map(|(_, copy)| copy.clone()).collect();
    assert_eq!(copies, want);
}

/// What the agent makes of the copies.
fn assembled(observer: &Observer) -> (Vec<Lookup>, Arc<Vitals>) {
    let vitals = Arc::new(Vitals::new());
    let mut state = State::new(Arc::clone(&vitals), Duration::from_secs(60));
    let own = proc::read(Tgid(std::process::id()), &Clock::new()).unwrap();
    state.process(Arc::new(own));
    let mut events = observer.events.clone();
    events.retain(|it| matches!(it, Event::UdpOwner(_)));
    state.events(&events, clock::now());
    (state.messages(&decoded(observer), clock::now()), vitals)
}

fn decoded(observer: &Observer) -> Vec<DnsMessage> {
    observer.messages.iter().map(|(packet, copy)| message(packet, copy).unwrap()).collect()
}

fn addresses(messages: &[DnsMessage], lookup: &Lookup) -> String {
    let of = |it: &DnsMessage| match &it.body {
        Body::Answer { question: Some(question), addresses, .. } if *question == lookup.question => {
            Some(addresses.iter().map(|(ip, _)| format!(" {ip}")).collect::<Vec<_>>().concat())
        }
        _ => None,
    };
    messages.iter().find_map(of).unwrap_or_default()
}

fn queries(observer: &Observer) -> impl Iterator<Item = &DnsPacket> {
    observer.messages.iter().map(|(packet, _)| packet).filter(|it| it.destination_port == 53)
}

/// A socket that asks, and a resolver that answers on a thread of its own.
struct Client {
    socket: UdpSocket,
}

impl Client {
    #[track_caller]
    fn new(from: &NetNs, at: &NetNs, resolver: IpAddr) -> Self {
        let resolver = SocketAddr::new(resolver, 53);
        let server = at.inside(|| UdpSocket::bind(resolver)).unwrap();
        // It ends with the test's process.
        thread::spawn(move || dns::serve(&server));
        let any: IpAddr =
            if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = from.inside(|| UdpSocket::bind((any, 0))).unwrap();
        socket.connect(resolver).unwrap();
        socket.set_read_timeout(Some(tests::PATIENCE)).unwrap();
        Self { socket }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Returns the answer.
    #[track_caller]
    fn ask(&self, id: u16, name: &str, kind: u16) -> Vec<u8> {
        self.socket.send(&dns::query(id, name, kind)).unwrap();
        let mut answer = vec![0; 2048];
        let len = self.socket.recv(&mut answer).unwrap();
        answer.truncate(len);
        answer
    }
}

/// As [`Client`], over one connection.
struct TcpClient {
    stream: TcpStream,
}

impl TcpClient {
    #[track_caller]
    fn new(from: &NetNs, at: &NetNs, resolver: IpAddr) -> Self {
        let resolver = SocketAddr::new(resolver, 53);
        let server = at.inside(|| TcpListener::bind(resolver)).unwrap();
        // It ends with the test's process.
        thread::spawn(move || dns::serve_tcp(&server));
        let stream = from.inside(|| TcpStream::connect(resolver)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(tests::PATIENCE)).unwrap();
        Self { stream }
    }

    /// Returns the answer.
    #[track_caller]
    fn ask(&mut self, id: u16, name: &str, kind: u16) -> Vec<u8> {
        self.write(&dns::framed(&dns::query(id, name, kind)));
        self.receive()
    }

    /// A segment of its own.
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    #[track_caller]
    fn receive(&mut self) -> Vec<u8> {
        dns::receive(&mut self.stream).unwrap()
    }
}

/// A datagram from port 53 to `b` whose header gives it a length.
fn send_raw(bytes: u16, payload: &[u8]) {
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).unwrap();
    let mut packet = vec![0u8; 28];
    // Version and length, time to live, UDP; the kernel fills in the rest.
    (packet[0], packet[8], packet[9]) = (0x45, 64, 17);
    packet[12..16].copy_from_slice(&ADDRESS_A.octets());
    packet[16..20].copy_from_slice(&ADDRESS_B.octets());
    packet[20..22].copy_from_slice(&53u16.to_be_bytes());
    packet[22..24].copy_from_slice(&40_000u16.to_be_bytes());
    packet[24..26].copy_from_slice(&bytes.to_be_bytes());
    packet.extend(payload);
    raw.send_to(&packet, &SocketAddr::new(ADDRESS_B.into(), 0).into()).unwrap();
}
