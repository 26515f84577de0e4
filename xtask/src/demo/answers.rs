//! What the agent has seen, and what of the shop it has not.

use serde_json::Value;

use super::shop::EDGES;
use crate::run::Client;

pub(super) struct Answers {
    edges: Vec<(String, String)>,
    traces: Vec<Value>,
}

impl Answers {
    pub(super) fn ask(client: &Client) -> anyhow::Result<Self> {
        Ok(Self::new(&items(client, "topology")?, items(client, "traces")?))
    }

    fn new(edges: &[Value], traces: Vec<Value>) -> Self {
        let service = |end: &Value| end["service"].as_str().map(str::to_owned);
        let edges = edges.iter().filter_map(|it| Some((service(&it["client"])?, service(&it["server"])?)));
        Self { edges: edges.collect(), traces }
    }

    /// Those with a service at both ends.
    pub(super) fn edges(&self) -> &[(String, String)] {
        &self.edges
    }

    /// The trace to show: across processes, one that failed if there is any, then the widest, then the slowest.
    pub(super) fn trace(&self) -> Option<&str> {
        let n_services = |it: &Value| it["services"].as_u64().unwrap_or(0);
        // A duration that is not there is not slow; none is negative, so their bits are in order.
        let seconds = |it: &Value| it["duration_seconds"].as_f64().unwrap_or(0.0).to_bits();
        let rank = |it: &&Value| (it["status"] == "error", n_services(it), seconds(it));
        let best = self.traces.iter().filter(|it| 2 <= n_services(it)).max_by_key(rank)?;
        best["trace_id"].as_str()
    }

    pub(super) fn missing(&self) -> Vec<String> {
        let is_seen = |(client, server): &(&str, &str)| {
            self.edges.iter().any(|(seen_client, seen_server)| seen_client == client && seen_server == server)
        };
        let edges = EDGES.iter().filter(|it| !is_seen(it));
        let mut missing: Vec<_> =
            edges.map(|(client, server)| format!("the edge {client} → {server}")).collect();
        if self.trace().is_none() {
            missing.push("a trace across two processes".to_owned());
        }
        missing
    }
}

fn items(client: &Client, what: &str) -> anyhow::Result<Vec<Value>> {
    Ok(client.ask(&[what])?["items"].as_array().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_seen_is_named() {
        let edge = |client: &str, server: &str| json!({"client": {"service": client}, "server": {"service": server}});
        let mut edges: Vec<_> = EDGES.iter().map(|(client, server)| edge(client, server)).collect();
        let traces = vec![json!({"trace_id": "a", "services": 2})];
        assert!(Answers::new(&edges, traces.clone()).missing().is_empty());
        // An address is no service, and a direction counts.
        edges[0] = json!({"client": {"address": "127.0.0.1"}, "server": {"service": "shop-web"}});
        edges[1] = edge("shop-catalog", "shop-web");
        let missing = Answers::new(&edges, Vec::new()).missing();
        let want = [
            "the edge shop-load → shop-web",
            "the edge shop-web → shop-catalog",
            "a trace across two processes",
        ];
        assert_eq!(missing, want);
    }

    #[test]
    fn failed_ones_come_first_then_wide_then_slow_ones() {
        let trace = |id: &str, services: u64, status: &str, seconds: f64| json!({"trace_id": id, "services": services, "status": status, "duration_seconds": seconds});
        let mut traces =
            vec![trace("alone", 1, "error", 9.0), trace("quick", 2, "ok", 1.0), trace("slow", 2, "ok", 2.0)];
        assert_eq!(Answers::new(&[], traces.clone()).trace(), Some("slow"));
        traces.push(trace("wide", 3, "ok", 0.5));
        assert_eq!(Answers::new(&[], traces.clone()).trace(), Some("wide"));
        traces.push(trace("failed", 2, "error", 0.1));
        assert_eq!(Answers::new(&[], traces).trace(), Some("failed"));
    }
}
