//! The URL of a collector.

use super::{settings::Signal, value::Problem};

/// The port that OTLP over HTTP is registered for.
const HTTP_PORT: u16 = 4318;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `http://HOST[:PORT]` or with https.
    pub(crate) base: String,
    /// As written: empty, or with a slash in front.
    path: String,
    port: Option<u16>,
}

impl Endpoint {
    /// gRPC has no path, and a gRPC request to this port fails always: both say which protocol is meant.
    pub(crate) fn means_http(&self) -> bool {
        self.has_path() || self.port == Some(HTTP_PORT)
    }

    pub(crate) fn has_path(&self) -> bool {
        !self.path.trim_end_matches('/').is_empty()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// What was set for one signal is taken as it is.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.base, self.path)
    }

    /// Who set it for all signals means the place under which each has its own path; the path of one
    /// at the end is no mistake.
    pub(crate) fn url_of(&self, signal: Signal) -> String {
        let path = self.path.trim_end_matches('/');
        let below = Signal::ALL.iter().find_map(|it| path.strip_suffix(it.path()));
        format!("{}{}{}", self.base, below.unwrap_or(path), signal.path())
    }
}

/// `http://HOST[:PORT][/PATH]` or with https.
pub(crate) fn parse(text: &str) -> Result<Endpoint, Problem> {
    let text = text.trim();
    let scheme_end = text.find("://").ok_or(Problem::NoScheme)?;
    let (scheme, rest) = (text[..scheme_end].to_ascii_lowercase(), &text[scheme_end + 3..]);
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err(Problem::NoScheme);
    }
    if let Some(stray) =
        rest.chars().find(|it| it.is_whitespace() || it.is_control() || "?#@\\".contains(*it))
    {
        return Err(Problem::StrayPart(stray));
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let port = port(authority)?;
    Ok(Endpoint { base: format!("{scheme}://{authority}"), path: path.to_owned(), port })
}

/// The port of `HOST[:PORT]`, where the host may be `[IPv6]`.
fn port(authority: &str) -> Result<Option<u16>, Problem> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(Problem::NoHost)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| Problem::NoHost)?;
            (host, port.strip_prefix(':').or(if port.is_empty() { None } else { Some(port) }))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(Problem::NoHost);
    }
    match port.map(str::parse::<u16>) {
        None => Ok(None),
        Some(Ok(0) | Err(_)) => Err(Problem::NoPort),
        Some(Ok(port)) => Ok(Some(port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let got = match parse(text) {
            Ok(it) => {
                let protocol = if it.means_http() { "http" } else { "any" };
                format!(
                    "{} {} {} {protocol}",
                    it.url(),
                    it.url_of(Signal::Traces),
                    it.url_of(Signal::Metrics)
                )
            }
            Err(problem) => format!("{problem:?}"),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn each_signal_has_its_path_below_the_endpoint() {
        check("http://a:4317", "http://a:4317 http://a:4317/v1/traces http://a:4317/v1/metrics any");
        check("HTTPS://a/b/", "https://a/b/ https://a/b/v1/traces https://a/b/v1/metrics http");
        check("http://a:4318", "http://a:4318 http://a:4318/v1/traces http://a:4318/v1/metrics http");
        check("http://a/v1/traces", "http://a/v1/traces http://a/v1/traces http://a/v1/metrics http");
        check("http://a/v1/logs", "http://a/v1/logs http://a/v1/traces http://a/v1/metrics http");
        check("http://[::1]:1/", "http://[::1]:1/ http://[::1]:1/v1/traces http://[::1]:1/v1/metrics any");
    }

    #[test]
    fn what_is_no_url_says_why() {
        check("localhost:4317", "NoScheme");
        check("ftp://localhost", "NoScheme");
        check("http://:4317", "NoHost");
        check("http:///v1/traces", "NoHost");
        check("http://[::1:4317", "NoHost");
        check("http://localhost:0", "NoPort");
        check("http://localhost:", "NoPort");
        check("http://[::1]4317x", "NoPort");
        check("http://a:b@host", "StrayPart('@')");
        check("http://host/?x", "StrayPart('?')");
        check("http://my host", "StrayPart(' ')");
    }
}
