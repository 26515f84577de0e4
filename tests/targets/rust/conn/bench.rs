//! The ends of a bench: as much as the machine gives, and the CPU time it took.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::commands::{PATIENCE, SHORT_BYTES, one_short};

const CHUNK_BYTES: usize = 256 * 1024;

/// A length of time that a bench may last.
pub(crate) fn seconds(seconds: f64) -> io::Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))
}

pub(crate) fn bulk_recv(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    println!("ready\nlistening {}", listener.local_addr()?);
    let mut buffer = vec![0; CHUNK_BYTES];
    for stream in listener.incoming() {
        let mut stream = stream?;
        let (start, cpu_before) = (Instant::now(), cpu_seconds());
        let mut n_bytes = 0;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n_bytes += n as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        report_bytes(n_bytes, start, cpu_before);
    }
    Ok(())
}

pub(crate) fn bulk_send(to: SocketAddr, length: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    println!("ready");
    let (start, cpu_before) = (Instant::now(), cpu_seconds());
    let chunk = vec![b'x'; CHUNK_BYTES];
    let mut n_bytes = 0;
    while start.elapsed() < length {
        stream.write_all(&chunk)?;
        n_bytes += chunk.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    // The receiver closes when it has read all.
    stream.read_to_end(&mut Vec::new())?;
    report_bytes(n_bytes, start, cpu_before);
    Ok(())
}

pub(crate) fn connect_rate(to: SocketAddr, length: Duration, threads: NonZeroUsize) -> io::Result<()> {
    println!("ready");
    report_rate("connections", threads, |start| {
        let (mut done, mut failed) = (0, 0);
        while start.elapsed() < length {
            // Who closes first keeps the port for a minute: let that be the server, who has but one.
            match one_short(to).and_then(|mut it| it.read(&mut [0])) {
                Ok(0) => done += 1,
                Ok(_) | Err(_) => failed += 1,
            }
        }
        (done, failed)
    });
    Ok(())
}

pub(crate) fn answer(listen: SocketAddr, workers: NonZeroUsize, often: Often) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    println!("ready\nlistening {}", listener.local_addr()?);
    let work = || {
        for stream in listener.incoming() {
            // Most end because the other end closes.
            _ = stream.and_then(|it| answers(&it, often));
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers.get() {
            scope.spawn(work);
        }
        work();
    });
    Ok(())
}

/// How often a connection is answered before it is closed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Often {
    Once,
    Always,
}

fn answers(mut stream: &TcpStream, often: Often) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = [0; SHORT_BYTES];
    loop {
        stream.read_exact(&mut bytes)?;
        stream.write_all(&bytes)?;
        if often == Often::Once {
            return Ok(());
        }
    }
}

pub(crate) fn request_rate(to: SocketAddr, length: Duration, connections: NonZeroUsize) -> io::Result<()> {
    println!("ready");
    report_rate("requests", connections, |start| {
        let mut done = 0;
        match ask(to, start, length, &mut done) {
            Ok(()) => (done, 0),
            Err(_) => (done, 1),
        }
    });
    Ok(())
}

fn ask(to: SocketAddr, start: Instant, length: Duration, done: &mut u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = [b's'; SHORT_BYTES];
    while start.elapsed() < length {
        stream.write_all(&bytes)?;
        stream.read_exact(&mut bytes)?;
        *done += 1;
    }
    Ok(())
}

/// What all workers together did: of each `noun` how many were done, and how many failed.
pub(crate) fn report_rate(noun: &str, workers: NonZeroUsize, work: impl Fn(Instant) -> (u64, u64) + Sync) {
    let (start, cpu_before) = (Instant::now(), cpu_seconds());
    let (done, failed) = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.get()).map(|_| scope.spawn(|| work(start))).collect();
        workers
            .into_iter()
            .filter_map(|it| it.join().ok())
            .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    });
    let took = start.elapsed().as_secs_f64();
    let answer = json!({
        noun: done,
        "failed": failed,
        "seconds": took,
        "per_second": done as f64 / took,
        "cpu_seconds": cpu_seconds() - cpu_before,
    });
    println!("{answer}");
}

fn report_bytes(n_bytes: u64, start: Instant, cpu_before: f64) {
    let took = start.elapsed().as_secs_f64();
    let answer = json!({
        "bytes": n_bytes,
        "seconds": took,
        "bytes_per_second": n_bytes as f64 / took,
        "cpu_seconds": cpu_seconds() - cpu_before,
    });
    println!("{answer}");
}

/// Of all threads of this process.
fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}
