//! target-conn: sockets that do exactly what they are told.
//!
//! Without arguments it takes commands from standard input, a line each, and answers each with a line
//! of JSON (see `commands`). With arguments it is one end of a bench (see `bench`, `datagrams`, `http`), or both ends of
//! very many connections (see `hold`).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the test reads them")]

mod bench;
mod commands;
mod datagrams;
mod hold;
mod http;
mod tcp_info;
mod udp;

use std::{
    io::{self, BufRead as _},
    net::SocketAddr,
    num::NonZeroUsize,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use commands::Commands;

/// Sockets that do what they are told.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Take one connection after the other, and print what each brought.
    BulkRecv { listen: SocketAddr },
    /// Send for some seconds over one connection, and print how much.
    BulkSend { to: SocketAddr, seconds: f64 },
    /// Open connections that each send 100 bytes and read 100, and print how many were made.
    ConnectRate { to: SocketAddr, seconds: f64, threads: NonZeroUsize },
    /// Take connections, as many at once as there are workers, and answer 100 bytes with as many.
    Answer { listen: SocketAddr, workers: NonZeroUsize, often: bench::Often },
    /// On each of some connections send 100 bytes and read 100, again and again, and print how often.
    RequestRate { to: SocketAddr, seconds: f64, connections: NonZeroUsize },
    /// Take datagrams, and say at the end of each burst how many there were.
    DatagramAnswer { listen: SocketAddr },
    /// Send small datagrams in bursts, each when the one before has arrived, and print how many did.
    DatagramRate { to: SocketAddr, seconds: f64 },
    /// Ask an HTTP server for a path, again and again on each connection, and print how often it answered.
    HttpRate { to: SocketAddr, path: String, seconds: f64, connections: NonZeroUsize },
    /// Hold many connections to ourselves, both ends (see `hold`).
    Hold { connections: usize },
}

fn main() -> ExitCode {
    let done = match Args::parse().mode {
        None => interactive(),
        Some(Mode::Hold { connections }) => hold::run(connections),
        Some(Mode::BulkRecv { listen }) => bench::bulk_recv(listen),
        Some(Mode::BulkSend { to, seconds }) => {
            bench::seconds(seconds).and_then(|it| bench::bulk_send(to, it))
        }
        Some(Mode::ConnectRate { to, seconds, threads }) => {
            bench::seconds(seconds).and_then(|it| bench::connect_rate(to, it, threads))
        }
        Some(Mode::Answer { listen, workers, often }) => bench::answer(listen, workers, often),
        Some(Mode::RequestRate { to, seconds, connections }) => {
            bench::seconds(seconds).and_then(|it| bench::request_rate(to, it, connections))
        }
        Some(Mode::DatagramAnswer { listen }) => datagrams::answer(listen),
        Some(Mode::DatagramRate { to, seconds }) => {
            bench::seconds(seconds).and_then(|it| datagrams::rate(to, it))
        }
        Some(Mode::HttpRate { to, path, seconds, connections }) => {
            bench::seconds(seconds).and_then(|it| http::http_rate(to, &path, it, connections))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("target-conn: {error}");
            ExitCode::FAILURE
        }
    }
}

fn interactive() -> io::Result<()> {
    let mut commands = Commands::default();
    println!("ready");
    for line in io::stdin().lock().lines() {
        println!("{}", commands.run(&line?));
    }
    Ok(())
}
