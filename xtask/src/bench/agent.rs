//! The agent, switched on for a round.

use std::{net::SocketAddr, path::Path};

use serde_json::Value;

use crate::run::{Agent, Network};

/// Returns when the agent answers, has its programs on the interfaces of the network, and has placed
/// probes in `watched`: a round before that would measure nothing. Spans and metrics go to the address `sink`.
pub(super) fn start(
    taskscope: &Path,
    network: Network<'_>,
    watched: Option<u32>,
    sink: Option<SocketAddr>,
) -> anyhow::Result<Agent> {
    let mut agent = Agent::spawn(taskscope, network, |command| {
        if let Some(pid) = watched {
            // The load's own program is no part of the service.
            command.args(["--watch-pid", &pid.to_string()]);
        }
        if let Some(sink) = sink {
            command.arg(format!("--otlp-endpoint=http://{sink}"));
            command.args(["--otlp-protocol", "http/protobuf"]);
        }
    })?;
    agent.until(&["status"], |_| true)?;
    agent.until_hooked(network)?;
    if let Some(pid) = watched {
        agent.until(&["targets"], |answer| has_probes(answer, pid))?;
    }
    agent.until_at_rest()?;
    Ok(agent)
}

fn has_probes(answer: &Value, pid: u32) -> bool {
    let is_probed = |item: &Value| {
        item["target"]["pid"] == pid && item["probes"].as_array().is_some_and(|probes| !probes.is_empty())
    };
    answer["items"].as_array().is_some_and(|items| items.iter().any(is_probed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_target_with_probes_is_ready() {
        let answer = json!({"items": [
            {"target": {"pid": 7}, "probes": [{"name": "x"}]},
            {"target": {"pid": 8}, "probes": []},
        ]});
        assert!(has_probes(&answer, 7));
        assert!(!has_probes(&answer, 8));
        assert!(!has_probes(&answer, 9));
        assert!(!has_probes(&Value::Null, 7));
    }
}
