//! The URL of a collector, checked and cut to what comes before the path of a signal.

use super::value::Problem;

/// The port that OTLP over HTTP is registered for.
const HTTP_PORT: u16 = 4318;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    port: Option<u16>,
}

impl Endpoint {
    /// A gRPC request to this port fails always, so the port says which protocol is meant.
    pub(crate) fn is_http_port(&self) -> bool {
        self.port == Some(HTTP_PORT)
    }
}

/// `http://HOST[:PORT][/PATH]` or with https. `/v1/traces` and `/v1/metrics` are cut off at the end:
/// the exporter adds the path of each signal.
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
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix("/v1/traces").or(path.strip_suffix("/v1/metrics")).unwrap_or(path);
    Ok(Endpoint { url: format!("{scheme}://{authority}{path}"), port })
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
            Ok(it) => format!("{} {:?}", it.url, it.port),
            Err(problem) => format!("{problem:?}"),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn the_path_of_a_signal_is_cut_off() {
        check("http://localhost:4317", "http://localhost:4317 Some(4317)");
        check("HTTPS://otlp.example/otlp/", "https://otlp.example/otlp None");
        check("http://localhost:4318/v1/traces", "http://localhost:4318 Some(4318)");
        check("http://[::1]:4317/", "http://[::1]:4317 Some(4317)");
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
