//! Probes on a real kernel and real processes. Needs CAP_BPF; see `tests::require_bpf!`.

mod verifier;
