//! Keeps an HTTP server busy, and asks as little of the machine as it can: many requests in one write,
//! and no wake-up before all of their answers are there.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use crate::{bench::report_rate, commands::PATIENCE};

/// Requests in one write. All of their answers fit into the smallest receive buffer.
const PIPELINED: usize = 8;
const OK: &[u8] = b"HTTP/1.1 200";

pub(crate) fn http_rate(
    to: SocketAddr,
    path: &str,
    length: Duration,
    connections: NonZeroUsize,
) -> io::Result<()> {
    println!("ready");
    report_rate("requests", connections, |start| {
        let mut done = 0;
        match ask(to, path, start, length, &mut done) {
            Ok(()) => (done, 0),
            Err(_) => (done, 1),
        }
    });
    Ok(())
}

/// The same request again and again. An answer is as long as the first, which is read with more care.
fn ask(to: SocketAddr, path: &str, start: Instant, length: Duration, done: &mut u64) -> io::Result<()> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    (&stream).write_all(request.as_bytes())?;
    let answer_bytes = first_answer(&stream)?;
    *done += 1;
    let requests = request.repeat(PIPELINED);
    let mut answers = vec![0; answer_bytes * PIPELINED];
    while start.elapsed() < length {
        (&stream).write_all(requests.as_bytes())?;
        read_exact(&stream, &mut answers)?;
        if !answers.chunks(answer_bytes).all(|answer| answer.starts_with(OK)) {
            return Err(io::Error::new(ErrorKind::InvalidData, "an answer is none, or not as long"));
        }
        *done += PIPELINED as u64;
    }
    Ok(())
}

/// Its length with the head.
fn first_answer(stream: &TcpStream) -> io::Result<usize> {
    let mut reader = BufReader::new(stream);
    let (mut head_bytes, mut body_bytes) = (0, 0);
    loop {
        let mut line = String::new();
        head_bytes += reader.read_line(&mut line)?;
        if let Some(n) = line.strip_prefix("Content-Length: ") {
            body_bytes = n.trim_end().parse().map_err(|_| ErrorKind::InvalidData)?;
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; body_bytes])?;
    Ok(head_bytes + body_bytes)
}

/// As `Read::read_exact`, but sleeps until all of it can be read.
fn read_exact(mut stream: &TcpStream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        wake_at(stream, buffer.len())?;
        let n = stream.read(buffer)?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        buffer = buffer.get_mut(n..).unwrap_or_default();
    }
    Ok(())
}

/// `SO_RCVLOWAT`, which is in no library that we use.
fn wake_at(stream: &TcpStream, n_bytes: usize) -> io::Result<()> {
    let n_bytes = n_bytes as libc::c_int;
    let (value, length) = ((&raw const n_bytes).cast(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the kernel reads `length` bytes of `n_bytes`.
    let failed =
        unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, length) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
