//! Which end of a connection is the client, when the socket itself does not tell.

use std::ops::RangeInclusive;

use agent_common::event::sock;

use super::{address, edge::Confidence, places::Listeners};

/// The kernel's default `ip_local_port_range`.
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// The own role of a socket, and how sure that is.
///
/// An undirected edge is drawn from the end that was seen: [`Confidence::None`] says so.
#[must_use]
pub(super) fn decide(state: &sock::State, listeners: &Listeners) -> (Role, Confidence) {
    match state.role {
        sock::role::CLIENT => return (Role::Client, Confidence::Exact),
        sock::role::SERVER => return (Role::Server, Confidence::Exact),
        _ => {}
    }
    if listeners.owner(state.netns, (address::ip(state.local), state.local_port)).is_some() {
        return (Role::Server, Confidence::Listener);
    }
    let (local, remote) = (state.local_port, state.remote_port);
    // A port that nobody listens on says something only where connect() takes its ports from: a
    // listener may be gone, or of a kind that is not seen.
    if listeners.any(state.netns) && EPHEMERAL.contains(&local) {
        return (Role::Client, Confidence::Listener);
    }
    by_ports(local, remote)
}

/// The role of the end with the first port, as far as ports tell.
#[must_use]
pub(super) fn by_ports(local: u16, remote: u16) -> (Role, Confidence) {
    match (EPHEMERAL.contains(&local), EPHEMERAL.contains(&remote)) {
        (true, false) if remote < *EPHEMERAL.start() => (Role::Client, Confidence::Port),
        (false, true) if local < *EPHEMERAL.start() => (Role::Server, Confidence::Port),
        (false, false) if local != remote => {
            (if local < remote { Role::Server } else { Role::Client }, Confidence::Port)
        }
        _ => (Role::Client, Confidence::None),
    }
}

/// Whether the kernel might have chosen the port.
#[must_use]
pub(super) fn is_ephemeral(port: u16) -> bool {
    EPHEMERAL.contains(&port)
}

#[cfg(test)]
mod tests {
    use agent_common::Wire as _;

    use super::*;
    use crate::targets::process::Tgid;

    #[test]
    fn the_socket_itself_knows_best() {
        check(sock::role::CLIENT, 80, 40000, &[80], "Client Exact");
        check(sock::role::SERVER, 40000, 80, &[], "Server Exact");
    }

    #[test]
    fn a_listener_makes_a_server_and_others_make_a_client() {
        check(sock::role::UNKNOWN, 50000, 80, &[50000], "Server Listener");
        check(sock::role::UNKNOWN, 40000, 50000, &[22], "Client Listener");
        check(sock::role::UNKNOWN, 8080, 50000, &[22], "Server Port");
    }

    #[test]
    fn ports_are_the_last_resort() {
        check(sock::role::UNKNOWN, 40000, 80, &[], "Client Port");
        check(sock::role::UNKNOWN, 80, 40000, &[], "Server Port");
        check(sock::role::UNKNOWN, 443, 8080, &[], "Server Port");
        check(sock::role::UNKNOWN, 40000, 40001, &[], "Client None");
        check(sock::role::UNKNOWN, 40000, 61000, &[], "Client None");
    }

    #[track_caller]
    fn check(role: u8, local_port: u16, remote_port: u16, listening: &[u16], want: &str) {
        let state = sock::State { role, local_port, remote_port, netns: 1, ..sock::State::zeroed() };
        let mut listeners = Listeners::default();
        let mut listen = |netns, ip: &str, port| {
            listeners.insert(netns, (ip.parse().unwrap(), port), Tgid(1));
        };
        listening.iter().for_each(|port| listen(1, "::", *port));
        // Those of another namespace or on another address mean nothing.
        listen(2, "::", local_port);
        if !listening.is_empty() {
            listen(1, "10.0.0.1", local_port);
        }
        let (role, confidence) = decide(&state, &listeners);
        assert_eq!(format!("{role:?} {confidence:?}"), want);
    }
}
