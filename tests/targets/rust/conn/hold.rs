//! Many connections to ourselves, of which we hold both ends.
//!
//! Says `ready` and where it listens, opens when it reads a line and says how many there are, closes when it
//! reads another one and says so, and ends with the third: nobody must wonder whose the sockets were.

use std::{
    io::{self, BufRead as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

pub(crate) fn run(connections: usize) -> io::Result<()> {
    // As many descriptors as there may be: more is for root to say.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let mut lines = io::stdin().lock().lines();
    let mut next = || lines.next().transpose().map(drop);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    println!("ready");
    println!("listening {address}");
    next()?;
    let mut held = Vec::new();
    for _ in 0..connections {
        let client = TcpStream::connect(address)?;
        held.push((client, listener.accept()?.0));
    }
    println!("{}", json!({"open": held.len()}));
    next()?;
    held.clear();
    println!("{}", json!({"open": 0}));
    next()
}
