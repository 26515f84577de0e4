//! From what was said to what holds.

use std::{fs, path::PathBuf, time::Duration};

use super::{
    args::AgentArgs,
    endpoint,
    error::ConfigError,
    file::File,
    otel,
    settings::{ClientCertificate, Compression, Otlp, OtlpProtocol, Selection, Settings, Tls, XdpMode},
    sources::{Env, Sources},
    table::Key,
    value::{self, Problem},
};

const MAX_EXPORT_QUEUE: usize = 1_000_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Reads the file if one is named, the host's name, and makes settings of it all.
pub fn load(args: &AgentArgs, env: Env<'_>) -> Result<Settings, ConfigError> {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut sources = Sources { args, env, file: None, hostname: hostname.trim() };
    let file = sources.one(Key::Config, value::path)?.map(|path| File::read(&path)).transpose()?;
    sources.file = file.as_ref();
    let settings = resolve(&sources)?;
    for path in settings.otlp.iter().flat_map(|it| it.tls.files()) {
        fs::File::open(path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
    }
    Ok(settings)
}

/// Touches nothing but its argument.
pub fn resolve(sources: &Sources<'_>) -> Result<Settings, ConfigError> {
    Ok(Settings {
        socket: sources.must(Key::Socket, value::path)?,
        listen: sources.one(Key::Listen, value::address)?,
        otlp: otlp(sources)?,
        export_queue: sources.must(Key::ExportQueue, |it| value::number_within(it, 1, MAX_EXPORT_QUEUE))?,
        metrics_interval: sources
            .must(Key::MetricsInterval, |it| value::duration_within(it, Duration::from_secs(1), HOUR))?,
        xdp: sources.must(Key::Xdp, xdp_mode)?,
        interfaces: sources.list(Key::Interface, value::text)?,
        selection: selection(sources)?,
        http_spans: sources.must(Key::HttpSpans, value::switch)?,
        node: sources.one(Key::Node, value::text)?.unwrap_or_else(|| sources.hostname.to_owned()),
        resource_attributes: otel::resource_attributes(sources.env),
        window: sources.must(Key::Window, |it| value::duration_within(it, Duration::from_secs(10), HOUR))?,
        kernel_log: sources.must(Key::KernelLog, value::switch)?,
        log: sources.must(Key::Log, value::log_filter)?,
    })
}

fn otlp(sources: &Sources<'_>) -> Result<Option<Otlp>, ConfigError> {
    let endpoint = sources.one(Key::OtlpEndpoint, endpoint::parse)?;
    let protocol = sources.one(Key::OtlpProtocol, protocol)?;
    let headers = sources.list(Key::OtlpHeaders, value::header)?;
    let timeout = sources.must(Key::OtlpTimeout, |it| {
        value::duration_within(it, Duration::from_millis(100), Duration::from_secs(300))
    })?;
    let compression = sources.must(Key::OtlpCompression, compression)?;
    let tls = tls(sources)?;
    Ok(endpoint.map(|endpoint| Otlp {
        protocol: protocol.unwrap_or(if endpoint.is_http_port() {
            OtlpProtocol::HttpProtobuf
        } else {
            OtlpProtocol::Grpc
        }),
        endpoint: endpoint.url,
        headers,
        timeout,
        compression,
        tls,
    }))
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

fn protocol(text: &str) -> Result<OtlpProtocol, Problem> {
    value::choice(text, &["grpc", "http/protobuf"], &[OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf])
}

fn compression(text: &str) -> Result<Compression, Problem> {
    value::choice(text, &["zstd", "none"], &[Compression::Zstd, Compression::None])
}

impl Tls {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let client = self.client.iter().flat_map(|it| [&it.certificate, &it.key]);
        self.ca.iter().chain(client)
    }
}

#[cfg(test)]
mod tests;
