//! The ends of a bench of small datagrams. They go in bursts, of which none is lost: the next one waits until the
//! other end says that it had this one whole.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use crate::{bench::report_rate, commands::PATIENCE};

/// Together they take up less than a tenth of the usual receive buffer.
const BURST: u64 = 32;
const BYTES: usize = 64;
/// In the first byte.
const MORE: u8 = 0;
const LAST: u8 = 1;

pub(crate) fn answer(listen: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(listen)?;
    println!("ready\nlistening {}", socket.local_addr()?);
    serve(&socket)
}

fn serve(socket: &UdpSocket) -> io::Result<()> {
    let (mut bytes, mut n) = ([0; BYTES], 0_u64);
    loop {
        let (_, peer) = socket.recv_from(&mut bytes)?;
        n += 1;
        if bytes[0] == LAST {
            socket.send_to(&n.to_le_bytes(), peer)?;
            n = 0;
        }
    }
}

pub(crate) fn rate(to: SocketAddr, length: Duration) -> io::Result<()> {
    println!("ready");
    report_rate("datagrams", NonZeroUsize::MIN, |start| {
        let mut done = 0;
        match bursts(to, start, length, &mut done) {
            Ok(()) => (done, 0),
            Err(_) => (done, 1),
        }
    });
    Ok(())
}

fn bursts(to: SocketAddr, start: Instant, length: Duration, done: &mut u64) -> io::Result<()> {
    let any = SocketAddr::new(if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut n = [0; 8];
    while start.elapsed() < length {
        for _ in 1..BURST {
            socket.send(&[MORE; BYTES])?;
        }
        socket.send(&[LAST; BYTES])?;
        socket.recv(&mut n)?;
        if u64::from_le_bytes(n) != BURST {
            return Err(io::Error::other("a datagram was lost"));
        }
        *done += BURST;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    fn each_datagram_of_a_burst_is_counted() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = server.local_addr().unwrap();
        thread::spawn(move || serve(&server));
        let mut done = 0;
        bursts(at, Instant::now(), Duration::from_millis(20), &mut done).unwrap();
        assert!(0 < done && done % BURST == 0, "{done}");
        // Nobody says that it had anything.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = silent.local_addr().unwrap();
        drop(silent);
        assert!(bursts(to, Instant::now(), Duration::from_secs(1), &mut done).is_err());
    }
}
