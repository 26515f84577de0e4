//! target-dns: a resolver with a few names, or a client of one.
//!
//! `serve IP:PORT` answers as `tests::dns` says. Without arguments it takes lines `IP:PORT NAME` and answers
//! each with a line of JSON: the length of the answer, or `null` when there was none within a second. What does not
//! fit into a datagram is asked for again over TCP.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the test reads them")]

use std::{
    io::{self, BufRead as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::{Parser, Subcommand};
use serde_json::json;
use tests::dns;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Answer questions until killed.
    Serve { listen: SocketAddr },
}

fn main() -> ExitCode {
    let done = match Args::parse().mode {
        Some(Mode::Serve { listen }) => serve(listen),
        None => interactive(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("target-dns: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listen: SocketAddr) -> io::Result<()> {
    let (socket, listener) = (UdpSocket::bind(listen)?, TcpListener::bind(listen)?);
    thread::spawn(move || dns::serve_tcp(&listener));
    println!("ready");
    dns::serve(&socket)
}

fn interactive() -> io::Result<()> {
    println!("ready");
    for (line, id) in io::stdin().lock().lines().zip(1..) {
        let line = line?;
        let (resolver, name) = line.split_once(' ').ok_or(io::ErrorKind::InvalidInput)?;
        println!("{}", json!({"bytes": ask(resolver, name, id)?}));
    }
    Ok(())
}

/// From a socket of its own, as libc does it.
fn ask(resolver: &str, name: &str, id: u16) -> io::Result<Option<usize>> {
    let resolver: SocketAddr = resolver.parse().map_err(io::Error::other)?;
    let any = if resolver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(resolver)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let query = dns::query(id, name, dns::A);
    socket.send(&query)?;
    let mut answer = [0; 2048];
    match socket.recv(&mut answer) {
        Ok(len) if dns::is_truncated(&answer[..len]) => {
            let mut stream = TcpStream::connect(resolver)?;
            stream.write_all(&dns::framed(&query))?;
            dns::receive(&mut stream).map(|it| Some(it.len()))
        }
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
