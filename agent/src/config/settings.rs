//! Resolved and valid settings of `taskscope agent`. Nothing else sees arguments or the environment.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// A kind of telemetry, which may have a collector of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// Of requests over HTTP.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

/// Where each signal goes; `None`: it is not exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    pub traces: Option<Otlp>,
    pub metrics: Option<Otlp>,
    pub logs: Option<Otlp>,
}

impl Exports {
    /// Those that go somewhere.
    pub fn each(&self) -> impl Iterator<Item = (Signal, &Otlp)> {
        let [traces, metrics, logs] = Signal::ALL;
        [(traces, &self.traces), (metrics, &self.metrics), (logs, &self.logs)]
            .into_iter()
            .filter_map(|(signal, otlp)| Some((signal, otlp.as_ref()?)))
    }
}

/// Where and how the OTLP of one signal goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Otlp {
    /// HTTP: the URL of requests. gRPC: `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoint: String,
    pub protocol: OtlpProtocol,
    pub headers: Vec<(String, String)>,
    pub timeout: Duration,
    pub compression: Compression,
    pub tls: Tls,
}

impl fmt::Debug for Otlp {
    /// Without the values of headers: they are where secrets are, and settings end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, protocol, headers, timeout, compression, tls } = self;
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Otlp")
            .field("endpoint", endpoint)
            .field("protocol", protocol)
            .field("headers", &names)
            .field("timeout", timeout)
            .field("compression", compression)
            .field("tls", tls)
            .finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    Grpc,
    HttpProtobuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Zstd,
    Gzip,
    None,
}

/// PEM files. A client certificate needs its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of authorities; `None`: those of the web.
    pub ca: Option<PathBuf>,
    pub client: Option<ClientCertificate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What to do at interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Native XDP once at start, else TCX.
    Auto,
    /// Native XDP or nothing.
    Native,
    /// No packet program.
    Off,
}

/// How programs hang on interfaces where XDP does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcMode {
    /// TCX, else clsact.
    Auto,
    /// TCX or nothing.
    Tcx,
    /// Filters of a clsact qdisc.
    Clsact,
}

/// Which processes are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Globs over the path of the executable; none: all.
    pub watch_exe: Vec<String>,
    pub watch_pid: Vec<u32>,
    /// Prefixes of container ids.
    pub watch_container: Vec<String>,
    pub exclude_exe: Vec<String>,
}

/// Everything the agent needs to know before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub socket: PathBuf,
    /// The query API over TCP as well; `None`: only the socket.
    pub listen: Option<SocketAddr>,
    pub otlp: Exports,
    /// Spans waiting for export; beyond, the oldest go.
    pub export_queue: usize,
    pub metrics_interval: Duration,
    pub xdp: XdpMode,
    pub tc: TcMode,
    /// By name; none: all physical ones.
    pub interfaces: Vec<String>,
    pub selection: Selection,
    /// Uprobes on Go programs' HTTP.
    pub http_spans: bool,
    /// What goes wrong in the network, as log events.
    pub network_events: bool,
    /// Name of this node: `host.name`, and `k8s.node.name` of processes in pods.
    pub node: String,
    /// Of the agent itself, from `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource_attributes: Vec<(String, String)>,
    /// How long queries look back: traces and findings older than this are forgotten.
    pub window: Duration,
    /// Debug lines of the kernel half.
    pub kernel_log: bool,
    /// Levels of the agent's own log, in the form of `tracing_subscriber`'s filters.
    pub log: String,
}
