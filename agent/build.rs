//! Generates the query API from its proto and embeds the kernel half.

use std::{env, fs, path::PathBuf};

/// The only source of the query API and of the JSON of every command.
const PROTO: &str = "taskscope/v1/query.proto";

fn main() {
    embed_kernel_half();
    generate_query();
}

/// Without the object (no `cargo xtask bpf` yet) an empty file stands in, so that checks and pure
/// tests need no BPF compiler. Whoever loads it gets a clear error.
fn embed_kernel_half() {
    println!("cargo::rerun-if-env-changed=TASKSCOPE_BPF_OBJECT");
    let object = match env::var_os("TASKSCOPE_BPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        None => directory("CARGO_MANIFEST_DIR").join("../target/bpf/agent.bpf.o"),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let bytes = if object.exists() {
        fs::read(&object).unwrap_or_else(|error| panic!("cannot read {}: {error}", object.display()))
    } else {
        Vec::new()
    };
    let embedded = directory("OUT_DIR").join("agent.bpf.o");
    fs::write(&embedded, bytes)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", embedded.display()));
}

fn generate_query() {
    let root = directory("CARGO_MANIFEST_DIR").join("proto");
    println!("cargo::rerun-if-changed={}", root.join(PROTO).display());
    let descriptors = protox::compile([PROTO], [&root]).unwrap_or_else(|error| panic!("{error:?}"));

    let mut builder = tonic_prost_build::configure()
        .btree_map(".")
        .type_attribute(".", "#[derive(serde::Serialize, schemars::JsonSchema)]");
    for oneof in ["Peer.of", "Value.of"] {
        builder = builder.type_attribute(format!(".taskscope.v1.{oneof}"), "#[serde(untagged)]");
    }
    for wrapper in ["Peer", "Value"] {
        builder = builder.message_attribute(format!(".taskscope.v1.{wrapper}"), "#[serde(transparent)]");
    }
    builder = builder.field_attribute("head", "#[serde(flatten)]");
    // Numbers here, ends and words in JSON (`query/topology.rs`).
    for number in ["client", "server", "server_port", "transport", "role_confidence"] {
        builder = builder.field_attribute(format!("Edge.{number}"), "#[serde(skip)]");
    }
    builder = builder.field_attribute("EdgeInFull.edge", "#[serde(skip)]");
    // Ten thousand edges are read at once, most without these.
    for seldom in ["Edge.requests", "Edge.network", "Edge.vip"] {
        builder = builder.boxed(format!(".taskscope.v1.{seldom}"));
    }
    builder = builder
        .field_attribute("Edge.id", "#[serde(serialize_with = \"crate::query::json::hex\")]")
        .field_attribute("Edge.id", "#[schemars(with = \"String\")]");
    for time in ["time", "start_time", "start", "first_seen", "last_seen", "ended"] {
        builder = builder
            .field_attribute(time, "#[serde(serialize_with = \"crate::query::json::time\")]")
            .field_attribute(time, "#[schemars(with = \"crate::query::json::Time\")]");
    }
    for time in ["last_beat", "began"] {
        builder = builder
            .field_attribute(time, "#[serde(serialize_with = \"crate::query::json::time_or_null\")]")
            .field_attribute(time, "#[schemars(with = \"Option<crate::query::json::Time>\")]");
    }
    // prost makes every sub-message an `Option`; these are always there.
    for (field, message) in [
        ("head", "Head"),
        ("agent", "Agent"),
        ("Target.runtime", "Runtime"),
        ("AgentStatus.events", "Events"),
        ("AgentStatus.nat", "Nat"),
        ("AgentStatus.interfaces", "Interfaces"),
        ("WatchedTarget.target", "Target"),
        ("connections", "Connections"),
        ("bytes", "BothWays"),
        ("packets", "BothWays"),
        ("Network.retransmits", "Retransmits"),
        ("Connections.closed", "Closed"),
        ("root", "TraceRoot"),
    ] {
        builder = builder.field_attribute(field, format!("#[schemars(with = \"{message}\")]"));
    }
    builder = builder.field_attribute("of", "#[schemars(required)]");
    builder.compile_fds(descriptors).unwrap_or_else(|error| panic!("cannot write the query API: {error}"));
}

fn directory(variable: &str) -> PathBuf {
    PathBuf::from(env::var_os(variable).unwrap_or_else(|| panic!("cargo sets {variable}")))
}
