//! Embeds the kernel half. Without it an empty object is embedded, and loading it is a clear error.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=TASKSCOPE_BPF_OBJECT");
    let object = env::var_os("TASKSCOPE_BPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/agent.bpf.o"),
        PathBuf::from,
    );
    println!("cargo::rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("agent.bpf.o");
    fs::write(&out, fs::read(&object).unwrap_or_default())
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", out.display()));
}
