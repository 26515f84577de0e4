//! What a process is called.

use super::process::{NameSource, Service, file_name};

/// Short ids are what people know containers by.
const SHORT_ID: usize = 12;
/// What an environment says is foreign, is kept with each process and sent with each batch.
const MAX_ATTRIBUTES_BYTES: usize = 4096;
const MAX_ATTRIBUTES: usize = 64;
const MAX_NAME_CHARS: usize = 255;

/// What a name is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// `OTEL_SERVICE_NAME` of the process.
    pub otel_service_name: Option<&'a str>,
    /// `OTEL_RESOURCE_ATTRIBUTES` of the process.
    pub otel_resource_attributes: Option<&'a str>,
    pub container_id: Option<&'a str>,
    pub systemd_unit: Option<&'a str>,
    /// Path or name of the executable.
    pub exe: &'a str,
}

/// The first that exists: environment, container, systemd unit, executable.
///
/// A container has no name without its runtime; its short id stands for it, after the executable.
#[must_use]
pub fn name(facts: &Facts<'_>) -> Service {
    let attributes = attributes(facts.otel_resource_attributes.unwrap_or_default());
    let attribute = attributes.iter().find(|(key, _)| key == "service.name").map(|(_, value)| value.as_str());
    let environment = facts.otel_service_name.or(attribute).filter(|it| !it.is_empty());
    if let Some(name) = environment {
        let name = name.chars().take(MAX_NAME_CHARS).collect();
        return Service { name, source: NameSource::Environment };
    }
    let exe = file_name(facts.exe);
    if let Some(id) = facts.container_id {
        let short = id.get(..SHORT_ID).unwrap_or(id);
        return Service { name: format!("{exe}@{short}"), source: NameSource::Container };
    }
    if let Some(unit) = facts.systemd_unit {
        let name = unit.trim_end_matches(".service").to_owned();
        return Service { name, source: NameSource::SystemdUnit };
    }
    Service { name: exe.to_owned(), source: NameSource::Executable }
}

/// `key=value,key=value`, values percent-encoded, as the OpenTelemetry specification has it.
///
/// What is no pair is left out, and so is what is beyond 4 KiB or 64 pairs.
#[must_use]
pub fn attributes(text: &str) -> Vec<(String, String)> {
    whole_pairs(text)
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), percent_decoded(value.trim())))
        .filter(|(key, _)| !key.is_empty())
        .take(MAX_ATTRIBUTES)
        .collect()
}

/// As much of the text as is kept: half a value would be a wrong one.
fn whole_pairs(text: &str) -> &str {
    if text.len() <= MAX_ATTRIBUTES_BYTES {
        return text;
    }
    let comma = text.as_bytes()[..=MAX_ATTRIBUTES_BYTES].iter().rposition(|&it| it == b',');
    comma.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// What is no escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| (h * 16 + l, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f3c1d1e0b7a49b8a2c0d5f6e7a8b9c04f3c1d1e0b7a49b8a2c0d5f6e7a8b9c0";

    #[test]
    fn the_environment_comes_first() {
        let facts = Facts {
            otel_service_name: Some("shop"),
            otel_resource_attributes: Some("service.name=other"),
            container_id: Some(ID),
            systemd_unit: Some("shop.service"),
            exe: "/usr/bin/shopd",
        };
        check(facts, "shop", NameSource::Environment);
        check(Facts { otel_service_name: None, ..facts }, "other", NameSource::Environment);
        let facts = Facts { otel_service_name: Some(""), otel_resource_attributes: None, ..facts };
        check(facts, "shopd@4f3c1d1e0b7a", NameSource::Container);
        let facts = Facts { container_id: None, ..facts };
        check(facts, "shop", NameSource::SystemdUnit);
        check(Facts { systemd_unit: None, ..facts }, "shopd", NameSource::Executable);
    }

    #[test]
    fn attributes_are_decoded_and_rubbish_is_left_out() {
        let got = attributes("a=b, c = d%20e,rubbish,=x,f=%zz,g=50%");
        let want = [("a", "b"), ("c", "d e"), ("f", "%zz"), ("g", "50%")];
        assert_eq!(got, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn an_environment_without_measure_is_cut() {
        let count = |text: &str| attributes(text).len();
        assert_eq!(count(&"a=b,".repeat(1000)), MAX_ATTRIBUTES);
        let long = format!("a={},b=2,c=3", "x".repeat(MAX_ATTRIBUTES_BYTES - 6));
        let keys: Vec<_> = attributes(&long).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "b"], "what the cut would halve is left out");
        assert_eq!(count(&format!("a={}", "ü".repeat(MAX_ATTRIBUTES_BYTES))), 0);
        let name = "ü".repeat(1000);
        let facts = Facts { otel_service_name: Some(&name), ..Facts::default() };
        check(facts, &"ü".repeat(MAX_NAME_CHARS), NameSource::Environment);
    }

    #[track_caller]
    fn check(facts: Facts<'_>, name: &str, source: NameSource) {
        assert_eq!(super::name(&facts), Service { name: name.to_owned(), source });
    }
}
