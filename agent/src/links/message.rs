//! Messages of rtnetlink: bytes in, changes out. Total: what is no message is left out and counted.

use netlink_packet_core::NlasIterator;

use super::{Change, Link, kind::Traits};

// include/uapi/linux/netlink.h, rtnetlink.h, if_link.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;

const HEADER_BYTES: usize = 16;
const IFINFO_BYTES: usize = 16;
/// Of bridges, which repeat their ports in messages of a family of their own.
const AF_UNSPEC: u8 = 0;

/// Asks for all interfaces.
pub(super) fn dump_request(sequence: u32) -> [u8; HEADER_BYTES + IFINFO_BYTES] {
    let mut request = [0; HEADER_BYTES + IFINFO_BYTES];
    let len = request.len() as u32;
    request[..4].copy_from_slice(&len.to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request
}

/// What a datagram says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) changes: Vec<Change>,
    /// `errno`, negative.
    pub(super) error: Option<i32>,
    pub(super) n_unreadable: usize,
}

pub(super) fn read(mut datagram: &[u8]) -> Said {
    let mut said = Said::default();
    while !datagram.is_empty() {
        let Some((kind, body, rest)) = split(datagram) else {
            said.n_unreadable += 1;
            return said;
        };
        match kind {
            NLMSG_DONE => said.changes.push(Change::Whole),
            NLMSG_ERROR => said.error = at(body, 0).map(i32::from_ne_bytes),
            RTM_NEWLINK | RTM_DELLINK => match change(kind, body) {
                Some(change) => said.changes.extend(change),
                None => said.n_unreadable += 1,
            },
            _ => {}
        }
        datagram = rest;
    }
    said
}

/// The first message's type and body, and what comes after it.
fn split(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(at(datagram, 0)?) as usize;
    let kind = u16::from_ne_bytes(at(datagram, 4)?);
    let body = datagram.get(HEADER_BYTES..len)?;
    let rest = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, rest))
}

/// `None` when it cannot be read, nothing inside when it says nothing of interfaces.
fn change(kind: u16, body: &[u8]) -> Option<Option<Change>> {
    let family = *body.first()?;
    let index = u32::try_from(i32::from_ne_bytes(at(body, 4)?)).ok()?;
    let attributes = body.get(IFINFO_BYTES..)?;
    if family != AF_UNSPEC {
        return Some(None);
    }
    if kind == RTM_DELLINK {
        return Some(Some(Change::Gone(index)));
    }
    let hardware = u16::from_ne_bytes(at(body, 2)?);
    let traits = traits(hardware, attributes)?;
    let name = traits.name.clone();
    Some(Some(Change::There(Link { index, name, kind: traits.classify() })))
}

fn traits(hardware: u16, attributes: &[u8]) -> Option<Traits> {
    let mut traits = Traits { hardware, ..Traits::default() };
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            IFLA_IFNAME => traits.name = text(attribute.value()),
            IFLA_LINK_NETNSID => traits.has_far_peer = true,
            IFLA_PARENT_DEV_NAME => traits.has_device = true,
            IFLA_LINKINFO => {
                for inner in NlasIterator::new(attribute.value()) {
                    let inner = inner.ok()?;
                    match inner.kind() {
                        IFLA_INFO_KIND => traits.kind = Some(text(inner.value())),
                        IFLA_INFO_SLAVE_KIND => traits.master_kind = Some(text(inner.value())),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (!traits.name.is_empty()).then_some(traits)
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Kind;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, family: u8, index: i32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![family, 0, 1, 0];
        body.extend(index.to_ne_bytes());
        body.extend([0; 8]);
        body.extend(attributes.concat());
        let mut bytes = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn veth() -> Vec<u8> {
        pod(b"veth", b"veth1\0", &[])
    }

    /// The host's end of a pod's pair; `data`: what the driver says of it.
    fn pod(kind: &[u8], name: &[u8], data: &[u8]) -> Vec<u8> {
        const IFLA_INFO_DATA: u16 = 2;
        let data = if data.is_empty() { Vec::new() } else { attribute(IFLA_INFO_DATA, data) };
        let info = attribute(IFLA_LINKINFO, &[attribute(IFLA_INFO_KIND, kind), data].concat());
        message(
            RTM_NEWLINK,
            AF_UNSPEC,
            7,
            &[attribute(IFLA_IFNAME, name), info, attribute(IFLA_LINK_NETNSID, &[0; 4])],
        )
    }

    /// As Linux 6.7 and later say it (drivers/net/netkit.c); many kernels are built without, so it is not made here.
    #[test]
    fn a_netkit_pair_is_told_from_a_veth_pair() {
        const IFLA_NETKIT_PRIMARY: u16 = 2;
        const IFLA_NETKIT_POLICY: u16 = 3;
        const IFLA_NETKIT_PEER_POLICY: u16 = 4;
        const IFLA_NETKIT_MODE: u16 = 5;
        let number = |kind, value: u32| attribute(kind, &value.to_ne_bytes());
        let data = [
            attribute(IFLA_NETKIT_PRIMARY, &[1]),
            number(IFLA_NETKIT_POLICY, 0),
            number(IFLA_NETKIT_MODE, 1),
            number(IFLA_NETKIT_PEER_POLICY, 2),
        ];
        let said = read(&pod(b"netkit\0", b"lxc1\0", &data.concat()));
        let link = Link { index: 7, name: "lxc1".to_owned(), kind: Kind::Netkit };
        assert_eq!(said, Said { changes: vec![Change::There(link)], ..Said::default() });
    }

    #[test]
    fn messages_are_read_in_order() {
        const AF_BRIDGE: u8 = 7;
        let gone = message(RTM_DELLINK, AF_UNSPEC, 9, &[]);
        let port = message(RTM_NEWLINK, AF_BRIDGE, 9, &[]);
        let done = message(NLMSG_DONE, 0, 0, &[]);
        let said = read(&[veth(), gone, port, done].concat());
        let link = Link { index: 7, name: "veth1".to_owned(), kind: Kind::Workload };
        let changes = vec![Change::There(link), Change::Gone(9), Change::Whole];
        assert_eq!(said, Said { changes, error: None, n_unreadable: 0 });
        let mut refused = message(NLMSG_ERROR, 0, 0, &[]);
        refused[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(read(&refused).error, Some(-libc::EPERM));
    }

    #[test]
    fn a_cut_message_is_counted_and_never_a_panic() {
        let whole = veth();
        for len in 1..whole.len() {
            assert_eq!(read(&whole[..len]), Said { n_unreadable: 1, ..Said::default() }, "{len}");
            let mut lying = whole.clone();
            lying[..4].copy_from_slice(&(len as u32).to_ne_bytes());
            read(&lying);
        }
        for n in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut wrong = whole.clone();
                wrong[n] = value;
                read(&wrong);
            }
        }
    }
}
