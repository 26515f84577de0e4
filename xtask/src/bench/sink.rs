//! A place for OTLP over HTTP that takes everything and counts it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Context as _;

/// An empty message of protobuf: everything was accepted.
const ACCEPTED: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

pub(super) struct Sink {
    pub(super) address: SocketAddr,
    n_bytes: Arc<AtomicU64>,
}

impl Sink {
    /// It ends with us.
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on the loopback")?;
        let address = listener.local_addr().context("the listener has an address")?;
        let n_bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&n_bytes);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counter = Arc::clone(&counter);
                // An agent that goes away in the middle of a request is the end of a round.
                thread::spawn(move || serve(stream, &counter));
            }
        });
        Ok(Self { address, n_bytes })
    }

    /// Bodies received so far, compressed as they come.
    pub(super) fn bytes(&self) -> u64 {
        self.n_bytes.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream, n_bytes: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        n_bytes.fetch_add(length, Ordering::Relaxed);
        stream.write_all(ACCEPTED)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_on_one_connection_are_taken_and_counted() {
        let sink = Sink::start().unwrap();
        let mut stream = TcpStream::connect(sink.address).unwrap();
        for body in ["12345", "", "678"] {
            let request = format!("POST /v1/traces HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = vec![0; ACCEPTED.len()];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, ACCEPTED);
        }
        assert_eq!(sink.bytes(), 8);
    }
}
