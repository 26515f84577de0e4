//! Datagrams.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use serde_json::{Value, json};

use crate::commands::PATIENCE;

/// The largest datagram.
const MAX_BYTES: usize = 65_507;

pub(crate) fn open(at: SocketAddr, peer: Option<SocketAddr>) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = UdpSocket::bind(at)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    if let Some(peer) = peer {
        socket.connect(peer)?;
    }
    let local = socket.local_addr()?;
    Ok((socket, local))
}

pub(crate) fn send(
    socket: &UdpSocket,
    to: SocketAddr,
    n: usize,
    n_bytes: usize,
    segment: Option<u16>,
) -> io::Result<Value> {
    let bytes = vec![b'u'; n_bytes.min(MAX_BYTES)];
    cut_into(socket, segment.unwrap_or(0))?;
    let mut sent = 0;
    for _ in 0..n {
        sent += match socket.peer_addr() {
            Ok(_) => socket.send(&bytes)?,
            Err(_) => socket.send_to(&bytes, to)?,
        };
    }
    Ok(json!({"bytes": sent}))
}

/// The kernel cuts what is sent at once into datagrams of this size; 0: it does not.
fn cut_into(socket: &UdpSocket, segment: u16) -> io::Result<()> {
    // include/uapi/linux/udp.h
    const UDP_SEGMENT: libc::c_int = 103;
    let segment = libc::c_int::from(segment);
    // SAFETY: the option is an int, and so is the value, which outlives the call.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            UDP_SEGMENT,
            (&raw const segment).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(crate) fn recv(socket: &UdpSocket, n: usize) -> io::Result<Value> {
    let mut buffer = vec![0; MAX_BYTES];
    let (mut bytes, mut from) = (0, None);
    for _ in 0..n {
        match socket.recv_from(&mut buffer) {
            Ok((n_bytes, peer)) => {
                bytes += n_bytes;
                from = Some(peer);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(json!({"bytes": bytes, "from": from}))
}
