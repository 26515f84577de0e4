//! A node with two pods behind a bridge, and a host outside: all of them namespaces.

use std::net::Ipv4Addr;

use agent::{
    clock,
    config::settings::XdpMode,
    kernel::{Hooked, Interfaces},
    links::{self, Link},
};

use crate::{NetNs, Observer, eventually};

pub const POD_A: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);
pub const POD_B: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 3);
/// The node's, to its pods.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The node's, to the outside.
pub const UPLINK: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// Of [`Pods::macvlan`].
pub const MACVLAN: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 3);
/// Of [`Pods::vxlan`]: the remote host's.
pub const TUNNELLED: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The interface that stands for the node's network card.
pub const CARD: &str = "up0";

/// `vha` and `vhb` are the host's ends of the pods' pairs, on `br0`; `up0` leads outside.
pub struct Pods {
    pub a: NetNs,
    pub b: NetNs,
    pub remote: NetNs,
    pub node: NetNs,
}

impl Pods {
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it makes something outside of the process")]
    pub fn new() -> Self {
        let pods = Self { a: NetNs::new(), b: NetNs::new(), remote: NetNs::new(), node: NetNs::new() };
        let node = &pods.node;
        ip(node, "link add br0 type bridge");
        ip(node, &format!("address add {BRIDGE}/24 dev br0"));
        ip(node, "link set br0 up");
        for (pod, link, address) in [(&pods.a, "vha", POD_A), (&pods.b, "vhb", POD_B)] {
            pods.pod(pod, link, address);
        }
        node.veth(CARD, UPLINK, &pods.remote, "eth0", REMOTE);
        node.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
        ip(&pods.remote, &format!("route add 10.88.0.0/24 via {UPLINK}"));
        pods
    }

    /// Another pod, behind the interface `link` of the node.
    #[track_caller]
    pub fn pod(&self, pod: &NetNs, link: &str, address: Ipv4Addr) {
        ip(&self.node, &format!("link add {link} type veth peer name eth0 netns {}", pod.name()));
        ip(&self.node, &format!("link set {link} master br0 up"));
        ip(pod, &format!("address add {address}/24 dev eth0"));
        ip(pod, "link set eth0 up");
        ip(pod, &format!("route add default via {BRIDGE}"));
    }

    /// A tunnel between the node and the remote host.
    #[track_caller]
    pub fn vxlan(&self) {
        for (namespace, device, peer, address) in
            [(&self.node, CARD, REMOTE, "10.77.0.1"), (&self.remote, "eth0", UPLINK, "10.77.0.2")]
        {
            ip(namespace, &format!("link add vx0 type vxlan id 5 remote {peer} dstport 4789 dev {device}"));
            ip(namespace, &format!("address add {address}/24 dev vx0"));
            ip(namespace, "link set vx0 up");
        }
        ip(&self.remote, "route replace 10.88.0.0/24 via 10.77.0.1");
    }

    /// A pod that has no pair but a part of the card.
    #[track_caller]
    pub fn macvlan(&self) -> NetNs {
        let pod = NetNs::new();
        ip(&self.node, &format!("link add mv0 link {CARD} netns {} type macvlan mode bridge", pod.name()));
        ip(&pod, &format!("address add {MACVLAN}/24 dev mv0"));
        ip(&pod, "link set mv0 up");
        pod
    }

    /// Puts the programs on the node's interfaces, as the agent does.
    #[track_caller]
    pub fn hook(&self, observer: &mut Observer) -> (Interfaces, Vec<Hooked>) {
        hook(&self.node, observer)
    }

    /// Until there is nothing left to attach to.
    #[track_caller]
    pub fn settle(&self, interfaces: &mut Interfaces, observer: &mut Observer) -> Vec<Hooked> {
        settle(&self.node, interfaces, observer)
    }

    /// An interface of the node.
    #[track_caller]
    pub fn link(&self, name: &str) -> Link {
        let all = self.node.inside(links::all).expect("the kernel tells of interfaces");
        all.into_iter().find(|it| it.name == name).unwrap_or_else(|| panic!("the node has no {name}"))
    }
}

#[track_caller]
pub(crate) fn hook(node: &NetNs, observer: &mut Observer) -> (Interfaces, Vec<Hooked>) {
    let mut interfaces = node
        .inside(|| Interfaces::follow(XdpMode::Auto, &[CARD.to_owned()]))
        .expect("whoever makes namespaces may ask for interfaces");
    let hooked = settle(node, &mut interfaces, observer);
    (interfaces, hooked)
}

#[track_caller]
fn settle(node: &NetNs, interfaces: &mut Interfaces, observer: &mut Observer) -> Vec<Hooked> {
    let mut hooked = Vec::new();
    let kernel = &mut observer.kernel;
    node.inside(|| {
        eventually("programs on all interfaces", || {
            hooked.extend(interfaces.turn(kernel, clock::now()).expect("the kernel tells of interfaces"));
            interfaces.is_settled().then_some(())
        });
    });
    hooked
}

#[track_caller]
fn ip(namespace: &NetNs, words: &str) {
    namespace.exec("ip", words.split(' '));
}
