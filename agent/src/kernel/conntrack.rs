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
        conntrack.server_of(nowhere, nowhere)?;
        Ok(conntrack)
    }

    /// Where the connection that a client made to `server` has its server; `None` when it is not tracked.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to tell, or says what is not understood.
    pub fn server_of(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Option<SocketAddr>, ConntrackError> {
        self.n_asked = self.n_asked.wrapping_add(1);
        let failed = |source: rustix::io::Errno| ConntrackError::Ask { source: source.into() };
        send(&self.socket, &question(client, server, self.n_asked), SendFlags::empty()).map_err(failed)?;
        let mut bytes = [0; MAX_ANSWER_BYTES];
        loop {
            let (n_bytes, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty()).map_err(failed)?;
            let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&bytes[..n_bytes])
                .map_err(|_| ConntrackError::Answer)?;
            // A late one, to a question that was given up.
            if answer.header.sequence_number == self.n_asked {
                return meaning(&answer.payload);
            }
        }
    }
}

fn question(client: SocketAddr, server: SocketAddr, number: u32) -> Vec<u8> {
    let tuple = vec![
        Tuple::Ip(vec![IPTuple::SourceAddress(client.ip()), IPTuple::DestinationAddress(server.ip())]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(Protocol::Tcp),
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

/// Whoever answers the client is the server.
fn meaning(answer: &NetlinkPayload<NetfilterMessage>) -> Result<Option<SocketAddr>, ConntrackError> {
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
            let reply = entry.iter().find_map(|it| match it {
                ConntrackAttribute::CtaTupleReply(tuple) => Some(tuple),
                _ => None,
            });
            reply.and_then(|it| sender(it)).map(Some).ok_or(ConntrackError::Answer)
        }
        _ => Err(ConntrackError::Answer),
    }
}

fn sender(tuple: &[Tuple]) -> Option<SocketAddr> {
    let (mut ip, mut port) = (None, None);
    for part in tuple {
        match part {
            Tuple::Ip(parts) => {
                for part in parts {
                    if let IPTuple::SourceAddress(address) = part {
                        ip = Some(address.to_canonical());
                    }
                }
            }
            Tuple::Proto(parts) => {
                for part in parts {
                    if let ProtoTuple::SourcePort(number) = part {
                        port = Some(*number);
                    }
                }
            }
            _ => {}
        }
    }
    Some(SocketAddr::new(ip?, port?))
}
