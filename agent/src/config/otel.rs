//! OpenTelemetry's variables, brought into our form.

use super::{
    sources::{Env, set},
    table::Key,
    value,
};

pub(crate) const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
pub(crate) const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

const SERVICE_NAME_ATTRIBUTE: &str = "service.name";

/// Times are milliseconds there, headers a percent-encoded list.
pub(crate) fn translate(key: Key, text: &str) -> Vec<String> {
    match key {
        Key::OtlpTimeout if text.trim().bytes().all(|it| it.is_ascii_digit()) => {
            vec![format!("{}ms", text.trim())]
        }
        Key::OtlpHeaders => text.split(',').filter(|it| !it.trim().is_empty()).map(decode).collect(),
        _ => vec![text.to_owned()],
    }
}

/// Resource attributes of the agent itself; the service name has its own variable, which wins.
///
/// Attributes are meant for every program of the environment, so a malformed one is left out.
pub(crate) fn resource_attributes(env: Env<'_>) -> Vec<(String, String)> {
    let list = set(env, RESOURCE_ATTRIBUTES).unwrap_or_default();
    let mut attributes: Vec<_> = list
        .split(',')
        .filter_map(|it| value::pair(it).ok())
        .map(|(name, value)| (decode(&name), decode(&value)))
        .collect();
    if let Some(service) = set(env, SERVICE_NAME) {
        attributes.retain(|(name, _)| name != SERVICE_NAME_ATTRIBUTE);
        attributes.push((SERVICE_NAME_ATTRIBUTE.to_owned(), service));
    }
    attributes
}

/// Percent-decoding; what is no valid escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.trim().as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(hex);
        decoded.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let value = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    match digits {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(decode(" a%20b%2Cc "), "a b,c");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("%+1"), "%+1");
        assert_eq!(decode("%ff"), "\u{fffd}");
    }

    #[test]
    fn headers_and_times() {
        assert_eq!(translate(Key::OtlpHeaders, "a=b%3D, c=d,"), ["a=b=", "c=d"]);
        assert_eq!(translate(Key::OtlpTimeout, "5000"), ["5000ms"]);
        assert_eq!(translate(Key::OtlpTimeout, "5s"), ["5s"]);
    }

    #[test]
    fn the_service_name_has_the_last_word() {
        let env = |name: &str| match name {
            RESOURCE_ATTRIBUTES => Some("service.name=a,k=v%20w,broken".to_owned()),
            SERVICE_NAME => Some("b".to_owned()),
            _ => None,
        };
        let got = resource_attributes(&env);
        assert_eq!(got, [("k".into(), "v w".into()), ("service.name".into(), "b".into())]);
    }
}
