//! As much traffic as the machine makes between two network namespaces, which are joined directly or are
//! pods of a node. In a node the agent has programs on the interfaces.
//!
//! The client pays: on veth pairs the server's part of the stack runs on the client's time, too.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Context as _;

use super::{
    Programs,
    figure::Figure,
    pairs::{Measures, Pairs, Scenario},
    sum::Sum,
};
use crate::run::{NetNs, Network, Node, Process};

const SECONDS: &str = "2";
const MIB: f64 = 1024.0 * 1024.0;

/// What `target-conn` is told at both ends, and what it says. An address is between the first word and the rest.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) unit: &'static str,
    server: (&'static str, &'static [&'static str]),
    client: (&'static str, &'static [&'static str]),
    /// In the client's sum, and how much of it is a unit.
    noun: &'static str,
    size: f64,
}

pub(super) const BULK: Load = Load {
    unit: "MiB",
    server: ("bulk-recv", &[]),
    client: ("bulk-send", &[SECONDS]),
    noun: "bytes",
    size: MIB,
};
pub(super) const CONNECTIONS: Load = Load {
    unit: "connection",
    server: ("answer", &["2", "once"]),
    client: ("connect-rate", &[SECONDS, "2"]),
    noun: "connections",
    size: 1.0,
};
/// On connections that stay.
pub(super) const REQUESTS: Load = Load {
    unit: "request",
    server: ("answer", &["4", "always"]),
    client: ("request-rate", &[SECONDS, "4"]),
    noun: "requests",
    size: 1.0,
};
pub(super) const DATAGRAMS: Load = Load {
    unit: "datagram",
    server: ("datagram-answer", &[]),
    client: ("datagram-rate", &[SECONDS]),
    noun: "datagrams",
    size: 1.0,
};

#[derive(Clone, Copy)]
pub(super) enum Between {
    /// Joined directly, and not in the network that the agent looks at: it sees their sockets only.
    Neighbours,
    /// Of a node, where the agent has its programs on the interfaces.
    Pods,
}

/// A load and the two ends of it. Fields are dropped, and so ended, in this order.
pub(super) struct Traffic {
    load: Load,
    server: Process,
    address: String,
    client: NetNs,
    _server: NetNs,
    node: Option<Node>,
}

impl Traffic {
    pub(super) fn new(load: Load, between: Between, programs: &Programs) -> anyhow::Result<Self> {
        let (client, namespace, at, node) = match between {
            Between::Neighbours => {
                let [client, server] = [NetNs::new("client")?, NetNs::new("server")?];
                let [from, to] = [1, 2].map(|it| Ipv4Addr::new(10, 78, 0, it));
                NetNs::join([(&client, from), (&server, to)])?;
                (client, server, SocketAddrV4::new(to, 0), None)
            }
            Between::Pods => {
                let mut node = Node::new(NetNs::new("node")?)?;
                let [client, server] = [node.pod("client")?, node.pod("server")?];
                let at = server.at(0);
                (client.namespace, server.namespace, at, Some(node))
            }
        };
        let mut command = namespace.command(programs.cargo.join("target-conn"));
        let (mode, rest) = load.server;
        command.args([mode, &at.to_string()]).args(rest);
        let (server, address) = Process::listening("the server", &command)?;
        Ok(Self { load, server, address, client, _server: namespace, node })
    }

    pub(super) fn network(&self) -> Network<'_> {
        self.node.as_ref().map_or(Network::OfMachine, Network::Of)
    }

    /// Some seconds of it: how many units there were, and what the client said.
    pub(super) fn run(&mut self, programs: &Programs) -> anyhow::Result<(f64, Sum)> {
        self.server.must_run()?;
        let mut command = self.client.command(programs.cargo.join("target-conn"));
        let (mode, rest) = self.load.client;
        let sum = Sum::of(command.args([mode, &self.address]).args(rest))?;
        Ok((sum.done(self.load.noun)? / self.load.size, sum))
    }
}

/// How much of a load there is without the agent, and with it.
pub(super) struct Rate {
    load: Load,
    between: Between,
    figure: &'static str,
    at_least: f64,
    traffic: Option<Traffic>,
}

impl Rate {
    pub(super) fn new(load: Load, between: Between, figure: &'static str, at_least: f64) -> Self {
        Self { load, between, figure, at_least, traffic: None }
    }
}

impl Scenario for Rate {
    fn unit(&self) -> &'static str {
        self.load.unit
    }

    fn prepare(&mut self, programs: &Programs) -> anyhow::Result<()> {
        self.traffic = Some(Traffic::new(self.load, self.between, programs)?);
        Ok(())
    }

    fn probed(&self) -> Option<u32> {
        None
    }

    fn network(&self) -> Network<'_> {
        self.traffic.as_ref().map_or(Network::OfMachine, Traffic::network)
    }

    fn round(&mut self, programs: &Programs) -> anyhow::Result<Measures> {
        let (n, sum) = self.traffic.as_mut().context("the server runs")?.run(programs)?;
        Ok(Measures {
            target_cpu_us_per_unit: sum.number("cpu_seconds")? * 1e6 / n,
            units_per_second: n / sum.number("seconds")?,
        })
    }

    fn figures(&self, pairs: &Pairs) -> Vec<Figure> {
        vec![pairs.rate_ratio(self.figure, self.at_least)]
    }
}
