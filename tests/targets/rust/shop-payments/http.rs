//! As much of HTTP/1.1 as a server of small JSON bodies needs; every length has a bound.

use std::{
    io::{self, BufRead, Read as _, Write},
    net::TcpStream,
};

const MAX_LINE_BYTES: u64 = 8 * 1024;
const MAX_HEADERS: usize = 100;
const MAX_BODY_BYTES: u64 = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) enum RequestError {
    Io(io::Error),
    /// The answer for the client, as JSON.
    Malformed(&'static str),
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// `None` when the client has closed the connection between two requests.
pub(crate) fn read(reader: &mut impl BufRead) -> Result<Option<Request>, RequestError> {
    let Some(first) = line(reader)? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RequestError::Malformed(r#"{"error":"this is not an HTTP/1.1 request"}"#));
    };
    let mut body_bytes = 0;
    for _ in 0..MAX_HEADERS {
        let header = line(reader)?.ok_or(io::ErrorKind::UnexpectedEof).map_err(io::Error::from)?;
        if header.is_empty() {
            let mut body = Vec::new();
            if reader.take(body_bytes).read_to_end(&mut body)? as u64 != body_bytes {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            return Ok(Some(Request { method: method.into(), path: path.into(), body }));
        }
        let (name, value) = header.split_once(':').unwrap_or((&header, ""));
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = match value.trim().parse() {
                Ok(n) if n <= MAX_BODY_BYTES => n,
                _ => return Err(RequestError::Malformed(r#"{"error":"the body is too long"}"#)),
            };
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(RequestError::Malformed(r#"{"error":"send a Content-Length"}"#));
        }
    }
    Err(RequestError::Malformed(r#"{"error":"too many headers"}"#))
}

fn line(reader: &mut impl BufRead) -> Result<Option<String>, RequestError> {
    let mut bytes = Vec::new();
    reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(RequestError::Malformed(r#"{"error":"a line is too long or was cut"}"#));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    match String::from_utf8(bytes) {
        Ok(line) => Ok(Some(line)),
        Err(_) => Err(RequestError::Malformed(r#"{"error":"a header is not UTF-8"}"#)),
    }
}

pub(crate) fn answer(mut stream: &TcpStream, status: u16, body: &str) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Internal Server Error",
    };
    let length = body.len();
    // One write: two would make two segments of each answer.
    stream.write_all(
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_requests_one_after_the_other() {
        let mut bytes: &[u8] =
            b"POST /charge HTTP/1.1\r\nhost: x\r\nContent-Length: 2\r\n\r\n{}GET /health HTTP/1.1\r\n\r\n";
        let mut next = || read(&mut bytes).unwrap();
        assert_eq!(
            next(),
            Some(Request { method: "POST".into(), path: "/charge".into(), body: b"{}".into() })
        );
        assert_eq!(next(), Some(Request { method: "GET".into(), path: "/health".into(), body: vec![] }));
        assert_eq!(next(), None);
    }

    #[test]
    fn refuses_what_it_cannot_bound() {
        for text in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 65537\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000)),
            &format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)),
        ] {
            let got = read(&mut text.as_bytes());
            assert!(matches!(got, Err(RequestError::Malformed(_))), "{got:?}");
        }
        let cut = read(&mut "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n{}".as_bytes());
        assert!(matches!(cut, Err(RequestError::Io(_))), "{cut:?}");
    }
}
