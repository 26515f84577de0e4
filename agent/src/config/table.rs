//! The one table of settings: flags, variables, keys of the file, help and the README come from it.

use super::settings::Signal;

/// How many values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    One,
    List,
    /// `--x` and `--no-x`; elsewhere `true` or `false`.
    Switch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Parsed like a value that somebody typed.
    Value(&'static str),
    /// What holds when nobody sets it.
    Unset(&'static str),
}

#[derive(Debug)]
pub struct Setting {
    pub key: Key,
    /// The same word in the file, in the variable and, with dashes, in the flag.
    pub name: &'static str,
    pub shape: Shape,
    pub value: &'static str,
    pub default: Default,
    /// The last word of `OTEL_EXPORTER_OTLP_*` variables that are obeyed as well.
    pub otel: Option<&'static str>,
    pub about: &'static str,
    pub cost: &'static str,
}

impl Setting {
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    #[must_use]
    pub fn variable(&self) -> String {
        format!("TASKSCOPE_{}", self.name.to_uppercase())
    }

    /// The variable for `signal`, or the one for all.
    #[must_use]
    pub fn otel_variable(&self, signal: Option<Signal>) -> Option<String> {
        let signal = signal.map(|it| format!("{}_", it.name().to_uppercase()));
        self.otel.map(|word| format!("OTEL_EXPORTER_OTLP_{}{word}", signal.unwrap_or_default()))
    }

    /// A file cannot name the file.
    #[must_use]
    pub fn in_file(&self) -> bool {
        self.key != Key::Config
    }
}

macro_rules! settings {
    ($( $key:ident: $name:literal $shape:ident $value:literal $default:ident $text:literal
        $(otel $otel:literal)? { $about:literal, $cost:literal } )*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Key { $( $key, )* }

        pub const TABLE: &[Setting] = &[ $( Setting {
            key: Key::$key,
            name: $name,
            shape: Shape::$shape,
            value: $value,
            default: Default::$default($text),
            otel: settings!(@otel $($otel)?),
            about: $about,
            cost: $cost,
        }, )* ];
    };
    (@otel) => { None };
    (@otel $otel:literal) => { Some($otel) };
}

impl Key {
    #[must_use]
    pub fn setting(self) -> &'static Setting {
        &TABLE[self as usize]
    }
}

settings! {
    Config: "config" One "PATH" Unset "no file" {
        "YAML file with settings; flags and TASKSCOPE_ variables beat it",
        "nothing: read once at start" }
    Socket: "socket" One "PATH" Value "/run/taskscope/agent.sock" {
        "Unix socket that the other commands ask",
        "nothing until somebody asks" }
    Listen: "listen" One "IP:PORT" Unset "only the socket" {
        "Answer queries over TCP as well",
        "nothing until somebody asks; whoever reaches the port reads everything, so keep it on loopback" }
    Node: "node" One "NAME" Unset "name of the host" {
        "Name of this node in everything exported",
        "nothing" }
    Log: "log" One "LEVEL" Value "info" {
        "Level of the agent's own log: LEVEL or MODULE=LEVEL, separated by commas",
        "nothing up to info; debug writes some lines a second, trace some for each event" }
    KernelLog: "kernel_log" Switch "" Value "false" {
        "Write the debug lines of the kernel half to the log",
        "a ring buffer, and a formatted line at each probe that has something to say; meant for finding bugs" }
    Window: "window" One "DURATION" Value "5m" {
        "How long queries look back: older traces and findings are forgotten",
        "memory in proportion to the requests and findings in it, bounded" }
    WatchExe: "watch_exe" List "GLOB" Unset "every process" {
        "Watch only processes whose executable matches; repeat for more",
        "each file is read once, when its first process is seen; fewer are cheaper" }
    WatchPid: "watch_pid" List "PID" Unset "every process" {
        "Watch only these processes; repeat for more",
        "as watch_exe" }
    WatchContainer: "watch_container" List "ID" Unset "every process" {
        "Watch only processes of containers whose id begins so; repeat for more",
        "as watch_exe" }
    ExcludeExe: "exclude_exe" List "GLOB" Unset "nothing but ourselves" {
        "Never watch processes whose executable matches; beats the watch settings",
        "nothing: it saves the cost of what it excludes" }
    HttpSpans: "http_spans" Switch "" Value "true" {
        "Make spans of HTTP requests of Go programs, by uprobes",
        "a few probe hits in the service for each request; `taskscope targets` shows the price" }
    Xdp: "xdp" One "auto|native|off" Value "auto" {
        "Packet programs on interfaces: of what comes in at network cards auto takes native XDP, else TCX; native takes XDP or nothing",
        "headers only; native XDP may interrupt traffic shortly at start and stop" }
    Tc: "tc" One "auto|tcx|clsact" Value "auto" {
        "Packet programs elsewhere: auto takes TCX, and filters of clsact where the kernel has none; tcx takes TCX or nothing; clsact takes filters, which stay as empty ones after a kill -9 until the next start",
        "nothing more for TCX; clsact: some 5 ns for each packet" }
    Interface: "interface" List "NAME" Unset "all physical ones" {
        "Network card for the packet programs; repeat for more. Loopback and the veths of workloads have theirs anyway",
        "one run for each packet: 3 ns above that of an empty program (35 ns) for TCP data, 52 ns for UDP" }
    OtlpEndpoint: "otlp_endpoint" One "URL" Unset "nothing is exported" otel "ENDPOINT" {
        "Where traces, metrics and log events go, such as http://localhost:4317",
        "about 2 ms of CPU and 350 kB, before compression, for 1,000 spans" }
    OtlpProtocol: "otlp_protocol" One "grpc|http/protobuf" Unset "http/protobuf on port 4318 or with a path, else grpc"
        otel "PROTOCOL" {
        "How OTLP is spoken",
        "about the same for both" }
    OtlpHeaders: "otlp_headers" List "NAME=VALUE" Unset "none" otel "HEADERS" {
        "Header for each export request; repeat for more",
        "some bytes a request; a secret in a flag is seen by every user, so use the variable or the file" }
    OtlpTimeout: "otlp_timeout" One "DURATION" Value "10s" otel "TIMEOUT" {
        "How long one export request may take before it is tried again",
        "a long one keeps more spans waiting in the queue" }
    OtlpCompression: "otlp_compression" One "zstd|gzip|none" Value "zstd" otel "COMPRESSION" {
        "Compression of export requests",
        "zstd: 0.3 ms to 0.6 ms of CPU for 1,000 spans; gzip: more CPU, for collectors without zstd; none: no CPU, more bytes" }
    OtlpCa: "otlp_ca" One "PATH" Unset "the authorities of the web" otel "CERTIFICATE" {
        "PEM file with the authorities that may sign the collector's certificate",
        "nothing: read once at start" }
    OtlpClientCertificate: "otlp_client_certificate" One "PATH" Unset "none" otel "CLIENT_CERTIFICATE" {
        "PEM file with our certificate for mutual TLS; needs otlp_client_key",
        "nothing: read once at start" }
    OtlpClientKey: "otlp_client_key" One "PATH" Unset "none" otel "CLIENT_KEY" {
        "PEM file with the key of otlp_client_certificate",
        "nothing: read once at start" }
    ExportQueue: "export_queue" One "SPANS" Value "8192" {
        "Spans that may wait for export; beyond, the oldest go and are counted",
        "roughly 1 KiB of memory for each that waits" }
    NetworkEvents: "network_events" Switch "" Value "true" {
        "Send failed connects, time-outs and dead connections as log events",
        "for each client, server and class one event each 10 s, however many fail" }
    MetricsInterval: "metrics_interval" One "DURATION" Value "10s" {
        "How often metrics are exported",
        "one request each time, which grows with the number of edges" }
}
