//! Short TCP connections, as many as the machine makes.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
};

use anyhow::Context as _;

use super::{
    Programs,
    figure::Figure,
    pairs::{Measures, Pairs, Scenario},
    sum::Sum,
};

const SECONDS: &str = "2";
const THREADS: &str = "2";
/// What the client sends, and waits for.
const SHORT_BYTES: usize = 100;

#[derive(Default)]
pub(super) struct Connect {
    server: Option<SocketAddr>,
}

impl Scenario for Connect {
    fn unit(&self) -> &'static str {
        "connection"
    }

    fn prepare(&mut self, _: &Programs) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on the loopback")?;
        self.server = Some(listener.local_addr().context("the listener has an address")?);
        // They end with us: what they serve is only there for the bench.
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that is gone is the next round's beginning, no error.
                _ = stream.and_then(answer);
            }
        });
        Ok(())
    }

    fn probed(&self) -> Option<u32> {
        None
    }

    fn round(&mut self, programs: &Programs) -> anyhow::Result<Measures> {
        let server = self.server.context("the server runs")?.to_string();
        let mut client = Command::new(programs.cargo.join("target-conn"));
        let sum = Sum::of(client.args(["connect-rate", &server, SECONDS, THREADS]))?;
        Ok(Measures {
            target_cpu_us_per_unit: sum.number("cpu_seconds")? * 1e6 / sum.done("connections")?,
            units_per_second: sum.number("per_second")?,
        })
    }

    fn figures(&self, pairs: &Pairs) -> Vec<Figure> {
        let [off, _] = pairs.rate();
        vec![
            pairs.rate_ratio("rate of short connections", 0.90),
            pairs.added_cpu("CPU added per connection", 4.0),
            Figure::of_interest("rate without the agent", "connections/s", off),
        ]
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; SHORT_BYTES];
    stream.read_exact(&mut bytes)?;
    stream.write_all(&bytes)
}
