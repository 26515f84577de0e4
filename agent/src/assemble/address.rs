//! Addresses as the kernel half writes them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// IPv4-mapped ones become IPv4.
#[must_use]
pub(super) fn ip(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// `None` when the connection has no identity.
#[must_use]
pub(super) fn socket(bytes: [u8; 16], port: u16) -> Option<SocketAddr> {
    (port != 0).then(|| SocketAddr::new(ip(bytes), port))
}

/// The network that stands for an address when there are too many: /24, /56. Loopback is one already.
#[must_use]
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[7..].fill(0);
            IpAddr::from(octets)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_their_networks() {
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(ip(mapped).to_string(), "10.1.2.3");
        assert_eq!(network(ip(mapped)).to_string(), "10.1.2.0");
        let v6: IpAddr = "2001:db8:1:2aff::9".parse().unwrap();
        assert_eq!(network(v6).to_string(), "2001:db8:1:2a00::");
        for loopback in ["127.0.0.1", "127.3.2.1", "::1"] {
            assert_eq!(network(loopback.parse().unwrap()).to_string(), loopback);
        }
        assert_eq!(socket(mapped, 0), None);
    }
}
