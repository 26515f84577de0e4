//! What a process is called.

use super::process::{NameSource, Service};

/// Short ids are what people know containers by.
const SHORT_ID: usize = 12;

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
        return Service { name: name.to_owned(), source: NameSource::Environment };
    }
    let exe = exe_name(facts.exe);
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
/// What is no pair is left out.
#[must_use]
pub fn attributes(text: &str) -> Vec<(String, String)> {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), percent_decoded(value.trim())))
        .filter(|(key, _)| !key.is_empty())
        .collect()
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

fn exe_name(exe: &str) -> &str {
    let exe = exe.strip_suffix(" (deleted)").unwrap_or(exe);
    exe.rsplit('/').next().unwrap_or(exe)
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
    fn a_replaced_executable_keeps_its_name() {
        let facts = Facts { exe: "/usr/bin/shopd (deleted)", ..Facts::default() };
        check(facts, "shopd", NameSource::Executable);
    }

    #[test]
    fn attributes_are_decoded_and_rubbish_is_left_out() {
        let got = attributes("a=b, c = d%20e,rubbish,=x,f=%zz,g=50%");
        let want = [("a", "b"), ("c", "d e"), ("f", "%zz"), ("g", "50%")];
        assert_eq!(got, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[track_caller]
    fn check(facts: Facts<'_>, name: &str, source: NameSource) {
        assert_eq!(super::name(&facts), Service { name: name.to_owned(), source });
    }
}
