//! Addresses and ports of a connection, as each of its sockets has them.

use std::net::{IpAddr, Ipv4Addr};

/// An address and a port.
pub(super) type At = (IpAddr, u16);

/// Small where both sockets have the same IPv4 addresses.
#[derive(Debug)]
pub(super) enum Addresses {
    /// Local and remote of the first one.
    Same([(Ipv4Addr, u16); 2]),
    /// Of each.
    Different(Box<[(At, At); 2]>),
}

impl Addresses {
    /// Of the first socket; the second is expected to agree.
    #[must_use]
    pub(super) fn new(local: At, remote: At) -> Self {
        match (local, remote) {
            ((IpAddr::V4(local), local_port), (IpAddr::V4(remote), remote_port)) => {
                Self::Same([(local, local_port), (remote, remote_port)])
            }
            _ => Self::Different(Box::new([(local, remote), (remote, local)])),
        }
    }

    /// As the second socket has them.
    pub(super) fn second(&mut self, local: At, remote: At) {
        if self.of(1) != (local, remote) {
            *self = Self::Different(Box::new([self.of(0), (local, remote)]));
        }
    }

    /// Local and remote of a socket.
    #[must_use]
    pub(super) fn of(&self, slot: usize) -> (At, At) {
        match self {
            Self::Same(both) => {
                let [local, remote] = both.map(|(ip, port)| (IpAddr::V4(ip), port));
                if slot == 0 { (local, remote) } else { (remote, local) }
            }
            Self::Different(both) => both[usize::from(slot != 0)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_has_its_own_addresses() {
        let at = |text: &str| -> At {
            let at: std::net::SocketAddr = text.parse().unwrap();
            (at.ip(), at.port())
        };
        let [a, b, c] = ["10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"].map(at);
        let [x, y] = ["[2001:db8::1]:1", "[2001:db8::2]:2"].map(at);
        for (first, second) in [((a, b), (b, a)), ((a, b), (c, a)), ((x, y), (y, x)), ((x, y), (b, a))] {
            let mut addresses = Addresses::new(first.0, first.1);
            addresses.second(second.0, second.1);
            assert_eq!((addresses.of(0), addresses.of(1)), (first, second));
        }
        assert_eq!(size_of::<Addresses>(), 16);
    }
}
