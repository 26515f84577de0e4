//! Edges that become one: sums of what each counted.

use crate::assemble::edge::{BothWays, Connections, Edge, Network, Requests};

/// The first of several edges that become one.
pub(crate) fn first(edge: &Edge) -> Edge {
    // Sums that begin anew are for the export: here a sum is from `first_seen` on.
    Edge { counts_since: edge.first_seen, before: None, recent: None, ..edge.clone() }
}

/// Adds another one. Each field is named, so that a new one is not forgotten.
pub(crate) fn add(sum: &mut Edge, other: &Edge) {
    let Edge {
        id: _,
        client,
        server,
        server_port: _,
        transport: _,
        vip,
        addresses,
        protocol,
        confidence,
        connections,
        bytes,
        packets,
        requests,
        network,
        faults,
        // Who shows an edge in full gathers them.
        recent: _,
        first_seen,
        counts_since: _,
        before: _,
        last_seen,
    } = other;
    let is_later = sum.last_seen < *last_seen;
    if is_later {
        sum.client = client.clone();
        sum.server = server.clone();
        sum.vip = *vip;
        sum.last_seen = *last_seen;
    }
    sum.addresses = newest(sum.addresses, *addresses, is_later);
    add_network(&mut sum.network, network, is_later);
    sum.faults = sum.faults.plus(*faults);
    sum.first_seen = sum.first_seen.min(*first_seen);
    sum.counts_since = sum.first_seen;
    sum.protocol = match (sum.protocol, *protocol) {
        (Some(one), Some(another)) if one != another => None,
        (one, another) => one.or(another),
    };
    // The arrow is as sure as the least sure one that it stands for.
    sum.confidence = sum.confidence.min(*confidence);
    sum.connections = both_connections(&sum.connections, connections);
    sum.bytes = both_ways(sum.bytes, *bytes);
    sum.packets = both_ways(sum.packets, *packets);
    if let Some(more) = requests {
        add_requests(sum.requests.get_or_insert_default(), more);
    }
}

fn both_connections(one: &Connections, another: &Connections) -> Connections {
    let Connections {
        opened,
        failed,
        refused,
        timed_out,
        abandoned,
        unreachable,
        connect_reset,
        other,
        reset,
        active,
    } = another;
    Connections {
        opened: one.opened + opened,
        failed: one.failed + failed,
        refused: one.refused + refused,
        timed_out: one.timed_out + timed_out,
        abandoned: one.abandoned + abandoned,
        unreachable: one.unreachable + unreachable,
        connect_reset: one.connect_reset + connect_reset,
        other: one.other + other,
        reset: one.reset + reset,
        active: one.active + active,
    }
}

fn both_ways(one: BothWays, another: BothWays) -> BothWays {
    BothWays {
        to_server: one.to_server.saturating_add(another.to_server),
        to_client: one.to_client.saturating_add(another.to_client),
    }
}

fn add_requests(sum: &mut Requests, Requests { count, errors, latency }: &Requests) {
    sum.count += count;
    sum.errors += errors;
    sum.latency.merge(latency);
}

/// What is known of the one that was seen last, else of the other.
fn newest<T>(sum: Option<T>, other: Option<T>, is_later: bool) -> Option<T> {
    if is_later { other.or(sum) } else { sum.or(other) }
}

/// The round trip is that of the socket seen last.
fn add_network(sum: &mut Network, other: &Network, is_later: bool) {
    let Network { rtt, retransmits, round_trips, connect_times } = other;
    sum.rtt = newest(sum.rtt, *rtt, is_later);
    sum.retransmits += retransmits;
    sum.round_trips.merge(round_trips);
    sum.connect_times.merge(connect_times);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{assemble::edge::Confidence, clock::Ktime, query::samples};

    #[test]
    fn a_sum_is_what_one_edge_would_have_counted() {
        let snapshot = samples::snapshot();
        let [called, refused] = [0, 1].map(|it| Edge::clone(&snapshot.edges[it]));
        let mut sum = first(&called);
        add(&mut sum, &refused);
        assert_eq!((sum.connections.opened, sum.connections.failed, sum.connections.refused), (3, 4, 4));
        assert_eq!((sum.bytes, sum.packets.to_server), (called.bytes, 104));
        assert_eq!((sum.first_seen, sum.last_seen), (called.first_seen, called.last_seen));
        assert_eq!((&sum.client, sum.requests.as_ref()), (&called.client, called.requests.as_ref()));

        let mut slower = called.clone();
        let requests = slower.requests.as_mut().unwrap();
        (0..90).for_each(|_| requests.latency.record(Duration::from_secs(1)));
        requests.count += 90;
        slower.network =
            Network { rtt: Some(Duration::from_millis(3)), retransmits: 7, ..Network::default() };
        slower.confidence = Confidence::Port;
        slower.last_seen = Ktime(called.last_seen.0 + 1);
        slower.client = refused.client;
        add(&mut sum, &slower);
        let requests = sum.requests.unwrap();
        assert_eq!((requests.count, requests.errors, requests.latency.count()), (110, 2, 110));
        assert!(Some(Duration::from_secs(1)) <= requests.latency.quantile(0.5), "{requests:?}");
        assert_eq!((sum.network.rtt, sum.network.retransmits), (Some(Duration::from_millis(3)), 12));
        assert_eq!((sum.confidence, &sum.client), (Confidence::Port, &slower.client));
    }

    #[test]
    fn the_end_that_was_seen_last_is_shown_whatever_the_order() {
        let snapshot = samples::snapshot();
        let [called, refused] = [0, 1].map(|it| Edge::clone(&snapshot.edges[it]));
        for (one, another) in [(&called, &refused), (&refused, &called)] {
            let mut sum = first(one);
            add(&mut sum, another);
            assert_eq!((&sum.client, sum.last_seen), (&called.client, called.last_seen));
            assert_eq!((&sum.server, sum.vip), (&called.server, called.vip));
            assert_eq!((sum.network.rtt, sum.protocol), (called.network.rtt, Some("http")));
        }
    }
}
