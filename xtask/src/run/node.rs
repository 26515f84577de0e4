//! A node with pods behind a bridge, as Kubernetes has them.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Context as _;

use super::NetNs;
use crate::sh;

/// The node's own address, to its pods.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

pub(crate) struct Node {
    pub(crate) namespace: NetNs,
    n_pods: u8,
}

pub(crate) struct Pod {
    pub(crate) namespace: NetNs,
    /// The node's end of the pair that leads to it.
    pub(crate) link: String,
    address: Ipv4Addr,
}

impl Node {
    pub(crate) fn new(namespace: NetNs) -> anyhow::Result<Self> {
        namespace.ip("link add br0 type bridge")?;
        namespace.ip(&format!("address add {GATEWAY}/24 dev br0"))?;
        namespace.ip("link set br0 up")?;
        sh::output(namespace.command("sysctl").args(["-qw", "net.ipv4.ip_forward=1"]))?;
        Ok(Self { namespace, n_pods: 0 })
    }

    pub(crate) fn pod(&mut self, word: &str) -> anyhow::Result<Pod> {
        self.n_pods = self.n_pods.checked_add(1).context("too many pods for one network")?;
        let [a, b, c, gateway] = GATEWAY.octets();
        let host = gateway.checked_add(self.n_pods).context("too many pods for one network")?;
        let address = Ipv4Addr::new(a, b, c, host);
        let (namespace, link) = (NetNs::new(word)?, format!("pod{}", self.n_pods));
        let pid = namespace.pid();
        self.namespace.ip(&format!("link add {link} type veth peer name eth0 netns {pid}"))?;
        self.namespace.ip(&format!("link set {link} master br0 up"))?;
        namespace.ip(&format!("address add {address}/24 dev eth0"))?;
        namespace.ip("link set eth0 up")?;
        namespace.ip(&format!("route add default via {GATEWAY}"))?;
        Ok(Pod { namespace, link, address })
    }

    /// How many programs an agent has to put on its interfaces: for both ways of each pod's, and for what leaves
    /// by the loopback.
    pub(super) fn n_hooks(&self) -> usize {
        1 + 2 * usize::from(self.n_pods)
    }

    /// From now on what comes for `service`, which is no interface's address, goes to `servers` in turns.
    ///
    /// A pod would answer another one past the node, with its own address: hence the masquerade.
    pub(crate) fn translate(&self, service: SocketAddrV4, servers: &[SocketAddrV4]) -> anyhow::Result<()> {
        let (ip, port, n) = (service.ip(), service.port(), servers.len());
        let servers: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(n, server)| format!("{n} : {} . {}", server.ip(), server.port()))
            .collect();
        let servers = servers.join(", ");
        self.nft(&format!(
            "table ip services {{
                chain in {{
                    type nat hook prerouting priority -100;
                    ip daddr {ip} tcp dport {port} dnat to numgen inc mod {n} map {{ {servers} }};
                }}
                chain out {{
                    type nat hook postrouting priority 100;
                    ip saddr {GATEWAY}/24 ip daddr {GATEWAY}/24 ct status dnat masquerade;
                }}
            }}"
        ))
    }

    /// From now on nothing of what pods send to `address` gets through, and nobody tells them.
    pub(crate) fn swallow(&self, address: Ipv4Addr) -> anyhow::Result<()> {
        self.nft(&format!(
            "table ip wall {{
                chain in {{
                    type filter hook prerouting priority -200;
                    ip daddr {address} drop;
                }}
            }}"
        ))
    }

    fn nft(&self, rules: &str) -> anyhow::Result<()> {
        sh::output(self.namespace.command("nft").arg(rules)).map(drop)
    }
}

impl Pod {
    pub(crate) fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }
}
