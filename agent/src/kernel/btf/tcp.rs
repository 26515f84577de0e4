//! Fields of sockets that tell how a connection fares. Without one of them its feature is gone, not the rest.

use agent_common::layout::{ABSENT, TcpLayout};

use crate::kernel::{KernelError, Refused};

/// Needed by programs of [`super::TRACEPOINTS`], which are refused by the verifier without them.
const CLASSES: &str = "retransmits by their cause";
const EPISODES: &str = "retransmission time-outs";
const STANDSTILLS: &str = "how open connections fare";
const QUEUES: &str = "accept queues";
const PORTS: &str = "servers of failed connects to services";

/// `offset`: of a field by its path.
pub(super) fn layout(
    offset: &dyn Fn(&'static str) -> Option<u32>,
    jiffy_ns: u32,
) -> (TcpLayout, Vec<Refused>) {
    let mut refused: Vec<Refused> = Vec::new();
    let mut at = |path, feature| {
        offset(path).unwrap_or_else(|| {
            if !refused.iter().any(|it| it.feature == feature) {
                refused.push(Refused { feature, error: KernelError::NoField { path } });
            }
            ABSENT
        })
    };
    let layout = TcpLayout {
        icsk_ca_state: at("inet_connection_sock.icsk_ca_state", CLASSES),
        icsk_pending: at("inet_connection_sock.icsk_pending", CLASSES),
        icsk_backoff: at("inet_connection_sock.icsk_backoff", STANDSTILLS),
        icsk_probes_out: at("inet_connection_sock.icsk_probes_out", STANDSTILLS),
        icsk_rto: at("inet_connection_sock.icsk_rto", EPISODES),
        tcp_packets_out: at("tcp_sock.packets_out", STANDSTILLS),
        tcp_snd_wnd: at("tcp_sock.snd_wnd", STANDSTILLS),
        tcp_rcv_tstamp: at("tcp_sock.rcv_tstamp", STANDSTILLS),
        tcp_lsndtime: at("tcp_sock.lsndtime", STANDSTILLS),
        icsk_lrcvtime: at("inet_connection_sock.icsk_ack.lrcvtime", STANDSTILLS),
        tcp_bytes_acked: at("tcp_sock.bytes_acked", STANDSTILLS),
        sock_ack_backlog: at("sock.sk_ack_backlog", QUEUES),
        sock_max_ack_backlog: at("sock.sk_max_ack_backlog", QUEUES),
        inet_sport: at("inet_sock.inet_sport", PORTS),
        jiffy_ns,
    };
    (layout, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_there_costs_its_feature_only() {
        let check = |absent: &str, want: &[&str]| {
            let offset = |path: &'static str| (!path.ends_with(absent)).then_some(8);
            let (layout, refused) = layout(&offset, 4_000_000);
            assert_eq!(refused.iter().map(|it| it.feature).collect::<Vec<_>>(), want, "{absent}");
            layout
        };
        assert_eq!(check(".nothing", &[]).tcp_snd_wnd, 8);
        assert_eq!(check(".icsk_pending", &[CLASSES]).icsk_pending, ABSENT);
        assert_eq!(check(".snd_wnd", &[STANDSTILLS]).tcp_snd_wnd, ABSENT);
    }
}
