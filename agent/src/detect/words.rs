//! Words of sentences about connections.

use std::time::Duration;

use super::finding::Evidence;
use crate::assemble::incident::Other;

/// A pause that people begin to notice.
pub(super) const LONG: Duration = Duration::from_secs(1);

/// The other end, without what changes with each connection.
pub(super) fn describe(other: &Other) -> (String, Vec<(&'static str, Evidence)>) {
    let (name, ip, port) = match *other {
        Other::Server(at) | Other::Anybody(at) => (at.to_string(), at.ip(), at.port()),
        Other::Client(ip, port) => (format!("{ip} (a client of port {port})"), ip, port),
    };
    let side = match other {
        Other::Server(_) | Other::Anybody(_) => ("server_address", Evidence::Text(ip.to_string())),
        Other::Client(..) => ("client_address", Evidence::Text(ip.to_string())),
    };
    (name, vec![side, ("server_port", Evidence::Count(port.into()))])
}

pub(super) fn short(time: Duration) -> String {
    if time < LONG { format!("{} ms", time.as_millis()) } else { format!("{:.1} s", time.as_secs_f64()) }
}
