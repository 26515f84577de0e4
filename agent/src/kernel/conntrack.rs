//! Asks the kernel's connection tracking which server is behind a translated address.
//!
//! It answers for the network namespace of the thread that opened it, while the call that asks lasts:
//! some microseconds.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use agent_common::pure::packet::TCP;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple},
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::NETFILTER,
    recv, send, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

/// There where the kernel tracks connections. Who asks where it does not would have it load modules.
const SIGN: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// An answer is there when the question is sent; this is for what should not be.
const PATIENCE: Duration = Duration::from_secs(1);
/// `NLMSG_GOODSIZE`, and more than an entry takes with all its attributes.
const MAX_ANSWER_BYTES: usize = 8192;

/// Why it does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    #[error("this kernel, or this network namespace, does not track connections")]
    Absent,
    #[error("cannot ask; it needs CAP_NET_ADMIN and the kernel's nf_conntrack_netlink")]
    Ask { source: io::Error },
    #[error("the answer is none")]
    Answer,
}

/// A connection, as one of its ends names both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

/// A socket to ask by.
#[derive(Debug)]
pub struct Conntrack {
    socket: OwnedFd,
    n_asked: u32,
}

impl Conntrack {
    /// # Errors
    ///
    /// When nothing is tracked here, or the kernel refuses to tell.
    pub fn open() -> Result<Self, ConntrackError> {
        if !fs::exists(SIGN).unwrap_or(false) {
            return Err(ConntrackError::Absent);
        }
        let ask = |source: rustix::io::Errno| ConntrackError::Ask { source: source.into() };
        let family = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = socket_with(family.0, family.1, SocketFlags::CLOEXEC, Some(NETFILTER)).map_err(ask)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(ask)?;
        let mut conntrack = Self { socket, n_asked: 0 };
        // Of no connection, to hear now whether it answers.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        conntrack.at_server(TCP, &Ends { client: nowhere, server: nowhere })?;
        Ok(conntrack)
    }

    /// How the server names the ends of a connection, or of what goes to and fro over UDP, that the client names so;
    /// `None` when it is not tracked. `protocol`: its number.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to tell, or says what is not understood.
    pub fn at_server(&mut self, protocol: u8, at_client: &Ends) -> Result<Option<Ends>, ConntrackError> {
        self.n_asked = self.n_asked.wrapping_add(1);
        let failed = |source: rustix::io::Errno| ConntrackError::Ask { source: source.into() };
        send(&self.socket, &question(protocol, at_client, self.n_asked), SendFlags::empty())
            .map_err(failed)?;
        let mut bytes = [0; MAX_ANSWER_BYTES];
        loop {
            let (n_bytes, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty()).map_err(failed)?;
            let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&bytes[..n_bytes])
                .map_err(|_| ConntrackError::Answer)?;
            // A late one, to a question that was given up.
            if answer.header.sequence_number == self.n_asked {
                return meaning(at_client, &answer.payload);
            }
        }
    }
}

fn question(protocol: u8, Ends { client, server }: &Ends, number: u32) -> Vec<u8> {
    let tuple = vec![
        Tuple::Ip(vec![IPTuple::SourceAddress(client.ip()), IPTuple::DestinationAddress(server.ip())]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(Protocol::from(protocol)),
            ProtoTuple::SourcePort(client.port()),
            ProtoTuple::DestinationPort(server.port()),
        ]),
    ];
    let family = match client.ip() {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    };
    let get = ConntrackMessage::Get(vec![ConntrackAttribute::CtaTupleOrig(tuple)]);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = number;
    let body = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), get);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(body));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn meaning(
    at_client: &Ends,
    answer: &NetlinkPayload<NetfilterMessage>,
) -> Result<Option<Ends>, ConntrackError> {
    match answer {
        NetlinkPayload::Error(error) => {
            let source = error.to_io();
            match source.raw_os_error() {
                Some(libc::ENOENT) => Ok(None),
                _ => Err(ConntrackError::Ask { source }),
            }
        }
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::Conntrack(ConntrackMessage::New(entry)),
            ..
        }) => {
            let (mut began, mut replied) = (None, None);
            for part in entry {
                match part {
                    ConntrackAttribute::CtaTupleOrig(tuple) => began = ends(tuple),
                    ConntrackAttribute::CtaTupleReply(tuple) => replied = ends(tuple),
                    _ => {}
                }
            }
            let ([client, server], [replies, hears]) = began.zip(replied).ok_or(ConntrackError::Answer)?;
            // An entry is found by either way: who was taken for the client is the server of this one.
            let is_asked_for = Ends { client, server } == *at_client;
            Ok(is_asked_for.then_some(Ends { client: hears, server: replies }))
        }
        _ => Err(ConntrackError::Answer),
    }
}

/// Who sends, and who it is sent to.
fn ends(tuple: &[Tuple]) -> Option<[SocketAddr; 2]> {
    let (mut ips, mut ports) = ([None; 2], [None; 2]);
    for part in tuple {
        match part {
            Tuple::Ip(parts) => {
                for part in parts {
                    match part {
                        IPTuple::SourceAddress(ip) => ips[0] = Some(ip.to_canonical()),
                        IPTuple::DestinationAddress(ip) => ips[1] = Some(ip.to_canonical()),
                        _ => {}
                    }
                }
            }
            Tuple::Proto(parts) => {
                for part in parts {
                    match part {
                        ProtoTuple::SourcePort(port) => ports[0] = Some(*port),
                        ProtoTuple::DestinationPort(port) => ports[1] = Some(*port),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let socket = |n: usize| Some(SocketAddr::new(ips[n]?, ports[n]?));
    Some([socket(0)?, socket(1)?])
}
