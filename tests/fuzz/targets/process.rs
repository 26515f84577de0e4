//! What a process says of itself: its place among the cgroups, and its environment.

#![no_main]

use agent::targets::{cgroup, process::NameSource, service};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let place = cgroup::parse(text);
    if let Some(id) = &place.container_id {
        assert_eq!(id.len(), 64);
    }
    let attributes = service::attributes(text);
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes <= 3 * text.len(), "an invalid byte becomes three");
    let name = service::name(&service::Facts {
        otel_service_name: None,
        otel_resource_attributes: Some(text),
        container_id: place.container_id.as_deref(),
        systemd_unit: place.systemd_unit.as_deref(),
        exe: text,
    });
    if name.source == NameSource::Environment {
        assert!(name.name.chars().count() <= 255);
    }
});
