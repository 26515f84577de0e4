//! Where the agent's exports go: a server that takes OTLP over HTTP and counts.
//!
//! It does not look inside: what a real Collector makes of the bytes is the system tests' business.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

const MAX_HEADER_BYTES: u64 = 16 << 10;
const MAX_BODY_BYTES: u64 = 64 << 20;
/// A connection that says nothing for longer is left alone.
const PATIENCE: Duration = Duration::from_secs(300);

/// Lives as long as we do; it has nothing to clean up.
pub(crate) struct Sink {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    traces: Signal,
    metrics: Signal,
    logs: Signal,
    refused: AtomicU64,
}

#[derive(Default)]
struct Signal {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Sink {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the sink has no port")?;
        let address = listener.local_addr().context("the sink has no address")?;
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counts = Arc::clone(&shared);
                thread::spawn(move || {
                    if serve(&stream, &counts).is_err() {
                        counts.refused.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Ok(Self { address, counts })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bodies received so far, compressed as they come.
    pub(crate) fn bytes(&self) -> u64 {
        let Counts { traces, metrics, logs, refused: _ } = &*self.counts;
        [traces, metrics, logs].iter().map(|it| it.bytes.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn counts(&self) -> String {
        let Counts { traces, metrics, logs, refused } = &*self.counts;
        let [traces, metrics, logs] = [traces, metrics, logs].map(Signal::shown);
        let mut text = format!("{traces} of traces, {metrics} of metrics and {logs} of log events");
        if refused.load(Ordering::Relaxed) != 0 {
            text.push_str(&format!("; {} connections broke", refused.load(Ordering::Relaxed)));
        }
        text
    }
}

impl Signal {
    fn shown(&self) -> String {
        let (requests, bytes) = (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        format!("{requests} requests ({bytes} bytes, zstd)")
    }
}

/// Requests of one connection, until its other end closes it.
fn serve(stream: &TcpStream, counts: &Counts) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    while let Some((path, n_bytes)) = request(&mut reader)? {
        let signal = match path.as_str() {
            "/v1/traces" => &counts.traces,
            "/v1/metrics" => &counts.metrics,
            "/v1/logs" => &counts.logs,
            path => bail!("nothing is at {path}"),
        };
        signal.requests.fetch_add(1, Ordering::Relaxed);
        signal.bytes.fetch_add(n_bytes, Ordering::Relaxed);
        // No bytes are the message that says that all was accepted.
        let mut writer = stream;
        writer.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )?;
    }
    Ok(())
}

/// Path and length of the body, which is read and forgotten; `None` at the end.
fn request(reader: &mut impl BufRead) -> anyhow::Result<Option<(String, u64)>> {
    let mut head = reader.by_ref().take(MAX_HEADER_BYTES);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.strip_prefix("POST ").and_then(|it| it.split(' ').next());
    let path = path.context("only POST is taken")?.to_owned();
    let mut length = None;
    loop {
        let mut line = String::new();
        ensure!(head.read_line(&mut line)? != 0, "the headers do not end");
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<u64>().context("the length is no number")?);
        }
    }
    let length = length.context("no length is given")?;
    ensure!(length <= MAX_BODY_BYTES, "a body of {length} bytes");
    let n_bytes = std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    ensure!(n_bytes == length, "the body ends early");
    Ok(Some((path, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_every_signal_are_counted() {
        let sink = Sink::open().unwrap();
        let mut stream = TcpStream::connect(sink.address()).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        for (path, body) in
            [("/v1/traces", "abc"), ("/v1/metrics", ""), ("/v1/traces", "de"), ("/v1/logs", "f")]
        {
            write!(stream, "POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            let answer: Vec<_> = answers.by_ref().lines().take(4).map(Result::unwrap).collect();
            assert_eq!(answer[0], "HTTP/1.1 200 OK");
        }
        assert_eq!(sink.bytes(), 6);
        let want = "2 requests (5 bytes, zstd) of traces, 1 requests (0 bytes, zstd) of metrics and 1 requests \
                    (1 bytes, zstd) of log events";
        assert_eq!(sink.counts(), want);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let read = |text: &str| request(&mut text.as_bytes());
        assert!(read("").unwrap().is_none());
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nshort",
            "POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
