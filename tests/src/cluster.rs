//! [`Pods`] as Kubernetes has them: the address of a service that is translated to a pod's, and masquerade.

use std::net::{Ipv4Addr, SocketAddrV4};

use agent::kernel::{Hooked, Interfaces};

use crate::{
    NetNs, Observer, Pods,
    pods::{self, BRIDGE, CARD, POD_B, REMOTE},
};

/// Where the server pod and the host outside are to listen.
pub const BACKEND_PORT: u16 = 7100;
pub const BACKEND: SocketAddrV4 = SocketAddrV4::new(POD_B, BACKEND_PORT);
/// Of no interface: what is sent there comes to [`BACKEND`].
pub const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);

/// Who translates the service's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// netfilter on the node, which tracks connections for it, as kube-proxy has it.
    Tracked,
    /// Each packet for itself in the client's pod, as a program in eBPF may have it: nobody tracks.
    Untracked,
}

/// Removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    pub node: NetNs,
    /// A pod.
    pub client: NetNs,
    /// A pod, behind [`SERVICE`].
    pub server: NetNs,
    pub outside: NetNs,
}

impl Cluster {
    #[track_caller]
    pub fn new(translation: Translation) -> Self {
        let Pods { a: client, b: server, remote: outside, node } = Pods::new();
        // The service's address is no pod's: without a route there is nothing to translate.
        node.exec("ip", ["route", "add", "default", "via", &REMOTE.to_string()]);
        match translation {
            Translation::Tracked => _ = node.exec("nft", [tracked()]),
            Translation::Untracked => _ = client.exec("nft", [untracked()]),
        }
        Self { node, client, server, outside }
    }

    /// As [`Pods::hook`].
    #[track_caller]
    pub fn hook(&self, observer: &mut Observer) -> (Interfaces, Vec<Hooked>) {
        pods::hook(&self.node, observer)
    }
}

/// What a pod sends to a pod by way of the service would be answered past the node, hence the last rule.
fn tracked() -> String {
    let (service, port) = (SERVICE.ip(), SERVICE.port());
    let translate =
        ["tcp", "udp"].map(|it| format!("ip daddr {service} {it} dport {port} dnat to {BACKEND};")).concat();
    let pods = format!("{BRIDGE}/24");
    format!(
        "table ip cluster {{
            chain in {{ type nat hook prerouting priority -100; {translate} }}
            chain own {{ type nat hook output priority -100; {translate} }}
            chain out {{
                type nat hook postrouting priority 100;
                ip saddr {pods} oifname \"{CARD}\" masquerade;
                ip saddr {pods} ip daddr {pods} ct status dnat masquerade;
            }}
        }}"
    )
}

fn untracked() -> String {
    let (service, port) = (SERVICE.ip(), SERVICE.port());
    format!(
        "table ip cluster {{
            chain out {{
                type route hook output priority -300;
                ip daddr {service} tcp dport {port} ip daddr set {POD_B} tcp dport set {BACKEND_PORT};
            }}
            chain in {{
                type filter hook prerouting priority -300;
                ip saddr {POD_B} tcp sport {BACKEND_PORT} ip saddr set {service} tcp sport set {port};
            }}
        }}"
    )
}
