//! A socket of rtnetlink: one question at a time, and its answer.

use std::{io, os::fd::OwnedFd, time::Duration};

use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use super::message::{self, Request, Said};

/// The kernel answers while it is asked; this is for what should not be.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel's messages are cut to what the reader has room for, at most this.
const MOST_BYTES: usize = 64 << 10;

/// Of the network namespace in which it was made, whichever its owner is in later.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    n_asked: u32,
}

impl Wire {
    pub(super) fn open() -> io::Result<Self> {
        // The protocol is rtnetlink if none is named.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, n_asked: 0 })
    }

    /// # Errors
    ///
    /// What the kernel refuses with.
    pub(super) fn ask(&mut self, request: Request) -> io::Result<Vec<Said>> {
        self.n_asked = self.n_asked.wrapping_add(1);
        send(&self.socket, &request.bytes(self.n_asked), SendFlags::empty())?;
        let (mut said, mut bytes) = (Vec::new(), vec![0; MOST_BYTES]);
        loop {
            let (n_bytes, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty())?;
            if self.take(&bytes[..n_bytes], &mut said)? {
                return Ok(said);
            }
        }
    }

    /// Whether the answer is whole.
    fn take(&self, mut datagram: &[u8], said: &mut Vec<Said>) -> io::Result<bool> {
        let unreadable = || io::Error::from(io::ErrorKind::InvalidData);
        while !datagram.is_empty() {
            let message = NetlinkBuffer::new_checked(datagram).map_err(|_| unreadable())?;
            let len = message.length() as usize;
            // One to a question that was given up.
            let is_late = message.sequence_number() != self.n_asked;
            let body = message.payload();
            match message.message_type() {
                _ if is_late => {}
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => {
                    let code = body.first_chunk().copied().map(i32::from_ne_bytes);
                    return match code.ok_or_else(unreadable)? {
                        0 => Ok(true),
                        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                    };
                }
                kind => said.extend(message::read(kind, body).ok_or_else(unreadable)?),
            }
            datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(false)
    }
}
