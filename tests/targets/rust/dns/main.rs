//! target-dns: a resolver with a few names, or a client of one.
//!
//! `serve IP:PORT` answers as `tests::dns` says. Without arguments it takes lines `IP:PORT NAME` and answers
//! each with a line of JSON: the length of the answer, or `null` when there was none within a second.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the test reads them")]

use std::{
    io::{self, BufRead as _},
    net::{SocketAddr, UdpSocket},
    process::ExitCode,
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
    let socket = UdpSocket::bind(listen)?;
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
    socket.send(&dns::query(id, name, dns::A))?;
    match socket.recv(&mut [0; 2048]) {
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
