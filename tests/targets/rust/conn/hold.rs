//! Many connections to ourselves, of which we hold both ends.
//!
//! Says `ready` and where it listens, then does what it reads, and says after each line how many are open:
//! `open` opens them all, `talk` sends over each of them and back, `close` closes them.

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

const QUESTION: &[u8] = &[b'q'; 100];
const ANSWER: &[u8] = &[b'a'; 50];

pub(crate) fn run(connections: usize) -> io::Result<()> {
    // As many descriptors as there may be: more is for root to say.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    println!("ready");
    println!("listening {address}");
    let mut held: Vec<(TcpStream, TcpStream)> = Vec::new();
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "open" => {
                for _ in 0..connections {
                    let client = TcpStream::connect(address)?;
                    held.push((client, listener.accept()?.0));
                }
            }
            "talk" => held.iter_mut().try_for_each(|(client, server)| talk(client, server))?,
            "close" => held.clear(),
            other => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("what is `{other}`?"))),
        }
        println!("{}", json!({"open": held.len()}));
    }
    Ok(())
}

fn talk(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    client.write_all(QUESTION)?;
    server.read_exact(&mut [0; QUESTION.len()])?;
    server.write_all(ANSWER)?;
    client.read_exact(&mut [0; ANSWER.len()])
}
