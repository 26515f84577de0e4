//! A real OpenTelemetry Collector, and what it wrote down.

mod otlp;

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub use otlp::{Attributes, Kind, Log, Metric, Received, Span, Value};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{eventually, http, mortal::mortal, paths, skip};

/// Killed when dropped, with all its files.
#[derive(Debug)]
pub struct Collector {
    otelcol: PathBuf,
    dir: TempDir,
    ports: Ports,
    /// Who gets traces besides the file.
    traces: Option<u16>,
    child: Option<Child>,
    n_starts: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    grpc: u16,
    http: u16,
    health: u16,
}

impl Collector {
    /// `None`, with a loud skip, if there is no collector: `cargo xtask test` builds one and names it in
    /// `TASKSCOPE_OTELCOL`.
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::start_before(None)
    }

    /// As [`Collector::start`]; whatever it writes down of traces it also sends on to that port over gRPC.
    #[track_caller]
    pub fn start_before(traces: Option<u16>) -> Option<Self> {
        let Some(otelcol) = binary() else {
            skip("no collector: TASKSCOPE_OTELCOL does not name a file, and there is no target/otelcol");
            return None;
        };
        let dir = tempfile::tempdir().expect("there is a folder for temporary files");
        let mut collector = Self { otelcol, dir, ports: Ports::free(), traces, child: None, n_starts: 0 };
        collector.restart();
        Some(collector)
    }

    /// The endpoint for OTLP over gRPC.
    pub fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.grpc)
    }

    /// The endpoint for OTLP over HTTP, without `/v1/traces`.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// Stops as an operator would: SIGTERM, and what was received is written.
    #[track_caller]
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, Signal::TERM).expect("the collector can be signalled");
        eventually("the end of the collector", || child.try_wait().expect("a child can be waited for"));
    }

    /// Starts again, on the same ports; what it received before is kept.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.n_starts += 1;
        let config = self.dir.path().join("otelcol.yaml");
        fs::write(&config, self.ports.config(&self.output(self.n_starts), self.traces))
            .expect("the folder is ours");
        let log = fs::File::create(self.log_path()).expect("the folder is ours");
        let child = mortal(Command::new(&self.otelcol).arg("--config").arg(&config))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.otelcol.display()));
        self.child = Some(child);
        eventually("the collector's health", || {
            let is_healthy = http::get(self.ports.health, "/").is_ok_and(|it| it.status == 200);
            // Asked after the health: another process on our port must not be taken for ours.
            self.assert_alive();
            is_healthy.then_some(())
        });
    }

    /// All that was received until now, over all starts.
    #[track_caller]
    pub fn received(&self) -> Received {
        let mut text = String::new();
        for n in 1..=self.n_starts {
            // There is no file before the first export.
            if let Ok(part) = fs::read_to_string(self.output(n)) {
                // The last line may be half written.
                text.push_str(part.rfind('\n').map_or("", |end| &part[..=end]));
            }
        }
        Received::parse(&text).unwrap_or_else(|error| panic!("cannot read what the collector wrote: {error}"))
    }

    pub fn spans(&self) -> Vec<Span> {
        self.received().spans
    }

    pub fn metrics(&self) -> Vec<Metric> {
        self.received().metrics
    }

    pub fn logs(&self) -> Vec<Log> {
        self.received().logs
    }

    fn output(&self, start: u32) -> PathBuf {
        self.dir.path().join(format!("received-{start}.jsonl"))
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join(format!("otelcol-{}.log", self.n_starts))
    }

    #[track_caller]
    fn assert_alive(&mut self) {
        let child = self.child.as_mut().expect("it was just started");
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            let mut why = fs::read_to_string(self.log_path()).unwrap_or_default();
            why.truncate(4000.min(why.len()));
            panic!("the collector ended with {status}: {why}");
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _killed = child.kill();
            let _reaped = child.wait();
        }
    }
}

impl Ports {
    fn free() -> Self {
        let [grpc, http, health] = http::free_ports();
        Self { grpc, http, health }
    }

    fn config(&self, output: &Path, traces: Option<u16>) -> String {
        let Self { grpc, http, health } = self;
        let file = output.display();
        // An exporter that no pipeline names is not started.
        let further = traces.unwrap_or_default();
        let mut config = format!(
            "extensions: {{health_check: {{endpoint: '127.0.0.1:{health}'}}}}\n\
             receivers:\n  otlp:\n    protocols:\n\
             \x20     grpc: {{endpoint: '127.0.0.1:{grpc}'}}\n\
             \x20     http: {{endpoint: '127.0.0.1:{http}'}}\n\
             exporters:\n\
             \x20 file: {{path: '{file}', format: json, flush_interval: 100ms}}\n\
             \x20 otlp_grpc: {{endpoint: '127.0.0.1:{further}', tls: {{insecure: true}}}}\n\
             service:\n  extensions: [health_check]\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n"
        );
        for signal in ["traces", "metrics", "logs"] {
            let further = if signal == "traces" && traces.is_some() { ", otlp_grpc" } else { "" };
            writeln!(config, "    {signal}: {{receivers: [otlp], exporters: [file{further}]}}")
                .expect("a String takes all");
        }
        config
    }
}

fn binary() -> Option<PathBuf> {
    match env::var_os("TASKSCOPE_OTELCOL") {
        Some(path) => Some(PathBuf::from(path)).filter(|it| it.is_file()),
        None => paths::find_built("otelcol"),
    }
}
