//! The commands. A socket is named by the id that its maker was answered with.
//!
//! | command | answer |
//! |---|---|
//! | `listen ADDR [BACKLOG]` | `id`, `local` |
//! | `accept ID [N]` | `accepted`: of each its `id`, `local`, `peer` |
//! | `connect ADDR [TIMEOUT_MS]` | `id`, `local`, `peer` |
//! | `send ID N`, `recv ID N` | `bytes` |
//! | `stats ID` | TCP_INFO |
//! | `nodelay ID`, `user-timeout ID MS` | nothing |
//! | `keepalive ID IDLE_S INTERVAL_S PROBES` | nothing |
//! | `shutdown ID`, `close ID`, `reset ID` | nothing |
//! | `linger ID` | nothing: close() waits until all has arrived |
//! | `disconnect ID` | nothing: the socket is reset, and stays |
//! | `udp ADDR [PEER]` | `id`, `local`: a socket that is bound, and connected if a peer is given |
//! | `send_to ID ADDR N SIZE [SEGMENT]` | `bytes`: N times SIZE, cut by the kernel into datagrams of SEGMENT |
//! | `recv_from ID N` | `bytes`, `from`: of N datagrams; fewer if no more come |
//! | `short N ADDR` | `done`, `failed`: connections that send 100 bytes, read 100 and close |
//!
//! What fails is answered with `error`; a connect that its own time-out ended has `"error":"abandoned"`.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    str::{FromStr, SplitWhitespace},
    time::Duration,
};

use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::{tcp_info::TcpInfo, udp};

const CHUNK_BYTES: usize = 64 * 1024;
pub(crate) const SHORT_BYTES: usize = 100;
/// No answer takes longer, so that a test fails with a message.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Debug)]
enum Sock {
    Listener(TcpListener),
    Stream(TcpStream),
    Udp(UdpSocket),
}

#[derive(Debug, Default)]
pub(crate) struct Commands {
    sockets: BTreeMap<u32, Sock>,
    n_made: u32,
}

impl Commands {
    pub(crate) fn run(&mut self, line: &str) -> Value {
        let mut words = line.split_whitespace();
        match self.try_run(&mut words) {
            Ok(_) if words.next().is_some() => json!({"error": format!("too many words: {line}")}),
            Ok(answer) => answer,
            Err(error) => json!({"error": describe(&error), "errno": error.raw_os_error()}),
        }
    }

    fn try_run(&mut self, words: &mut SplitWhitespace<'_>) -> io::Result<Value> {
        match word::<String>(words)?.as_str() {
            "listen" => self.listen(word(words)?, optional(words)?.unwrap_or(128)),
            "accept" => self.accept(word(words)?, optional(words)?.unwrap_or(1)),
            "connect" => self.connect(word(words)?, optional(words)?.map(Duration::from_millis)),
            "send" => self.stream(word(words)?).and_then(|it| send(it, word(words)?)),
            "recv" => self.stream(word(words)?).and_then(|it| recv(it, word(words)?)),
            "stats" => self.stream(word(words)?).and_then(|it| Ok(TcpInfo::of(it)?.to_json())),
            "shutdown" => {
                self.stream(word(words)?)?.shutdown(std::net::Shutdown::Write)?;
                Ok(json!({}))
            }
            "nodelay" => {
                self.stream(word(words)?)?.set_nodelay(true)?;
                Ok(json!({}))
            }
            "user-timeout" => {
                let stream = self.stream(word(words)?)?;
                SockRef::from(stream).set_tcp_user_timeout(Some(Duration::from_millis(word(words)?)))?;
                Ok(json!({}))
            }
            "keepalive" => {
                let stream = self.stream(word(words)?)?;
                let mut seconds = || word(words).map(Duration::from_secs);
                let keepalive = TcpKeepalive::new().with_time(seconds()?).with_interval(seconds()?);
                SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(word(words)?))?;
                Ok(json!({}))
            }
            "reset" => {
                let id = word(words)?;
                SockRef::from(self.stream(id)?).set_linger(Some(Duration::ZERO))?;
                self.close(id)
            }
            "linger" => {
                SockRef::from(self.stream(word(words)?)?).set_linger(Some(PATIENCE))?;
                Ok(json!({}))
            }
            "disconnect" => {
                disconnect(self.stream(word(words)?)?)?;
                Ok(json!({}))
            }
            "close" => self.close(word(words)?),
            "udp" => {
                let (socket, local) = udp::open(word(words)?, optional(words)?)?;
                Ok(json!({"id": self.keep(Sock::Udp(socket)), "local": local}))
            }
            "send_to" => {
                let (socket, to) = (self.udp(word(words)?)?, word(words)?);
                udp::send(socket, to, word(words)?, word(words)?, optional(words)?)
            }
            "recv_from" => self.udp(word(words)?).and_then(|it| udp::recv(it, word(words)?)),
            "short" => short(word(words)?, word(words)?),
            _ => Err(invalid("this is not a command")),
        }
    }

    fn listen(&mut self, addr: SocketAddr, backlog: i32) -> io::Result<Value> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(backlog)?;
        let listener = TcpListener::from(socket);
        let local = listener.local_addr()?;
        Ok(json!({"id": self.keep(Sock::Listener(listener)), "local": local}))
    }

    fn accept(&mut self, id: u32, n: usize) -> io::Result<Value> {
        let mut accepted = Vec::new();
        for _ in 0..n {
            let Some(Sock::Listener(listener)) = self.sockets.get(&id) else {
                return Err(invalid("there is no such listener"));
            };
            // On Linux this is the time-out of accept() too.
            SockRef::from(listener).set_read_timeout(Some(PATIENCE))?;
            let (stream, _) = listener.accept()?;
            accepted.push(self.keep_stream(stream)?);
        }
        Ok(json!({"accepted": accepted}))
    }

    /// Without a time-out the kernel decides, which may take minutes.
    fn connect(&mut self, addr: SocketAddr, timeout: Option<Duration>) -> io::Result<Value> {
        let stream = match timeout {
            Some(timeout) => TcpStream::connect_timeout(&addr, timeout)?,
            None => TcpStream::connect(addr)?,
        };
        self.keep_stream(stream)
    }

    fn keep_stream(&mut self, stream: TcpStream) -> io::Result<Value> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        Ok(json!({"id": self.keep(Sock::Stream(stream)), "local": local, "peer": peer}))
    }

    fn keep(&mut self, socket: Sock) -> u32 {
        self.n_made += 1;
        self.sockets.insert(self.n_made, socket);
        self.n_made
    }

    fn stream(&self, id: u32) -> io::Result<&TcpStream> {
        match self.sockets.get(&id) {
            Some(Sock::Stream(stream)) => Ok(stream),
            _ => Err(invalid("there is no such stream")),
        }
    }

    fn udp(&self, id: u32) -> io::Result<&UdpSocket> {
        match self.sockets.get(&id) {
            Some(Sock::Udp(socket)) => Ok(socket),
            _ => Err(invalid("there is no such UDP socket")),
        }
    }

    fn close(&mut self, id: u32) -> io::Result<Value> {
        self.sockets.remove(&id).ok_or_else(|| invalid("there is no such socket"))?;
        Ok(json!({}))
    }
}

fn send(mut stream: &TcpStream, n_bytes: usize) -> io::Result<Value> {
    let chunk = [b'x'; CHUNK_BYTES];
    let mut left = n_bytes;
    while left != 0 {
        let now = left.min(chunk.len());
        stream.write_all(&chunk[..now])?;
        left -= now;
    }
    Ok(json!({"bytes": n_bytes}))
}

/// A connect to no address at all.
fn disconnect(stream: &TcpStream) -> io::Result<()> {
    let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
    let length = size_of_val(&nowhere) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `nowhere`.
    let failed = unsafe { libc::connect(stream.as_raw_fd(), &raw const nowhere, length) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fewer bytes than asked for if the peer has closed.
fn recv(stream: &TcpStream, n_bytes: u64) -> io::Result<Value> {
    let bytes = io::copy(&mut stream.take(n_bytes), &mut io::sink())?;
    Ok(json!({"bytes": bytes}))
}

fn short(n: u64, addr: SocketAddr) -> io::Result<Value> {
    let failed = (0..n).filter(|_| one_short(addr).is_err()).count() as u64;
    Ok(json!({"done": n - failed, "failed": failed}))
}

/// Still open.
pub(crate) fn one_short(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[b's'; SHORT_BYTES])?;
    stream.read_exact(&mut [0; SHORT_BYTES])?;
    Ok(stream)
}

fn describe(error: &io::Error) -> String {
    match (error.kind(), error.raw_os_error()) {
        // The kernel's own time-out has an errno.
        (ErrorKind::TimedOut, None) => "abandoned".into(),
        _ => error.to_string(),
    }
}

fn word<T: FromStr>(words: &mut SplitWhitespace<'_>) -> io::Result<T> {
    optional(words)?.ok_or_else(|| invalid("a word is missing"))
}

fn optional<T: FromStr>(words: &mut SplitWhitespace<'_>) -> io::Result<Option<T>> {
    let parse = |it: &str| it.parse().map_err(|_| invalid("a word is not what belongs there"));
    words.next().map(parse).transpose()
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_count_what_they_were_told_to_send() {
        let mut it = Commands::default();
        let server = it.run("listen 127.0.0.1:0 5");
        let local = server["local"].as_str().unwrap();
        assert_eq!(it.run(&format!("connect {local} 1000"))["peer"], local);
        assert_eq!(it.run("accept 1")["accepted"][0]["id"], 3);
        assert_eq!(it.run("send 2 70000"), json!({"bytes": 70_000}));
        assert_eq!(it.run("recv 3 70000"), json!({"bytes": 70_000}));
        let stats = it.run("stats 2");
        assert_eq!((&stats["bytes_sent"], &stats["state"]), (&json!(70_000), &json!("established")));
        assert_eq!(it.run("stats 3")["bytes_received"], 70_000);
        it.run("reset 2");
        assert_eq!(it.run("recv 3 1")["errno"], libc::ECONNRESET);
    }

    #[test]
    fn datagrams_arrive() {
        let mut it = Commands::default();
        let server = it.run("udp 127.0.0.1:0");
        let to = server["local"].as_str().unwrap();
        let client = it.run(&format!("udp 127.0.0.1:0 {to}"));
        assert_eq!(it.run(&format!("send_to 2 {to} 3 1000"))["bytes"], 3000);
        let got = it.run("recv_from 1 3");
        assert_eq!((&got["bytes"], &got["from"]), (&json!(3000), &client["local"]));
        assert_eq!(it.run(&format!("send_to 2 {to} 1 1000 300"))["bytes"], 1000);
        assert_eq!(it.run("recv_from 1 4")["bytes"], 1000);
    }

    #[test]
    fn bad_lines_are_answered() {
        let mut it = Commands::default();
        let lines = [
            "",
            "dance",
            "send",
            "send 1",
            "send 1 x",
            "close 7",
            "nodelay 7",
            "user-timeout 7 100",
            "keepalive 7 1 1 2",
            "listen nowhere",
            "listen 127.0.0.1:0 1 2",
        ];
        for line in lines {
            assert!(it.run(line)["error"].is_string(), "{line:?}");
        }
    }
}
