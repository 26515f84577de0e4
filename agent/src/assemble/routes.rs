//! Which edge a connection belongs on.

use std::net::{IpAddr, SocketAddr};

use super::{
    connection::Connection,
    directory::Directory,
    edge::{Transport, Vip},
    places::Places,
    requests::Tuple,
    role::Role,
    seen::End,
    topology::{Party, Route},
};
use crate::targets::process::Tgid;

/// The connection as each of its ends names it.
pub(super) fn tuples(connection: &Connection) -> impl Iterator<Item = Tuple> + '_ {
    let own = |role| connection.end(role);
    let socket = |it: (IpAddr, u16)| SocketAddr::new(it.0, it.1);
    let of_client = own(Role::Client).map(|end| Tuple::new(socket(end.local), socket(end.remote), end.netns));
    let of_server = own(Role::Server).map(|end| Tuple::new(socket(end.remote), socket(end.local), end.netns));
    of_client.into_iter().chain(of_server)
}

/// `backend`: where the server is, if that is known although its end is not seen.
#[must_use]
pub(super) fn route(
    connection: &Connection,
    backend: Option<(IpAddr, u16)>,
    places: &Places,
    directory: &Directory,
) -> Option<Route> {
    let (client, server) = (connection.end(Role::Client), connection.end(Role::Server));
    let own = |end: End| party(end.tgid, end.local.0, directory);
    let asked_for = client.map(|client| client.remote);
    let serves_at = server.map(|server| server.local).or(backend).or(asked_for)?;
    let (vip, port) = match asked_for {
        Some((ip, port)) if (ip, port) != serves_at => (Some(Vip { ip, backend_port: serves_at.1 }), port),
        _ => (None, serves_at.1),
    };
    let client_party = match (client, server) {
        (Some(client), _) => own(client),
        (None, Some(server)) => Party::Address(server.remote.0),
        (None, None) => return None,
    };
    let server_party = match (server, client) {
        // A worker that was forked for this connection may be gone; who listened is the same program.
        (Some(server), _) if directory.get(server.tgid).is_none() => {
            let listener = places.listeners.owner(server.netns, server.local);
            party(listener.unwrap_or(server.tgid), server.local.0, directory)
        }
        (Some(server), _) => own(server),
        (None, Some(client)) => match backend {
            Some(backend) => behind(backend, places, directory),
            None => server_at(client.remote, client.netns, places, directory),
        },
        (None, None) => return None,
    };
    let transport = Transport::Tcp;
    let confidence = connection.confidence();
    Some(Route { client: client_party, server: server_party, port, transport, vip, confidence })
}

/// The process, or where the socket is when the process is not known.
#[must_use]
pub(super) fn party(tgid: Tgid, ip: IpAddr, directory: &Directory) -> Party {
    directory.get(tgid).map_or(Party::Address(ip), |known| Party::Known(known.clone()))
}

/// Who listens at an address that belongs to whatever namespace of this node, or the address.
#[must_use]
pub(super) fn behind(at: (IpAddr, u16), places: &Places, directory: &Directory) -> Party {
    places.listener_anywhere(at).map_or(Party::Address(at.0), |tgid| party(tgid, at.0, directory))
}

/// The listener on this node, or the address.
#[must_use]
pub(super) fn server_at(at: (IpAddr, u16), netns: u32, places: &Places, directory: &Directory) -> Party {
    places.listener(netns, at).map_or(Party::Address(at.0), |tgid| party(tgid, at.0, directory))
}
