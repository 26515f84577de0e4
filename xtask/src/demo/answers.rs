//! What the agent has seen, and what of the shop it has not.

use serde_json::Value;

use super::shop::{BEHIND_SERVICE, EDGES, FINDINGS, SERVICE};
use crate::run::Client;

pub(super) struct Answers {
    edges: Vec<(String, String)>,
    /// The address of the service leads to its server.
    is_resolved: bool,
    /// Kind and target.
    findings: Vec<(String, String)>,
    traces: Vec<Value>,
}

impl Answers {
    pub(super) fn ask(client: &Client) -> anyhow::Result<Self> {
        let [edges, findings] = [items(client, "topology")?, items(client, "findings")?];
        Ok(Self::new(&edges, &findings, items(client, "traces")?))
    }

    fn new(edges: &[Value], findings: &[Value], traces: Vec<Value>) -> Self {
        let text = |it: &Value| it.as_str().map(str::to_owned);
        let names = |it: &Value| Some((text(&it["client"]["service"])?, text(&it["server"]["service"])?));
        let finding = |it: &Value| Some((text(&it["kind"])?, text(&it["target"]["service"])?));
        let is_resolved = |it: &Value| {
            let vip = &it["vip"];
            let is_service = vip["address"] == SERVICE.ip().to_string() && vip["port"] == SERVICE.port();
            is_service && names(it).is_some_and(|(client, server)| are(BEHIND_SERVICE, &client, &server))
        };
        Self {
            is_resolved: edges.iter().any(is_resolved),
            edges: edges.iter().filter_map(names).collect(),
            findings: findings.iter().filter_map(finding).collect(),
            traces,
        }
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
        let not_among = |seen: &[(String, String)], wanted: &(&str, &str)| {
            !seen.iter().any(|(first, second)| are(*wanted, first, second))
        };
        let edges = EDGES.iter().filter(|it| not_among(&self.edges, it));
        let mut missing: Vec<_> =
            edges.map(|(client, server)| format!("the edge {client} → {server}")).collect();
        if !self.is_resolved {
            missing.push(format!("the server behind {SERVICE}"));
        }
        let findings = FINDINGS.iter().filter(|it| not_among(&self.findings, it));
        missing.extend(findings.map(|(kind, target)| format!("the finding {kind} of {target}")));
        if self.trace().is_none() {
            missing.push("a trace across two processes".to_owned());
        }
        missing
    }
}

fn are(pair: (&str, &str), first: &str, second: &str) -> bool {
    pair == (first, second)
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
        let edge = |(client, server): &(&str, &str)| json!({"client": {"service": client}, "server": {"service": server}});
        let vip = json!({"address": SERVICE.ip().to_string(), "port": SERVICE.port(), "backend_port": 8080});
        let mut edges: Vec<_> = EDGES.iter().map(edge).collect();
        edges[3]["vip"] = vip;
        let finding = |(kind, target): &(&str, &str)| json!({"kind": kind, "target": {"service": target}});
        let mut findings: Vec<_> = FINDINGS.iter().map(finding).collect();
        let traces = vec![json!({"trace_id": "a", "services": 2})];
        assert!(Answers::new(&edges, &findings, traces.clone()).missing().is_empty());
        // An address is no service, a direction counts, as does whose address it is and whose finding.
        edges[0]["client"] = json!({"address": "127.0.0.1"});
        edges[1] = edge(&("shop-catalog", "shop-web"));
        edges[2]["vip"] = edges[3]["vip"].take();
        findings[0] = finding(&(FINDINGS[0].0, "shop-cart"));
        let missing = Answers::new(&edges, &findings, Vec::new()).missing();
        let want = [
            "the edge shop-load → shop-web",
            "the edge shop-web → shop-catalog",
            "the server behind 10.96.0.10:80",
            "the finding rto_episode of shop-web",
            "a trace across two processes",
        ];
        assert_eq!(missing, want);
    }

    #[test]
    fn failed_ones_come_first_then_wide_then_slow_ones() {
        let trace = |id: &str, services: u64, status: &str, seconds: f64| json!({"trace_id": id, "services": services, "status": status, "duration_seconds": seconds});
        let mut traces =
            vec![trace("alone", 1, "error", 9.0), trace("quick", 2, "ok", 1.0), trace("slow", 2, "ok", 2.0)];
        assert_eq!(Answers::new(&[], &[], traces.clone()).trace(), Some("slow"));
        traces.push(trace("wide", 3, "ok", 0.5));
        assert_eq!(Answers::new(&[], &[], traces.clone()).trace(), Some("wide"));
        traces.push(trace("failed", 2, "error", 0.1));
        assert_eq!(Answers::new(&[], &[], traces).trace(), Some("failed"));
    }
}
