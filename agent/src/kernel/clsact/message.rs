//! Messages of rtnetlink about qdiscs and filters: requests as bytes, and what an answer says. Total: an answer that
//! cannot be read is an error, never a guess.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NlasIterator};

use super::super::packets::Side;

// include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAGS_GEN: u16 = 9;
const TCA_BPF_ID: u16 = 11;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// Not to be handed to the card: what runs there does not see sockets.
const TCA_CLS_FLAGS_SKIP_HW: u32 = 1;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const TC_H_CLSACT_QDISC: u32 = 0xffff_0000;
const TC_H_MIN_INGRESS: u32 = 0xffff_fff2;
const TC_H_MIN_EGRESS: u32 = 0xffff_fff3;
const ETH_P_ALL: u16 = 3;

const HEADER_BYTES: usize = 16;
const TCMSG_BYTES: usize = 20;
pub(super) const CLSACT: &str = "clsact";
const BPF: &str = "bpf";

/// What is asked of the kernel; its answer ends with a word of its own.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Qdisc(Qdisc),
    Filter(Row),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Qdisc {
    pub(super) ifindex: u32,
    pub(super) kind: String,
    /// Of ingress and clsact qdiscs, which have the same handle: an interface has one of them at most.
    pub(super) is_at_the_door: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) handle: u32,
    pub(super) priority: u16,
    /// Only the first, 0, is asked for each packet.
    pub(super) chain: u32,
    pub(super) kind: String,
    pub(super) name: String,
    /// As the kernel numbers programs; 0: it is no program.
    pub(super) program: u32,
}

impl Row {
    /// What holds filters of programs, and no filter itself.
    fn is_head(&self) -> bool {
        self.kind == BPF && self.handle == 0
    }
}

/// Which filter of an interface is meant.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) ifindex: u32,
    pub(super) side: Side,
    pub(super) priority: u16,
    pub(super) handle: u32,
}

impl Request {
    fn new(kind: u16, flags: u16, [ifindex, handle, parent, info]: [u32; 4]) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend([0; 4]);
        for word in [ifindex, handle, parent, info] {
            bytes.extend(word.to_ne_bytes());
        }
        Self(bytes)
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        put(&mut self.0, kind, value);
        self
    }

    pub(super) fn qdiscs() -> Self {
        Self::new(RTM_GETQDISC, NLM_F_DUMP, [0; 4])
    }

    /// Refused where there is one, or one of the older kind.
    pub(super) fn add_qdisc(ifindex: u32) -> Self {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let kind = text(CLSACT);
        Self::new(RTM_NEWQDISC, flags, [ifindex, TC_H_CLSACT_QDISC, TC_H_CLSACT, 0]).with(TCA_KIND, &kind)
    }

    pub(super) fn delete_qdisc(ifindex: u32) -> Self {
        let place = [ifindex, TC_H_CLSACT_QDISC, TC_H_CLSACT, 0];
        Self::new(RTM_DELQDISC, NLM_F_ACK, place).with(TCA_KIND, &text(CLSACT))
    }

    pub(super) fn filters(ifindex: u32, side: Side) -> Self {
        Self::new(RTM_GETTFILTER, NLM_F_DUMP, [ifindex, 0, parent(side), 0])
    }

    /// For packets of all protocols. Refused where there is one with this handle.
    pub(super) fn add_filter(at: At, name: &str, program: u32) -> Self {
        let mut options = Vec::new();
        put(&mut options, TCA_BPF_FD, &program.to_ne_bytes());
        put(&mut options, TCA_BPF_NAME, &text(name));
        put(&mut options, TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
        put(&mut options, TCA_BPF_FLAGS_GEN, &TCA_CLS_FLAGS_SKIP_HW.to_ne_bytes());
        Self::filter(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, at).with(TCA_OPTIONS, &options)
    }

    pub(super) fn delete_filter(at: At) -> Self {
        Self::filter(RTM_DELTFILTER, NLM_F_ACK, at)
    }

    fn filter(kind: u16, flags: u16, At { ifindex, side, priority, handle }: At) -> Self {
        let info = u32::from(priority) << 16 | u32::from(ETH_P_ALL.to_be());
        Self::new(kind, flags, [ifindex, handle, parent(side), info]).with(TCA_KIND, &text(BPF))
    }

    /// As it is sent; `number` comes back with the answer.
    pub(super) fn bytes(mut self, number: u32) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0[8..12].copy_from_slice(&number.to_ne_bytes());
        self.0
    }
}

fn parent(side: Side) -> u32 {
    match side {
        Side::Ingress => TC_H_MIN_INGRESS,
        Side::Egress => TC_H_MIN_EGRESS,
    }
}

fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    const HEADER_BYTES: usize = 4;
    bytes.extend(((HEADER_BYTES + value.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn text(words: &str) -> Vec<u8> {
    [words.as_bytes(), &[0]].concat()
}

/// A message of an answer; nothing when it says nothing of qdiscs and filters, `None` when it cannot be read.
pub(super) fn read(kind: u16, body: &[u8]) -> Option<Option<Said>> {
    if ![RTM_NEWQDISC, RTM_NEWTFILTER].contains(&kind) {
        return Some(None);
    }
    let word = |at: usize| body.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes);
    let (ifindex, handle, parent, info) = (word(4)?, word(8)?, word(12)?, word(16)?);
    let attributes = body.get(TCMSG_BYTES..)?;
    if kind == RTM_NEWQDISC {
        let kind = row(attributes)?.kind;
        return Some(Some(Said::Qdisc(Qdisc { ifindex, kind, is_at_the_door: parent == TC_H_CLSACT })));
    }
    let row = Row { handle, priority: (info >> 16) as u16, ..row(attributes)? };
    Some((!row.is_head()).then_some(Said::Filter(row)))
}

fn row(attributes: &[u8]) -> Option<Row> {
    let mut row = Row::default();
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            TCA_KIND => row.kind = words(attribute.value()),
            TCA_CHAIN => row.chain = number(attribute.value())?,
            _ => {}
        }
    }
    // Options are of the kind's own form.
    if row.kind != BPF {
        return Some(row);
    }
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        if attribute.kind() != TCA_OPTIONS {
            continue;
        }
        for option in NlasIterator::new(attribute.value()) {
            let option = option.ok()?;
            match option.kind() {
                TCA_BPF_NAME => row.name = words(option.value()),
                TCA_BPF_ID => row.program = number(option.value())?,
                _ => {}
            }
        }
    }
    Some(row)
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}

fn words(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of a message: what a request has after its header has the same form.
    fn body(request: Request) -> Vec<u8> {
        request.0[HEADER_BYTES..].to_vec()
    }

    fn filter() -> Vec<u8> {
        let mut options = Vec::new();
        put(&mut options, TCA_BPF_NAME, b"taskscope_to\0");
        put(&mut options, TCA_BPF_ID, &77u32.to_ne_bytes());
        let at = At { ifindex: 7, side: Side::Egress, priority: 1, handle: 5 };
        let request = Request::filter(RTM_NEWTFILTER, 0, at).with(TCA_CHAIN, &3u32.to_ne_bytes());
        body(request.with(TCA_OPTIONS, &options))
    }

    #[test]
    fn what_is_said_is_read() {
        let row = Row {
            handle: 5,
            priority: 1,
            chain: 3,
            kind: BPF.into(),
            name: "taskscope_to".into(),
            program: 77,
        };
        assert_eq!(read(RTM_NEWTFILTER, &filter()), Some(Some(Said::Filter(row))));
        let head = At { ifindex: 7, side: Side::Egress, priority: 1, handle: 0 };
        assert_eq!(read(RTM_NEWTFILTER, &body(Request::delete_filter(head))), Some(None));
        let qdisc = Qdisc { ifindex: 9, kind: CLSACT.into(), is_at_the_door: true };
        assert_eq!(read(RTM_NEWQDISC, &body(Request::add_qdisc(9))), Some(Some(Said::Qdisc(qdisc))));
        assert_eq!(read(RTM_DELTFILTER, &filter()), Some(None));
    }

    /// Options of other kinds have other forms.
    #[test]
    fn filters_of_other_kinds_are_no_programs() {
        let request = Request::new(RTM_NEWTFILTER, 0, [7, 0x8000_0000, TC_H_MIN_INGRESS, 1 << 16]);
        let body = body(request.with(TCA_KIND, b"u32\0").with(TCA_OPTIONS, &[1, 2, 3]));
        let row = Row { handle: 0x8000_0000, priority: 1, kind: "u32".into(), ..Row::default() };
        assert_eq!(read(RTM_NEWTFILTER, &body), Some(Some(Said::Filter(row))));
    }

    #[test]
    fn a_cut_message_is_refused_and_never_a_panic() {
        let whole = filter();
        for len in 0..TCMSG_BYTES {
            assert_eq!(read(RTM_NEWTFILTER, &whole[..len]), None, "{len}");
        }
        for len in TCMSG_BYTES..whole.len() {
            read(RTM_NEWTFILTER, &whole[..len]);
        }
        for n in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut wrong = whole.clone();
                wrong[n] = value;
                read(RTM_NEWTFILTER, &wrong);
            }
        }
    }
}
