//! Programs on interfaces that come and go, beside those of others, and after a kill.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{self, Command, Stdio},
    time::Duration,
};

use agent::{
    clock::{self, Ktime},
    config::settings::{TcMode, XdpMode},
    kernel::{Forms, Hooked, Interfaces, Kernel, Options},
};
use agent_common::event::udp::place;
use tests::{
    NetNs, Observer, Pods, eventually,
    pods::{CARD, POD_B, UPLINK},
    require_admin, require_bpf, residue,
};

#[test]
fn each_kind_has_its_programs_and_the_rest_has_none() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    pods.vxlan();
    let mut observer = Observer::load();
    let (interfaces, hooked) = pods.hook(&mut observer);
    let mut told: Vec<String> =
        hooked.iter().map(|it| format!("{}: {}", it.interface, it.hooks.join("; "))).collect();
    told.sort();
    let pod = "tcx, ingress; tcx, egress";
    let want =
        ["lo: tcx, egress", "up0: xdp, native; tcx, egress", &format!("vha: {pod}"), &format!("vhb: {pod}")];
    assert_eq!(told, want);
    assert_eq!((interfaces.n_hooked(), interfaces.n_unknown()), (4, 0));
    assert_eq!(
        hooked[2..].iter().map(|it| it.interface.as_str()).collect::<Vec<_>>(),
        ["vhb", "vha"],
        "newest first"
    );
    println!("{told:?}");
}

/// While two others talk, of whom no byte is missed.
#[test]
fn pods_that_come_and_go_leave_nothing_and_disturb_nobody() {
    require_bpf!();
    require_admin!();
    const PODS: u32 = 50;
    const BYTES: usize = 100;
    let pods = Pods::new();
    let mut observer = Observer::load();
    let (mut interfaces, _) = pods.hook(&mut observer);
    let links = || residue::held_by(process::id()).into_iter().filter(|it| it.kind == "link").count();
    let links_before = links();
    let talker = pods.a.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let (mut sent, mut longest) = (0, Duration::ZERO);
    let mut hooked = Vec::new();
    for n in 0..PODS {
        let name = format!("flap{n}");
        let add = format!("link add {name} type veth peer name x netns {}", pods.b.name());
        pods.node.exec("ip", add.split(' '));
        pods.node.exec("ip", ["link", "set", &name, "up"]);
        sent += talker.send_to(&[0; BYTES], SocketAddr::from((POD_B, 9))).unwrap() as u64;
        // Every second one is gone before anybody looks.
        if n % 2 == 0 {
            longest = longest.max(turn(&pods, &mut interfaces, &mut observer, &mut hooked));
        }
        pods.node.exec("ip", ["link", "delete", &name]);
        longest = longest.max(turn(&pods, &mut interfaces, &mut observer, &mut hooked));
        sent += talker.send_to(&[0; BYTES], SocketAddr::from((POD_B, 9))).unwrap() as u64;
    }
    hooked.extend(pods.settle(&mut interfaces, &mut observer));
    let refused: Vec<_> = hooked.iter().flat_map(|it| &it.refused).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!((interfaces.n_hooked(), links()), (4, links_before));
    assert_eq!(counted(&mut observer), sent);
    assert_eq!(interfaces.n_unreadable(), 0);
    println!(
        "{PODS} pods: {} hooked in time, {} vanished before, {sent} bytes counted, longest turn {longest:?}",
        hooked.len(),
        interfaces.n_vanished()
    );
    assert!(!hooked.is_empty() && 0 < interfaces.n_vanished());
}

/// As the agent does each 50 ms; returns how long it took.
#[track_caller]
fn turn(
    pods: &Pods,
    interfaces: &mut Interfaces,
    observer: &mut Observer,
    hooked: &mut Vec<Hooked>,
) -> Duration {
    let kernel = &mut observer.kernel;
    pods.node.inside(|| {
        let begin = clock::now();
        // The pause is over.
        let now = Ktime(begin.0 + 1_000_000_000);
        hooked.extend(interfaces.turn(kernel, now).unwrap());
        clock::now().since(begin)
    })
}

/// Payload that was counted where it was sent.
#[track_caller]
pub(crate) fn counted(observer: &mut Observer) -> u64 {
    let mut bytes = 0;
    let sink = |row: agent_common::event::udp::FlowRow| {
        if row.key.place == place::SENT {
            bytes += row.count.bytes;
        }
    };
    observer.kernel.flows(sink).unwrap();
    bytes
}

/// Filters, which older kernels have instead, are not wished.
#[test]
fn without_tcx_there_is_xdp_on_cards_and_nothing_else() {
    require_bpf!();
    require_admin!();
    let pods = Pods::new();
    let forms = Forms { uprobe_multi: true, xdp_frags: true, tcx: false, received: true };
    let (kernel, refused) =
        Kernel::load(Options { forms: Some(forms), tc: TcMode::Tcx, ..Options::default() }).unwrap();
    let told: Vec<_> = refused.iter().map(|it| format!("{}: {}", it.feature, it.error)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("UDP and DNS of this node: this kernel has no links"), "{told:?}");
    let mut observer = Observer { kernel, events: Vec::new(), messages: Vec::new(), statements: Vec::new() };
    let (interfaces, hooked) = pods.hook(&mut observer);
    let told: Vec<_> =
        hooked.iter().map(|it| format!("{}: {:?} {:?}", it.interface, it.hooks, it.refused)).collect();
    assert_eq!(told, ["up0: [\"xdp, native\"] []"]);
    assert_eq!(interfaces.n_hooked(), 1);
    for (from, to) in [(&pods.a, POD_B), (&pods.remote, UPLINK)] {
        let talker = from.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        talker.send_to(&[0; 100], SocketAddr::from((to, 9))).unwrap();
    }
    let totals = eventually("what came in at the card", || {
        observer.kernel.flows(|_| ()).unwrap().filter(|it| it.bytes != 0)
    });
    assert_eq!((totals.bytes, counted(&mut observer)), (100, 0));
    let filters = ["vha", "vhb", CARD, "lo"].map(|it| pods.node.exec("tc", ["qdisc", "show", "dev", it]));
    assert!(filters.iter().all(|it| !it.contains("clsact")), "{filters:?}");
    println!("{}", refused[0].error);
}

/// For a child that is to run inside of a node.
const INSIDE: &str = "TASKSCOPE_TESTS_INSIDE";

/// With the programs on everything that there is; the child says so, and what it counted of its own.
fn child() {
    let mut observer = Observer::load();
    let mut interfaces = Interfaces::follow(XdpMode::Auto, &[CARD.to_owned()]).unwrap();
    let mut refused = Vec::new();
    eventually("programs on all interfaces", || {
        let hooked = interfaces.turn(&mut observer.kernel, clock::now()).unwrap();
        refused.extend(hooked.into_iter().flat_map(|it| it.refused));
        interfaces.is_settled().then_some(())
    });
    assert!(refused.is_empty(), "{refused:?}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let sent = socket.send_to(&[0; 1234], socket.local_addr().unwrap()).unwrap() as u64;
    assert_eq!(counted(&mut observer), sent);
    println!("holding {} interfaces, counted {sent} bytes", interfaces.n_hooked());
    // Until it is killed.
    drop(std::io::stdin().read_line(&mut String::new()));
}

#[test]
fn three_capabilities_are_enough_and_a_kill_leaves_nothing() {
    require_bpf!();
    if env::var_os(INSIDE).is_some() {
        return child();
    }
    require_admin!();
    let pods = Pods::new();
    let caps = "-all,+bpf,+perfmon,+net_admin";
    let mut command = pods.node.command("setpriv");
    command.args(["--bounding-set", caps, "--inh-caps", caps]).arg(env::current_exe().unwrap());
    command.args([
        "attach::three_capabilities_are_enough_and_a_kill_leaves_nothing",
        "--exact",
        "--nocapture",
    ]);
    let mut child = started(command.env(INSIDE, "yes"));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.find(|it| it.contains("holding")).expect("the child gets that far");
    let held = residue::held_by(child.id());
    let links = held.iter().filter(|it| it.kind == "link").count();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("an empty kernel", || residue::remaining(&held).is_empty().then_some(()));
    for name in ["vha", "vhb", CARD, "lo"] {
        let link = pods.node.exec("ip", ["-d", "link", "show", name]);
        assert!(!link.contains("xdp"), "{link}");
    }
    assert_eq!(said.split("holding").nth(1), Some(" 4 interfaces, counted 1234 bytes"));
    println!("with {caps}:{}; {links} links, and then none", said.split("holding").nth(1).unwrap());
}

#[track_caller]
fn started(command: &mut Command) -> process::Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Of an interface whose kind nobody knows nothing is made.
#[test]
fn a_namespace_without_anything_is_fine() {
    require_bpf!();
    require_admin!();
    let empty = NetNs::new();
    let mut observer = Observer::load();
    let missing = empty.inside(|| {
        let mut interfaces = Interfaces::follow(XdpMode::Auto, &["eth7".to_owned()]).unwrap();
        eventually("all interfaces", || {
            interfaces.turn(&mut observer.kernel, clock::now()).unwrap();
            interfaces.is_settled().then_some(())
        });
        interfaces.missing().iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(missing, ["eth7"]);
    let off = empty.inside(|| Interfaces::follow(XdpMode::Off, &[]).unwrap());
    assert_eq!(off.n_hooked(), 0);
}
