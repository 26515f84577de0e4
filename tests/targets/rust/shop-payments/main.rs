//! shop-payments: takes the money of the demo shop, a thread for each connection.
//!
//! Its fault is part of the demo: each `--fail-every`-th charge is answered with 500, because it needs the
//! bank, and that does not answer.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the launcher reads them")]

mod http;

use std::{
    io::{self, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroU64,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use clap::Parser;
use http::{Request, RequestError};

/// The payments service of the demo shop.
#[derive(Parser)]
struct Args {
    /// Address to serve on.
    #[arg(long, default_value = "127.0.0.1:8083")]
    listen: SocketAddr,
    /// Ask the bank for each n-th charge.
    #[arg(long, default_value = "20")]
    fail_every: NonZeroU64,
    /// Where the bank is; without one it never answers.
    #[arg(long)]
    bank: Option<SocketAddr>,
}

/// As long as a SYN may be under way before it is sent again: patience of a kind that is often met.
const BANK_PATIENCE: Duration = Duration::from_secs(1);

struct Till {
    fail_every: NonZeroU64,
    bank: Option<SocketAddr>,
    charges: AtomicU64,
}

fn main() -> ExitCode {
    let Args { listen, fail_every, bank } = Args::parse();
    let till = Arc::new(Till { fail_every, bank, charges: AtomicU64::new(0) });
    match serve(listen, &till) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop-payments: cannot serve on {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// SIGTERM keeps its default action: a payment here has no state to save.
fn serve(listen: SocketAddr, till: &Arc<Till>) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    println!("ready");
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, most likely: some connection has to end first.
                eprintln!("shop-payments: cannot accept: {error}");
                thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        let till = Arc::clone(till);
        let served = thread::Builder::new().name("payment".into()).spawn(move || connection(&stream, &till));
        if let Err(error) = served {
            eprintln!("shop-payments: no thread for a connection: {error}");
        }
    }
    Ok(())
}

fn connection(stream: &TcpStream, till: &Till) {
    if let Err(error) = requests(stream, till) {
        eprintln!("shop-payments: a connection broke: {error}");
    }
}

fn requests(stream: &TcpStream, till: &Till) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = match http::read(&mut reader) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(RequestError::Io(error)) => return Err(error),
            Err(RequestError::Malformed(what)) => return http::answer(stream, 400, what),
        };
        let (status, body) = till.answer(&request);
        http::answer(stream, status, &body)?;
    }
}

impl Till {
    fn answer(&self, Request { method, path, body }: &Request) -> (u16, String) {
        match (method.as_str(), path.as_str()) {
            ("GET", "/health") => (200, r#""ok""#.into()),
            ("POST", "/charge") => self.charge(body),
            (_, "/charge") => (405, r#"{"error":"a charge is a POST"}"#.into()),
            _ => (404, r#"{"error":"ask for /charge"}"#.into()),
        }
    }

    fn charge(&self, body: &[u8]) -> (u16, String) {
        let order: serde_json::Value = match serde_json::from_slice(body) {
            Ok(order) => order,
            Err(_) => return (400, r#"{"error":"the body is not JSON"}"#.into()),
        };
        let Some(cents) = order["cents"].as_u64() else {
            return (400, r#"{"error":"`cents` is a number"}"#.into());
        };
        let id = 1 + self.charges.fetch_add(1, Ordering::Relaxed);
        if id % self.fail_every == 0 && !self.bank_answers() {
            return (500, r#"{"error":"the bank does not answer"}"#.into());
        }
        (200, format!(r#"{{"id":{id},"cents":{cents}}}"#))
    }

    fn bank_answers(&self) -> bool {
        self.bank.is_some_and(|it| TcpStream::connect_timeout(&it, BANK_PATIENCE).is_ok())
    }
}
