//! From what was said to what holds.

use std::{fs, path::PathBuf, time::Duration};

use super::{
    args::AgentArgs,
    endpoint::{self, Endpoint},
    error::{ConfigError, Origin},
    file::File,
    otel,
    pem::Pem,
    settings::{
        ClientCertificate, Compression, Exports, Otlp, OtlpProtocol, Selection, Settings, Signal, TcMode,
        Tls, XdpMode,
    },
    sources::{Env, Sources},
    table::Key,
    value::{self, Problem},
};

const MAX_EXPORT_QUEUE: usize = 1_000_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Reads the file if one is named, the host's name, and makes settings of it all.
pub fn load(args: &AgentArgs, env: Env<'_>) -> Result<Settings, ConfigError> {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut sources = Sources { args, env, file: None, hostname: hostname.trim(), signal: None };
    let file = sources.one(Key::Config, value::path)?.map(|path| File::read(&path)).transpose()?;
    sources.file = file.as_ref();
    let settings = resolve(&sources)?;
    for (_, otlp) in settings.otlp.each() {
        // Read again by those who need it: here only the answer counts, before anything is begun.
        drop(Pem::read(&otlp.tls)?);
    }
    Ok(settings)
}

/// Where clients find the agent, by the same rules; the file is the agent's alone.
pub fn socket(typed: Option<&str>, env: Env<'_>) -> Result<PathBuf, ConfigError> {
    let args = AgentArgs::of(Key::Socket, typed);
    let sources = Sources { args: &args, env, file: None, hostname: "", signal: None };
    sources.must(Key::Socket, value::path)
}

/// Touches nothing but its argument.
pub fn resolve(sources: &Sources<'_>) -> Result<Settings, ConfigError> {
    let network_events = sources.must(Key::NetworkEvents, value::switch)?;
    Ok(Settings {
        socket: sources.must(Key::Socket, value::path)?,
        listen: sources.one(Key::Listen, value::address)?,
        otlp: Exports {
            traces: otlp(sources, Signal::Traces)?,
            metrics: otlp(sources, Signal::Metrics)?,
            // Bad settings are told even if they are not used.
            logs: otlp(sources, Signal::Logs)?.filter(|_| network_events),
        },
        export_queue: sources.must(Key::ExportQueue, |it| value::number_within(it, 1, MAX_EXPORT_QUEUE))?,
        metrics_interval: sources
            .must(Key::MetricsInterval, |it| value::duration_within(it, Duration::from_secs(1), HOUR))?,
        xdp: sources.must(Key::Xdp, xdp_mode)?,
        tc: sources.must(Key::Tc, tc_mode)?,
        interfaces: sources.list(Key::Interface, value::text)?,
        selection: selection(sources)?,
        http_spans: sources.must(Key::HttpSpans, value::switch)?,
        network_events,
        node: sources.one(Key::Node, value::text)?.unwrap_or_else(|| sources.hostname.to_owned()),
        resource_attributes: otel::resource_attributes(sources.env),
        window: sources.must(Key::Window, |it| value::duration_within(it, Duration::from_secs(10), HOUR))?,
        kernel_log: sources.must(Key::KernelLog, value::switch)?,
        log: sources.must(Key::Log, value::log_filter)?,
    })
}

fn otlp(sources: &Sources<'_>, signal: Signal) -> Result<Option<Otlp>, ConfigError> {
    let sources = &Sources { signal: Some(signal), ..*sources };
    let endpoint = sources.one_from(Key::OtlpEndpoint, endpoint::parse)?;
    let protocol = sources.one(Key::OtlpProtocol, protocol)?;
    let headers = sources.list(Key::OtlpHeaders, value::header)?;
    let timeout = sources.must(Key::OtlpTimeout, |it| {
        value::duration_within(it, Duration::from_millis(100), Duration::from_secs(300))
    })?;
    let compression = sources.must(Key::OtlpCompression, compression)?;
    let tls = tls(sources)?;
    let Some((endpoint, origin)) = endpoint else {
        return Ok(None);
    };
    if tls != Tls::default() && !endpoint.is_https() {
        return Err(ConfigError::CertificatesWithoutTls { endpoint: endpoint.url() });
    }
    let guess = if endpoint.means_http() { OtlpProtocol::HttpProtobuf } else { OtlpProtocol::Grpc };
    let protocol = protocol.unwrap_or(guess);
    let endpoint = address(&endpoint, origin, protocol, signal)?;
    Ok(Some(Otlp { endpoint, protocol, headers, timeout, compression, tls }))
}

/// Where requests of `signal` go.
fn address(
    endpoint: &Endpoint,
    origin: Origin,
    protocol: OtlpProtocol,
    signal: Signal,
) -> Result<String, ConfigError> {
    let own = Key::OtlpEndpoint.setting().otel_variable(Some(signal)).map(Origin::Variable);
    match protocol {
        OtlpProtocol::Grpc if endpoint.has_path() => {
            Err(ConfigError::BadValue { origin, value: endpoint.url(), problem: Problem::PathWithGrpc })
        }
        OtlpProtocol::Grpc => Ok(endpoint.base.clone()),
        OtlpProtocol::HttpProtobuf if own.as_ref() == Some(&origin) => Ok(endpoint.url()),
        OtlpProtocol::HttpProtobuf => Ok(endpoint.url_of(signal)),
    }
}

fn tls(sources: &Sources<'_>) -> Result<Tls, ConfigError> {
    let path = |key| sources.one(key, value::path);
    let client = match (path(Key::OtlpClientCertificate)?, path(Key::OtlpClientKey)?) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (Some(_), None) => return Err(ConfigError::CertificateWithoutKey),
        (None, Some(_)) => return Err(ConfigError::KeyWithoutCertificate),
        (None, None) => None,
    };
    Ok(Tls { ca: path(Key::OtlpCa)?, client })
}

fn selection(sources: &Sources<'_>) -> Result<Selection, ConfigError> {
    Ok(Selection {
        watch_exe: sources.list(Key::WatchExe, value::glob)?,
        watch_pid: sources.list(Key::WatchPid, value::pid)?,
        watch_container: sources.list(Key::WatchContainer, value::container)?,
        exclude_exe: sources.list(Key::ExcludeExe, value::glob)?,
    })
}

fn xdp_mode(text: &str) -> Result<XdpMode, Problem> {
    value::choice(text, &["auto", "native", "off"], &[XdpMode::Auto, XdpMode::Native, XdpMode::Off])
}

fn tc_mode(text: &str) -> Result<TcMode, Problem> {
    value::choice(text, &["auto", "tcx", "clsact"], &[TcMode::Auto, TcMode::Tcx, TcMode::Clsact])
}

fn protocol(text: &str) -> Result<OtlpProtocol, Problem> {
    value::choice(text, &["grpc", "http/protobuf"], &[OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf])
}

fn compression(text: &str) -> Result<Compression, Problem> {
    const VALUES: &[Compression] = &[Compression::Zstd, Compression::Gzip, Compression::None];
    value::choice(text, &["zstd", "gzip", "none"], VALUES)
}

#[cfg(test)]
mod tests;
