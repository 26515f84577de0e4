//! A real Grafana Tempo, and what it answers.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{eventually, http, mortal::mortal, skip};

/// Killed when dropped, with all that it kept: told to end politely it takes half a minute.
#[derive(Debug)]
pub struct Tempo {
    child: Child,
    http: u16,
    otlp: u16,
    _dir: TempDir,
}

impl Tempo {
    /// Version 1.5, which finds traces by id and by tag. `None`, with a loud skip, if there is none: `cargo xtask test`
    /// builds one and names it in `TASKSCOPE_TEMPO_1`.
    #[track_caller]
    pub fn start() -> Option<Self> {
        let Some(binary) = env::var_os("TASKSCOPE_TEMPO_1").map(PathBuf::from).filter(|it| it.is_file())
        else {
            skip("no Tempo: TASKSCOPE_TEMPO_1 does not name a file");
            return None;
        };
        let dir = tempfile::tempdir().expect("there is a folder for temporary files");
        let [http, grpc, members, otlp] = http::free_ports();
        let file = dir.path().join("tempo.yaml");
        let data = dir.path().display();
        let config = format!(
            "search_enabled: true\n\
             usage_report: {{reporting_enabled: false}}\n\
             server: {{http_listen_address: 127.0.0.1, http_listen_port: {http}, grpc_listen_address: 127.0.0.1, \
             grpc_listen_port: {grpc}}}\n\
             memberlist: {{bind_addr: [127.0.0.1], bind_port: {members}}}\n\
             distributor: {{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{otlp}'}}}}}}}}}}\n\
             ingester: {{trace_idle_period: 500ms, flush_check_period: 200ms, lifecycler: {{min_ready_duration: 0s, \
             final_sleep: 0s}}}}\n\
             storage: {{trace: {{backend: local, wal: {{path: '{data}/wal'}}, local: {{path: '{data}/blocks'}}}}}}\n"
        );
        fs::write(&file, config).expect("the folder is ours");
        let log = fs::File::create(dir.path().join("tempo.log")).expect("the folder is ours");
        let child = mortal(Command::new(&binary).arg(format!("-config.file={}", file.display())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let mut tempo = Self { child, http, otlp, _dir: dir };
        eventually("Tempo to be ready", || {
            let is_ready = http::get(http, "/ready").is_ok_and(|it| it.status == 200);
            let ended = tempo.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "Tempo ended with {ended:?}");
            is_ready.then_some(())
        });
        Some(tempo)
    }

    /// Where it takes OTLP over gRPC.
    pub fn otlp(&self) -> u16 {
        self.otlp
    }

    /// All spans of a trace, as Tempo has them. Empty: it has no such trace.
    #[track_caller]
    pub fn spans(&self, trace_id: &str) -> Vec<Value> {
        let Some(trace) = self.ask(&format!("/api/traces/{trace_id}")) else {
            return Vec::new();
        };
        let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let scopes = list(&trace, "batches").into_iter().flat_map(|batch| {
            // Its name before version 0.15 of the protocol, and the name since then.
            [list(&batch, "instrumentationLibrarySpans"), list(&batch, "scopeSpans")].concat()
        });
        scopes.flat_map(|scope| list(&scope, "spans")).collect()
    }

    /// Ids of traces with a span that has all of these, `name=value name=value`.
    #[track_caller]
    pub fn tagged(&self, tags: &str) -> Vec<String> {
        let tags = tags.replace('%', "%25").replace('=', "%3D").replace(' ', "%20");
        let found = self.ask(&format!("/api/search?tags={tags}&limit=100")).unwrap_or_default();
        let traces = found["traces"].as_array().cloned().unwrap_or_default();
        traces.iter().filter_map(|it| Some(it["traceID"].as_str()?.to_owned())).collect()
    }

    /// `None`: it has not what was asked for.
    #[track_caller]
    fn ask(&self, path: &str) -> Option<Value> {
        let answer =
            http::get(self.http, path).unwrap_or_else(|error| panic!("Tempo, asked for {path}: {error}"));
        if answer.status == 404 {
            return None;
        }
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        Some(
            serde_json::from_str(&answer.body)
                .unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.body)),
        )
    }
}

impl Drop for Tempo {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
